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
  /// Ascending; parts that are no memory included.
  var reservations: [Reservation] = []
  /// All memory, ascending, in frames, adjacent ranges joined.
  var memory: [Range<Int>] = []
  /// The first frame behind all memory.
  var frameLimit: Int { memory.last?.upperBound ?? 0 }

  /// - Throws: `overlappingReservations`.
  init(_ description: MachineDescription, zones spans: [Span], frameSize: FrameSize) throws(MemoryError) {
    for (index, node) in description.nodes.enumerated() {
      let frames = node.memory.map { frameSize.framesInside($0) }.filter { $0.count.rawValue > 0 }
        .map { Int($0.start.rawValue)..<Int($0.end.rawValue) }
      for span in spans.sorted(by: { $0.kind < $1.kind }) {
        let bounds = span.frames
        let present = Self.joined(frames.filter { $0.overlaps(bounds) }.map { $0.clamped(to: bounds) })
        if !present.isEmpty { zones.append(ZoneLayout(nodeIndex: index, kind: span.kind, present: present)) }
      }
      memory += frames
    }
    memory = Self.joined(memory)
    for region in description.reserved where region.range.size.rawValue > 0 {
      let frames = frameSize.framesTouched(region.range)
      reservations.append(
        Reservation(frames: Int(frames.start.rawValue)..<Int(frames.end.rawValue), description: region.description))
    }
    let byAddress = description.reserved.filter { $0.range.size.rawValue > 0 }.sorted {
      $0.range.start < $1.range.start
    }
    for (a, b) in zip(byAddress, byAddress.dropFirst()) where a.range.overlaps(b.range) {
      throw .overlappingReservations(a.description, b.description)
    }
    reservations.sort { $0.frames.lowerBound < $1.frames.lowerBound }
  }

  /// What is left of a range when the reserved frames are taken out.
  func unreserved(_ range: Range<Int>) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var next = range.lowerBound
    for reservation in reservations where reservation.frames.overlaps(range) {
      if reservation.frames.lowerBound > next { parts.append(next..<reservation.frames.lowerBound) }
      next = max(next, reservation.frames.upperBound)
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
