public import MemoryTypes

/// A set of NUMA nodes, 0 to 1023 (Linux's `nodemask_t` on x86-64).
public struct NodeMask: Hashable, Sendable {
  /// The nodes below 64, as one word: what nearly every machine needs.
  private var low: UInt64
  /// The words above, without trailing zeros.
  private var high: [UInt64]

  public static var capacity: Int { 1024 }

  public init() {
    low = 0
    high = []
  }

  /// The nodes whose bits are set in `words`, lowest first. Words above node 1023 are left out.
  public init(words: [UInt64]) {
    low = words.first ?? 0
    high = Array(words.dropFirst().prefix(Self.capacity / 64 - 1))
    trim()
  }

  public init(_ nodes: some Sequence<NodeID>) {
    self.init()
    for node in nodes { insert(node) }
  }

  private mutating func trim() {
    while high.last == 0 { high.removeLast() }
  }

  public mutating func insert(_ node: NodeID) {
    let word = node.rawValue / 64
    if word == 0 {
      low |= 1 << UInt64(node.rawValue)
    } else {
      while high.count < word { high.append(0) }
      high[word - 1] |= 1 << UInt64(node.rawValue % 64)
    }
  }

  public mutating func remove(_ node: NodeID) {
    let word = node.rawValue / 64
    if word == 0 {
      low &= ~(1 << UInt64(node.rawValue))
    } else if word <= high.count {
      high[word - 1] &= ~(1 << UInt64(node.rawValue % 64))
      trim()
    }
  }

  @inline(__always) public func contains(_ node: NodeID) -> Bool {
    let index = node.rawValue
    if index < 64 { return index >= 0 && low >> UInt64(index) & 1 != 0 }
    return index / 64 <= high.count && high[index / 64 - 1] >> UInt64(index % 64) & 1 != 0
  }

  public var isEmpty: Bool { low == 0 && high.isEmpty }
  public var count: Int { high.reduce(low.nonzeroBitCount) { $0 + $1.nonzeroBitCount } }
  /// The bits, lowest word first; at least one word.
  public var words: [UInt64] { [low] + high }

  /// In ascending order.
  public var nodes: [NodeID] {
    var result: [NodeID] = []
    for (index, word) in words.enumerated() {
      var bits = word
      while bits != 0 {
        result.append(NodeID(index * 64 + bits.trailingZeroBitCount))
        bits &= bits - 1
      }
    }
    return result
  }

  public var first: NodeID? { nodes.first }

  public func intersection(_ other: NodeMask) -> NodeMask {
    NodeMask(words: zip(words, other.words).map { $0 & $1 })
  }

  /// `next_node_in`: the next node behind `node`, from the start again where none follows.
  public func next(behind node: Int) -> NodeID? { nodes.first { $0.rawValue > node } ?? first }

  /// `0-3,5`, as `%*pbl` prints a mask.
  public var list: String {
    var text = ""
    var pending: (first: Int, last: Int)?
    func flush(_ range: (first: Int, last: Int)) {
      if !text.isEmpty { text += "," }
      text += range.first == range.last ? "\(range.first)" : "\(range.first)-\(range.last)"
    }
    for node in nodes {
      if let range = pending, range.last + 1 == node.rawValue {
        pending = (range.first, node.rawValue)
      } else {
        if let range = pending { flush(range) }
        pending = (node.rawValue, node.rawValue)
      }
    }
    if let range = pending { flush(range) }
    return text
  }
}
