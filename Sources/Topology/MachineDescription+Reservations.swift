public import MemoryTypes

/// Frames of one node's memory that are withheld from its allocators.
public struct FrameReservation: Equatable, Sendable {
  public var frames: FrameRange
  public var kind: ReservedRegion.Kind
  /// The region's, of which this is the part in the node.
  public var description: String
  public init(frames: FrameRange, kind: ReservedRegion.Kind, description: String) {
    self.frames = frames
    self.kind = kind
    self.description = description
  }
}

extension MachineDescription {
  /// What is withheld of a node's memory: ascending and disjoint, whole frames, each inside one of the node's ranges.
  ///
  /// A frame that a region touches, if only by a byte, is withheld. Where regions share a frame, one that is not present memory takes it
  /// (Linux counts whole frames of RAM only), and of two alike the first.
  /// - Complexity: O(n log n) in the number of regions.
  public func reservations(of node: Node) -> [FrameReservation] {
    let memory = node.memory.map { frameSize.framesInside($0) }
    func disjoint(_ regions: [ReservedRegion]) -> [FrameReservation] {
      var made: [FrameReservation] = []
      var behind = FrameNumber(0)
      let sorted = regions.filter { $0.range.size.rawValue > 0 }.sorted { $0.range.start < $1.range.start }
      for region in sorted {
        let touched = frameSize.framesTouched(region.range)
        for range in memory {
          let start = max(touched.start, range.start, behind)
          let end = min(touched.end, range.end)
          guard start < end else { continue }
          made.append(
            FrameReservation(
              frames: FrameRange(start: start, count: end - start), kind: region.kind, description: region.description))
          behind = end
        }
      }
      return made
    }
    let absent = disjoint(reserved.filter { !$0.kind.isPresent })
    var result = absent
    var next = 0
    for present in disjoint(reserved.filter(\.kind.isPresent)) {
      var start = present.frames.start
      while next < absent.count, absent[next].frames.end <= start { next += 1 }
      var index = next
      while start < present.frames.end {
        let hole = index < absent.count ? absent[index].frames : nil
        let end = min(present.frames.end, hole?.start ?? present.frames.end)
        if start < end {
          var part = present
          part.frames = FrameRange(start: start, count: end - start)
          result.append(part)
        }
        start = max(end, hole?.end ?? end)
        index += 1
      }
    }
    return result.sorted { $0.frames.start < $1.frames.start }
  }
}
