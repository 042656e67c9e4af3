internal import MemoryTypes
internal import Topology

/// A machine's memory as the allocator sees it: frames by node and zone, reserved regions taken out, everything checked.
struct MachineLayout {
  struct ZoneLayout {
    let nodeIndex: Int
    let kind: ZoneKind
    /// The frames that it may ever have.
    let reach: Range<Int>
    /// Memory, ascending, in frames; none where the zone is not populated.
    let present: [Range<Int>]
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

  /// By node, then by kind: every node has a zone of every kind, populated or not.
  var zones: [ZoneLayout] = []
  /// Zones of a node.
  let kindCount: Int
  /// Ascending and disjoint, inside memory.
  var reservations: [Reservation] = []
  /// All memory, ascending, in frames, adjacent ranges joined.
  var memory: [Range<Int>] = []
  /// The first frame behind all memory.
  var frameLimit: Int { memory.last?.upperBound ?? 0 }
  /// The first frame that memory can never have, whatever is added: room for as much again as the machine has, at least 4 GiB and at
  /// most 256 GiB, up to the end of physical addresses.
  private(set) var reachLimit = 0
  /// Frames of a hot-plug block.
  let blockFrames: Int

  /// - Parameter grows: whether memory may be added later.
  /// - Throws: `overlappingReservations` for regions that overlap and of which neither lies in the other.
  init(_ description: MachineDescription, zones spans: [Span], frameSize: FrameSize, grows: Bool = true)
    throws(MemoryError)
  {
    try Self.checkNesting(description.reserved)
    kindCount = spans.count
    blockFrames = Int(description.memoryBlockSize.rawValue >> UInt64(frameSize.shift))
    var usable: [[Range<Int>]] = []
    for node in description.nodes {
      let frames = node.memory.map { frameSize.framesInside($0) }.filter { $0.count.rawValue > 0 }.map(\.range)
      memory += frames
      let withheld = description.reservations(of: node)
      // Firmware's part of memory is not the operating system's at all: neither present nor managed, as in Linux.
      usable.append(
        Self.joined(frames).flatMap { range in
          Self.parts(of: range, without: withheld.lazy.filter { !$0.kind.isPresent }.map(\.frames.range))
        })
      reservations += withheld.map { Reservation(frames: $0.frames.range, description: $0.description) }
    }
    memory = Self.joined(memory)
    reservations.sort { $0.frames.lowerBound < $1.frames.lowerBound }
    let end = memory.last?.upperBound ?? 0
    let shift = Int(frameSize.shift)
    let growth = grows ? max((4 << 30) >> shift, min(end, (256 << 30) >> shift)) : 0
    let rounded = (end + growth + blockFrames - 1) / blockFrames * blockFrames
    reachLimit = max(end, min(grows ? rounded : end, 1 << (description.architecture.physicalAddressBits - shift)))
    for index in description.nodes.indices {
      for span in spans.sorted(by: { $0.kind < $1.kind }) {
        zones.append(
          ZoneLayout(
            nodeIndex: index, kind: span.kind, reach: reach(of: span),
            present: usable[index].filter { $0.overlaps(span.frames) }.map { $0.clamped(to: span.frames) }))
      }
    }
  }

  /// The frames that a zone may ever have: what its kind spans; Movable, which spans nothing by itself, any; Normal all but what lies
  /// behind it, as memory that is set online beside no zone goes there, however low (`default_kernel_zone_for_pfn`).
  private func reach(of span: Span) -> Range<Int> {
    switch span.kind {
    case .movable, .device: 0..<reachLimit
    case .normal: 0..<min(reachLimit, span.frames.upperBound)
    default: span.frames.clamped(to: 0..<reachLimit)
    }
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

  /// The same frames in ascending order, adjacent ranges joined.
  static func joined(_ ranges: [Range<Int>]) -> [Range<Int>] {
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
