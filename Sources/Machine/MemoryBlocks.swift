public import MemoryTypes
internal import Topology

/// A hot-plug block of memory, as `memoryN` shows it.
public struct MemoryBlock: Equatable, Sendable {
  /// Its first address divided by the block size: N.
  public let index: Int
  /// The node of its lowest memory.
  public let node: NodeID
  public enum State: String, Sendable { case online, offline }
}

/// The hot-plug blocks of a machine, and which of them are in use.
struct MemoryBlocks: Sendable {
  /// Ascending.
  private(set) var all: [MemoryBlock]
  /// Each block's place in `all`, by its number.
  private var places: [Int: Int]
  /// The numbers of those that are not in use.
  private var offline: Set<Int> = []

  /// As the machine boots: a block for all memory, all in use.
  init(_ description: MachineDescription) {
    let size = description.memoryBlockSize.rawValue
    var nodeOf: [Int: (start: PhysicalAddress, node: NodeID)] = [:]
    for node in description.nodes {
      for range in node.memory where range.size.rawValue > 0 {
        for index in Int(range.start.rawValue / size)...Int((range.end.rawValue - 1) / size) {
          if let known = nodeOf[index], known.start < range.start { continue }
          nodeOf[index] = (range.start, node.id)
        }
      }
    }
    all = nodeOf.sorted { $0.key < $1.key }.map { MemoryBlock(index: $0.key, node: $0.value.node) }
    places = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.index, $0) })
  }

  subscript(_ index: Int) -> MemoryBlock? { places[index].map { all[$0] } }

  func state(of index: Int) -> MemoryBlock.State { offline.contains(index) ? .offline : .online }

  mutating func setState(of index: Int, to state: MemoryBlock.State) {
    if state == .offline { offline.insert(index) } else { offline.remove(index) }
  }

  /// Adds blocks of a node's, not in use. - Complexity: O(blocks).
  mutating func add(_ indices: Range<Int>, to node: NodeID) {
    all += indices.map { MemoryBlock(index: $0, node: node) }
    all.sort { $0.index < $1.index }
    places = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.index, $0) })
    offline.formUnion(indices)
  }
}
