internal import MemoryTypes
internal import Translation

/// A process's page table as faults see it: entries at addresses, each change followed by the flush that it needs.
final class UserTable {
  /// Nil once the space is torn down.
  let pages: PageTable
  private let memory: UserMemory
  private let shift: UInt64

  struct Entry {
    /// The frame of the base page asked for, also inside a larger page.
    var frame: FrameNumber
    var flags: PageFlags
    /// 0 for a base page.
    var level: Int
    /// Whether it shows frames that somebody else holds, as `map` enters them (Linux's `pte_special`).
    var showsFrames: Bool { flags.contains(UserMemory.frameMark) }
  }

  init(pages: PageTable, memory: UserMemory) {
    self.pages = pages
    self.memory = memory
    shift = pages.format.pageShift
  }

  /// What maps or holds the page at `address`; nil where nothing does.
  func entry(at address: UInt64) -> Entry? {
    if let raw = pages.baseEntry(at: VirtualAddress(address)) {
      if raw == 0 { return nil }
      let (physical, flags) = pages.decodeBase(raw)
      return Entry(frame: FrameNumber(physical.rawValue >> shift), flags: flags, level: 0)
    }
    guard let mapping = pages.mapping(at: VirtualAddress(address)) else { return nil }
    let inside = mapping.level == 0 ? 0 : (address - mapping.address.rawValue) >> shift
    return Entry(
      frame: FrameNumber(mapping.physical.rawValue >> shift + inside), flags: mapping.flags, level: mapping.level)
  }

  /// The entry that a base page would have, where there is a table for it and nothing to be refused; nil else.
  @inline(__always)
  func emptyEntry(at address: UInt64, for flags: PageFlags) -> UnsafeMutablePointer<UInt64>? {
    unsafe pages.emptyBaseEntry(VirtualAddress(address), for: flags)
  }

  /// Enters a frame by what `emptyEntry` has found a moment ago; the entry as it is now.
  @inline(__always)
  func fill(_ entry: UnsafeMutablePointer<UInt64>, _ frame: FrameNumber, _ flags: PageFlags) -> UInt64 {
    unsafe pages.fill(entry, frame.rawValue, flags)
  }

  /// The entry of a base page as it is; 0 where there is none.
  @inline(__always)
  func baseEntry(at address: UInt64) -> UInt64 { pages.baseEntry(at: VirtualAddress(address)) ?? 0 }

  /// The frame of a base page that is present; nil for anything else.
  @inline(__always)
  func baseFrame(at address: UInt64) -> FrameNumber? {
    let (physical, flags) = pages.decodeBase(baseEntry(at: address))
    return flags.contains(.present) ? FrameNumber(physical.rawValue &>> shift) : nil
  }

  /// Enters a frame where nothing is mapped. Throws `outOfMemory` where no frame is left for a table.
  @inline(__always)
  func set(_ address: UInt64, _ frame: FrameNumber, _ flags: PageFlags, cpu: CPUID) throws(MemoryError) {
    try pages.map(
      VirtualAddress(address), to: FrameRange(start: frame, count: FrameCount(1)), flags: flags, sizes: .base, cpu: cpu)
  }

  /// Enters a huge page: frames that follow one another, at a leaf of `level`.
  func setHuge(_ address: UInt64, _ frames: FrameRange, _ flags: PageFlags, level: Int, cpu: CPUID) throws(MemoryError)
  {
    try pages.map(VirtualAddress(address), to: frames, flags: flags, sizes: .exactly(level: level), cpu: cpu)
  }

  /// Exchanges what a page leads to, one of `level` to as many frames.
  func replace(_ address: UInt64, _ frame: FrameNumber, _ flags: PageFlags, level: Int = 0) {
    settle { () throws(MemoryError) in
      if level > 0 { return pages.replace(VirtualAddress(address), with: frame, flags: flags, level: level) }
      return try pages.replace(VirtualAddress(address), with: frame, flags: flags)
    }
  }

  /// Splits the huge page at `address` into base pages, in the table that was put aside for it; all of them show `frame` where one is given.
  func splitHuge(_ address: UInt64, onto frame: FrameNumber? = nil) {
    settle { () throws(MemoryError) in pages.splitIntoDeposit(VirtualAddress(address), onto: frame) }
  }

  /// Whether there is a table of base pages for `address`.
  func hasTable(at address: UInt64) -> Bool { pages.endLevel(at: VirtualAddress(address)) == 0 }

