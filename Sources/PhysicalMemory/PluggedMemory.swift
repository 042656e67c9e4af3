internal import MemoryTypes

/// Which frames are memory of which node, in use or not. Adjacent ranges of a node are one.
struct PluggedMemory {
  private(set) var ranges: [(frames: Range<Int>, nodeIndex: Int)] = []

  /// Adds frames, none of which is memory yet.
  mutating func add(_ frames: Range<Int>, to nodeIndex: Int) {
    var all = ranges + [(frames, nodeIndex)]
    all.sort { $0.frames.lowerBound < $1.frames.lowerBound }
    ranges = []
    for range in all {
      if let last = ranges.last, last.nodeIndex == range.nodeIndex, last.frames.upperBound == range.frames.lowerBound {
        ranges[ranges.count - 1].frames = last.frames.lowerBound..<range.frames.upperBound
      } else {
        ranges.append(range)
      }
    }
  }

  /// Takes frames away, wherever they are.
  mutating func remove(_ frames: Range<Int>) {
    ranges = ranges.flatMap { range in
      [
        (
          range.frames.lowerBound..<max(range.frames.lowerBound, min(range.frames.upperBound, frames.lowerBound)),
          range.nodeIndex
        ),
        (
          min(range.frames.upperBound, max(range.frames.lowerBound, frames.upperBound))..<range.frames.upperBound,
          range.nodeIndex
        ),
      ].filter { !$0.0.isEmpty }
    }
  }

  /// The nodes whose memory the frames are, each once, in the order of addresses.
  func nodes(of frames: Range<Int>) -> [Int] {
    var nodes: [Int] = []
    for range in ranges where range.frames.overlaps(frames) && !nodes.contains(range.nodeIndex) {
      nodes.append(range.nodeIndex)
    }
    return nodes
  }

  func overlaps(_ frames: Range<Int>) -> Bool { ranges.contains { $0.frames.overlaps(frames) } }
  /// The first frame behind all memory.
  var end: Int { ranges.last?.frames.upperBound ?? 0 }
}
