public import MemoryTypes

/// How many persistent huge pages of a size there are on a node, or on all nodes.
public struct HugePagePool: Sendable {
  /// All of them, those in use included.
  public internal(set) var total = 0
  public internal(set) var free = 0
  /// How many there are beyond what was asked for (`surplus_huge_pages`): they go when they come free.
  public internal(set) var surplus = 0
  /// How many of the free ones are promised to mappings (`resv_huge_pages`): a number for all nodes, 0 in a node's pool.
  public internal(set) var reserved = 0
}

/// A node's persistent huge pages of a size: frames set apart.
struct NodeHugePages: Sendable {
  /// Those that nobody uses, each a range of the size's frames; the one that came last goes first.
  var pages: [FrameRange] = []
  var total = 0
  var surplus = 0
}

/// The pools of huge pages, by node and size (mm/hugetlb.c, `struct hstate`).
public struct HugePools: Sendable {
  /// The page sizes above the frame size that the page format has, ascending, up to 1 GiB: Linux has pools of no larger ones.
  public let sizes: [ByteCount]
  /// Index: the node's number, then the size's place in `sizes`; empty where there is no such node.
  private var pools: [[NodeHugePages]]
  private var reserves: [Int]
  /// The size into which pages of each size are demoted; nil for the smallest.
  private var demotion: [ByteCount?]
  /// How many pages of each size may be made beyond the pools when they run out.
  private var overcommits: [UInt64]
  /// Where the next page of each size is asked for, and given back from, when the node is nobody's choice (`next_nid_to_alloc`,
  /// `next_nid_to_free`).
  private var nextToAllocate: [Int]
  private var nextToFree: [Int]

  init(pageSizes: [ByteCount], nodes: [NodeID]) {
    sizes = pageSizes.dropFirst().filter { $0 <= .gib(1) }
    let empty = [NodeHugePages](repeating: NodeHugePages(), count: sizes.count)
    pools = [[NodeHugePages]](repeating: [], count: (nodes.map(\.rawValue).max() ?? -1) + 1)
    for node in nodes { pools[node.rawValue] = empty }
    reserves = Array(repeating: 0, count: sizes.count)
    // Linux demotes to the next smaller size unless told otherwise.
    demotion = [nil] + sizes.dropLast()
    overcommits = Array(repeating: 0, count: sizes.count)
    nextToAllocate = Array(repeating: 0, count: sizes.count)
    nextToFree = Array(repeating: 0, count: sizes.count)
  }

  /// The size of a page-directory entry's page, which `Hugepagesize` and node meminfo are about: the smallest.
  public var defaultSize: ByteCount { sizes[0] }

  private func exists(_ node: NodeID) -> Bool {
    pools.indices.contains(node.rawValue) && !pools[node.rawValue].isEmpty
  }
  private func index(_ size: ByteCount) -> Int? { sizes.firstIndex(of: size) }

  public func pool(_ node: NodeID, _ size: ByteCount) -> HugePagePool {
    guard let index = index(size), exists(node) else { return HugePagePool() }
    let pages = pools[node.rawValue][index]
    return HugePagePool(total: pages.total, free: pages.pages.count, surplus: pages.surplus)
  }

  /// The free page of a node that goes next.
  func nextFree(_ node: NodeID, _ size: ByteCount) -> FrameRange? {
    guard let index = index(size), exists(node) else { return nil }
    return pools[node.rawValue][index].pages.last
  }

  mutating func update(_ node: NodeID, _ size: ByteCount, _ body: (inout NodeHugePages) -> Void) {
    guard let index = index(size), exists(node) else { return }
    body(&pools[node.rawValue][index])
  }

  /// A free page lies in other frames of its node now. False where there is no such page.
  mutating func replace(_ page: FrameRange, with target: FrameRange) -> Bool {
    for node in pools.indices {
      for index in pools[node].indices {
        guard let place = pools[node][index].pages.firstIndex(of: page) else { continue }
        pools[node][index].pages[place] = target
        return true
      }
    }
    return false
  }

  /// The pools of a size on all nodes, as one.
  public func total(_ size: ByteCount) -> HugePagePool {
    var sum = HugePagePool()
    for node in pools.indices {
      let pool = pool(NodeID(node), size)
      sum.free += pool.free
      sum.total += pool.total
      sum.surplus += pool.surplus
    }
    sum.reserved = index(size).map { reserves[$0] } ?? 0
    return sum
  }

  mutating func reserve(_ size: ByteCount, _ change: Int) {
    if let index = index(size) { reserves[index] += change }
  }

  public func overcommit(_ size: ByteCount) -> UInt64 { index(size).map { overcommits[$0] } ?? 0 }
  public mutating func setOvercommit(_ size: ByteCount, to count: UInt64) {
    if let index = index(size) { overcommits[index] = count }
  }

  /// The node whose turn it is, of those given, for one page more or less.
  mutating func takeTurn(_ size: ByteCount, allocating: Bool, of nodes: [NodeID]) -> NodeID? {
    guard let index = index(size), !nodes.isEmpty else { return nil }
    let turn = allocating ? nextToAllocate[index] : nextToFree[index]
    let next = (turn + 1) % nodes.count
    if allocating { nextToAllocate[index] = next } else { nextToFree[index] = next }
    return nodes[turn % nodes.count]
  }

  public func nextSmaller(than size: ByteCount) -> ByteCount? { sizes.last { $0 < size } }

  public func demotionSize(of size: ByteCount) -> ByteCount? { index(size).flatMap { demotion[$0] } }

  /// False, and nothing changed, where `smaller` is not smaller.
  public mutating func setDemotionSize(of size: ByteCount, to smaller: ByteCount) -> Bool {
    guard let index = index(size), smaller < size, sizes.contains(smaller) else { return false }
    demotion[index] = smaller
    return true
  }
}

extension HugePools {
  /// Adds all that the pools are to a number for a whole state.
  func addState(to digest: inout StateDigest) {
    for node in pools {
      for pool in node {
        digest.add(pool.pages.map(\.start.rawValue))
        digest.add([pool.total, pool.surplus])
      }
    }
    digest.add(reserves)
    digest.add(demotion.map { $0?.rawValue ?? 0 })
    digest.add(overcommits)
    digest.add(nextToAllocate)
    digest.add(nextToFree)
  }
}

/// What vmstat counts of pools (`htlb_buddy_alloc_*`).
public struct HugePoolEvents: Equatable, Sendable {
  public internal(set) var allocations: UInt64 = 0
  public internal(set) var allocationsFailed: UInt64 = 0
}