  /// Removes and inserts flags of every entry in the range; each is shown as it was before.
  func change(
    _ start: UInt64, _ end: UInt64, removing: PageFlags, inserting: PageFlags,
    _ visit: (UInt64, Entry) -> Void = { _, _ in }
  ) {
    settle { () throws(MemoryError) in
      try pages.change(range(start, end), removing: removing, inserting: inserting) {
        visit($0.address.rawValue, entry($0))
      }
    }
  }

  /// Has CPUs forget base pages that were changed past this table.
  func flushPages(_ start: UInt64, _ end: UInt64) { memory.flush(pages.flushObligation(range(start, end))) }

  /// Makes a page look unused. CPUs that hold the translation may go on: it allows no less than before.
  func forgetUse(_ address: UInt64, level: Int) {
    let size = pages.format.pageSize(level: level).rawValue
    do throws(MemoryError) {
      try pages.change(range(address, address + size), removing: .accessed, inserting: []) { _ in }.withoutCPUs()
    } catch { preconditionFailure("\(error)") }
  }

  /// Takes every entry of the range out; each is shown as it was. The tables stay, but for those that are wholly within `bounds`.
  func clear(
    _ start: UInt64, _ end: UInt64, freeingTablesWithin bounds: TableBounds? = nil, _ visit: (UInt64, Entry) -> Void
  ) {
    settle { () throws(MemoryError) in
      try pages.unmap(range(start, end), holes: .skipped, freeingTablesWithin: bounds) {
        visit($0.address.rawValue, entry($0))
      }
    }
  }

  /// Gives back the empty tables of a range that are wholly within `bounds`.
  func freeTables(_ start: UInt64, _ end: UInt64, within bounds: TableBounds) {
    settle { () throws(MemoryError) in try pages.freeTables(of: range(start, end), within: bounds) }
  }

  /// Whether there is one with no entry.
  func hasEmptyTable(at address: UInt64) -> Bool { pages.hasEmptyLeafTable(of: VirtualAddress(address)) }

  /// Gives the empty table of base pages for an address back.
  func freeLeafTable(at address: UInt64) {
    settle { () throws(MemoryError) in pages.freeLeafTable(of: VirtualAddress(address)) }
  }

  /// Puts the empty table of base pages for an address aside for a huge page in its place.
  func depositLeafTable(at address: UInt64) {
    settle { () throws(MemoryError) in pages.depositLeafTable(of: VirtualAddress(address)) }
  }

  /// Every entry of the range, ascending; `body` must not change the table.
  func forEach(_ start: UInt64, _ end: UInt64, _ body: (UInt64, Entry) -> Void) {
    do throws(MemoryError) {
      try pages.forEachMapping(in: range(start, end)) { mapping, _ in
        body(mapping.address.rawValue, entry(mapping))
        return true
      }
    } catch { preconditionFailure("\(error)") }
  }

  /// Moves the entries of a range to another address. Answers false where no frame is left for a table; what was moved by then has been
  /// moved back. `removing`: flags that are lost by what does not move with its table.
  func move(from source: UInt64, to target: UInt64, length: UInt64, removing: PageFlags, cpu: CPUID) -> Bool {
    if length == 0 { return true }
    do throws(MemoryError) {
      memory.flush(
        try pages.move(range(source, source + length), to: VirtualAddress(target), removing: removing, cpu: cpu))
      return true
    } catch { return false }
  }

  /// Enters what `entry` shows at another address, or in another space, with these flags.
  func enter(_ address: UInt64, _ entry: Entry, _ flags: PageFlags, _ cpu: CPUID) throws(MemoryError) {
    if entry.level == 0 {
      try set(address, entry.frame, flags, cpu: cpu)
    } else {
      let count = FrameCount(pages.format.basePages(level: entry.level))
      try setHuge(address, FrameRange(start: entry.frame, count: count), flags, level: entry.level, cpu: cpu)
    }
  }

  private func range(_ start: UInt64, _ end: UInt64) -> PageRange {
    PageRange(VirtualAddress(start), pageCount: (end - start) >> shift)
  }

  private func entry(_ mapping: Mapping) -> Entry { Entry(mapping, shift: shift) }

  /// Carries out a change whose range lies in an area, which therefore cannot be refused, and the flush that it asks for.
  private func settle(_ change: () throws(MemoryError) -> FlushObligation) {
    pages.act(on: memory.currentCPU)
    do throws(MemoryError) {
      memory.flush(try change())
    } catch { preconditionFailure("\(error)") }
  }
}

extension UserTable.Entry {
  /// `shift`: log2 of a frame's bytes.
  init(_ mapping: Mapping, shift: UInt64) {
    self.init(frame: FrameNumber(mapping.physical.rawValue >> shift), flags: mapping.flags, level: mapping.level)
  }
}
