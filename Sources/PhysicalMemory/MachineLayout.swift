internal import MemoryTypes
internal import Topology

/// A machine's memory as the allocator sees it: frames by node and zone, reserved regions taken out, everything checked.
struct MachineLayout {
  struct ZoneLayout {
    let nodeIndex: Int
    let kind: ZoneKind
    /// Memory, ascending, in frames.
    var present: [Range<Int>]
    var start: Int { present[0].lowerBound }
    var end: Int { present[present.count - 1].upperBound }
  }

  /// The frames that a kind of zone spans on every node.
  struct Span {
    let kind: ZoneKind
    let frames: Range<Int>
  }

  struct Reservation {
    let frames: Range<Int>
    let description: String
  }

  /// By node, then by kind.
  var zones: [ZoneLayout] = []
  /// Ascending and disjoint, inside memory.
  var reservations: [Reservation] = []
  /// All memory, ascending, in frames, adjacent ranges joined.
  var memory: [Range<Int>] = []
  /// The first frame behind all memory.
  var frameLimit: Int { memory.last?.upperBound ?? 0 }

  /// - Throws: `overlappingReservations` for regions that overlap and of which neither lies in the other.
  init(_ description: MachineDescription, zones spans: [Span], frameSize: FrameSize) throws(MemoryError) {
    try Self.checkNesting(description.reserved)
    for (index, node) in description.nodes.enumerated() {
      let frames = node.memory.map { frameSize.framesInside($0) }.filter { $0.count.rawValue > 0 }.map(\.range)
      memory += frames
      let withheld = description.reservations(of: node)
      // Firmware's part of memory is not the operating system's at all: neither present nor managed, as in Linux.
      let usable = Self.joined(frames).flatMap { range in
        Self.parts(of: range, without: withheld.lazy.filter { !$0.kind.isPresent }.map(\.frames.range))
      }
      reservations += withheld.map { Reservation(frames: $0.frames.range, description: $0.description) }
      for span in spans.sorted(by: { $0.kind < $1.kind }) {
        let bounds = span.frames
        let present = usable.filter { $0.overlaps(bounds) }.map { $0.clamped(to: bounds) }
        if !present.isEmpty { zones.append(ZoneLayout(nodeIndex: index, kind: span.kind, present: present)) }
      }
    }
    memory = Self.joined(memory)
    reservations.sort { $0.frames.lowerBound < $1.frames.lowerBound }
  }

  /// Regions may lie in one another, as in /proc/iomem, but not cut one another.
  private static func checkNesting(_ regions: [ReservedRegion]) throws(MemoryError) {
    var outer: [ReservedRegion] = []
    let sorted = regions.filter { $0.range.size.rawValue > 0 }.sorted {
      ($0.range.start, $1.range.size) < ($1.range.start, $0.range.size)
    }
    for region in sorted {
      while let last = outer.last, last.range.end <= region.range.start { outer.removeLast() }
      if let last = outer.last, last.range.end < region.range.end {
        throw .overlappingReservations(
          "\(last.description) (\(last.range))", "\(region.description) (\(region.range))")
      }
      outer.append(region)
    }
  }

  /// What is left of a range when the reserved frames are taken out.
  func unreserved(_ range: Range<Int>) -> [Range<Int>] {
    Self.parts(of: range, without: reservations.lazy.map(\.frames))
  }

  /// What is left of a range without others, which are ascending.
  private static func parts(of range: Range<Int>, without others: some Sequence<Range<Int>>) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var next = range.lowerBound
    for other in others where other.overlaps(range) {
      if other.lowerBound > next { parts.append(next..<other.lowerBound) }
      next = max(next, other.upperBound)
    }
    if next < range.upperBound { parts.append(next..<range.upperBound) }
    return parts
  }

  /// The reserved region that holds the frame.
  func reservation(at frame: Int) -> Reservation? { reservations.first { $0.frames.contains(frame) } }

  private static func joined(_ ranges: [Range<Int>]) -> [Range<Int>] {
    var joined: [Range<Int>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = joined.last, last.upperBound == range.lowerBound {
        joined[joined.count - 1] = last.lowerBound..<range.upperBound
      } else {
        joined.append(range)
      }
    }
    return joined
  }
}

extension FrameRange {
  fileprivate var range: Range<Int> { Int(start.rawValue)..<Int(end.rawValue) }
}
