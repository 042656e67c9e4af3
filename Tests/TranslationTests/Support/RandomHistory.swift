import Glibc
import MemoryTypes

@testable import Translation

/// A page as the model has it: one of the base size.
struct ModelPage: Equatable {
  var frame: UInt64
  var flags: PageFlags
}

/// What a test repeats: `TRANSLATION_STEPS` in the environment, or a number that suits debug builds.
func stepCount(_ standard: Int) -> Int {
  unsafe getenv("TRANSLATION_STEPS").flatMap { unsafe Int(String(cString: $0)) } ?? standard
}

/// A random history of one page table and, page by page in a dictionary, what it should have come to.
struct RandomHistory {
  let table: PageTable
  var random: SplitMix64
  /// By page number counted from the start of the half.
  var model: [UInt64: ModelPage] = [:]
  /// Whether the last step was refused exactly where the model says so.
  var agrees = true
  private let anchors: [UInt64]
  private let spans: [UInt64]

  var format: PageFormat { table.format }

  init(_ table: PageTable, seed: UInt64) {
    self.table = table
    random = SplitMix64(seed: seed)
    // places where larger pages fit, and the ends of the half
    let format = table.format
    let half = table.isKernel ? format.layout.kernel : format.layout.user
    let first = format.position(half.first) >> format.pageShift
    let last = format.position(half.last) >> format.pageShift
    var anchors: [UInt64] = [first]
    var spans: [UInt64] = [1, 2]
    for level in 1..<format.levels where format.hasLeaves(level: level) {
      let pages = format.basePages(level: level)
      if pages < (last - first) / 4 {
        anchors.append(first + pages)
        spans.append(pages)
      }
    }
    anchors.append(last + 1 - (spans.last ?? 1))
    self.anchors = anchors
    self.spans = spans
  }

  /// A random range around one of a few places, so that ranges meet; large ones begin and end at page boundaries more
  /// often than not. At most a few thousand base pages, so that the model stays small, except for whole larger pages.
  mutating func range() -> (page: UInt64, count: UInt64) {
    let half = table.isKernel ? format.layout.kernel : format.layout.user
    let first = format.position(half.first) >> format.pageShift
    let last = format.position(half.last) >> format.pageShift
    var page = anchors.randomElement(using: &random) ?? first
    var count: UInt64
    let span = spans[min(2, spans.count - 1)]
    switch random.next() % 8 {
    case 0...3:
      page &+= random.next() % 16
      count = 1 + random.next() % 8
    case 4, 5:
      page &+= (random.next() % 3) * span
      count = min(span, 8192) * (1 + random.next() % 2)
    default:
      page &+= random.next() % (2 * min(span, 8192))
      count = 1 + random.next() % min(span, 8192)
    }
    page = min(page, last)
    count = min(count, last + 1 - page)
    return (page, count)
  }

  mutating func flags() -> PageFlags {
    var flags: PageFlags = [.present]
    if !table.isKernel, random.next() % 4 != 0 { flags.insert(.user) }
    switch random.next() % 3 {
    case 0: flags.insert(.writable)
    case 1: flags.insert(.executable)
    default: break
    }
    if table.isKernel, random.next() % 2 == 0 { flags.insert(.global) }
    if random.next() % 8 == 0 { flags = flags.intersection([.user]) }
    return flags
  }

  func address(_ page: UInt64) -> VirtualAddress {
    format.address(position: page << format.pageShift, kernel: table.isKernel)
  }

  /// One random operation, on the table and on the model. Returns its obligation; nil where it was refused or made none.
  mutating func step(frameBase: UInt64, frameCount: UInt64) -> FlushObligation? {
    let (page, count) = range()
    let pages = page..<page + count
    let flags = flags()
    let isWhole = pages.allSatisfy { model[$0] != nil }
    do throws(MemoryError) {
      switch random.next() % 8 {
      case 0...3:
        // frames aligned as the pages are, mostly, so that larger pages can be used
        var frame = random.next() % 4 == 0 ? random.next() % frameCount : page % frameCount
        if frame + count > frameCount { frame = 0 }
        agrees = true
        if count > frameCount { return nil }
        let isFree = pages.allSatisfy { model[$0] == nil }
        let sizes: [PageSizes] = [.largest, .base, .upTo(level: 1), .largest]
        do throws(MemoryError) {
          try table.map(
            address(page), to: FrameRange(start: FrameNumber(frameBase + frame), count: FrameCount(count)),
            flags: flags,
            sizes: sizes[Int(random.next() % 4)])
        } catch {
          agrees = !isFree
          return nil
        }
        for i in pages { model[i] = ModelPage(frame: frameBase + frame + i - page, flags: flags) }
        agrees = isFree
        return nil
      case 4, 5:
        let holes: Holes = random.next() % 2 == 0 ? .refused : .skipped
        let obligation = try table.unmap(PageRange(address(page), pageCount: count), holes: holes)
        for i in pages { model[i] = nil }
        agrees = holes == .skipped || isWhole
        return obligation
      case 6:
        let holes: Holes = random.next() % 2 == 0 ? .refused : .skipped
        let merging = random.next() % 2 == 0
        let obligation = try table.protect(
          PageRange(address(page), pageCount: count), flags: flags, holes: holes, merging: merging)
        for i in pages {
          guard var old = model[i] else { continue }
          // an entry that is not present cannot be global
          let kept = flags.contains(.present) ? old.flags.subtracting(.permissions) : []
          old.flags = kept.union(flags.intersection(.permissions))
          model[i] = old
        }
        agrees = holes == .skipped || isWhole
        return obligation
      default:
        agrees = true
        return try table.merge(PageRange(address(page), pageCount: count))
      }
    } catch {
      agrees = !isWhole
      return nil
    }
  }

  /// Where table and model differ, if anywhere; both ways.
  func difference() -> String? {
    let half = table.isKernel ? format.layout.kernel : format.layout.user
    let first = format.position(half.first) >> format.pageShift
    let last = format.position(half.last) >> format.pageShift
    var seen = 0
    var wrong: String?
    do {
      try table.forEachMapping(in: PageRange(half.first, pageCount: last - first + 1)) { mapping, effective in
        let page = format.position(mapping.address) >> format.pageShift
        let frame = mapping.physical.rawValue >> format.pageShift
        for i in 0..<format.basePages(level: mapping.level) {
          seen += 1
          if model[page + i] != ModelPage(frame: frame + i, flags: effective.subtracting([.accessed, .dirty])) {
            wrong = "\(address(page + i)): \(mapping), \(effective) instead of \(String(describing: model[page + i]))"
            return false
          }
        }
        return true
      }
    } catch { return "\(error)" }
    return wrong ?? (seen == model.count ? nil : "\(seen) pages instead of \(model.count)")
  }
}
