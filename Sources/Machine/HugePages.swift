public import MemoryTypes
internal import PhysicalMemory

/// The persistent huge pages of a size on a node: frames set apart.
public struct HugePagePool: Sendable {
  /// All of them, each a range of the size's frames.
  var pages: [FrameRange] = []
  public var total: Int { pages.count }
  public var free: Int { pages.count }
  public var reserved: Int { 0 }
}

/// The pools of huge pages, by node and size (mm/hugetlb.c, `struct hstate`).
public struct HugePages: Sendable {
  /// The page sizes above the frame size that the page format has, ascending, up to 1 GiB: Linux has pools of no larger ones.
  public let sizes: [ByteCount]
  /// Index: the node's number, then the size's place in `sizes`; empty where there is no such node.
  private var pools: [[HugePagePool]]
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
    let empty = [HugePagePool](repeating: HugePagePool(), count: sizes.count)
    pools = [[HugePagePool]](repeating: [], count: (nodes.map(\.rawValue).max() ?? -1) + 1)
    for node in nodes { pools[node.rawValue] = empty }
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
    return pools[node.rawValue][index]
  }

  mutating func update(_ node: NodeID, _ size: ByteCount, _ body: (inout HugePagePool) -> Void) {
    guard let index = index(size), exists(node) else { return }
    body(&pools[node.rawValue][index])
  }

  /// A page lies in other frames of its node now. False where there is no such page.
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
    for node in pools.indices { sum.pages += pool(NodeID(node), size).pages }
    return sum
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

extension Machine {
  private func frames(of size: ByteCount) -> FrameCount { FrameCount(size.rawValue >> UInt64(memory.frameSize.shift)) }

  /// Makes the pool of a size on a node as large as `wanted`, or as large as memory allows (set_max_huge_pages: a short pool is no error).
  public func resizeHugePages(_ node: NodeID, _ size: ByteCount, to wanted: UInt64) {
    let count = frames(of: size)
    while hugePages.pool(node, size).total > wanted {
      var page: FrameRange?
      hugePages.update(node, size) { page = $0.pages.removeLast() }
      guard let page else { return }
      give(back: page)
    }
    while hugePages.pool(node, size).total < wanted {
      let request = FrameRequest(
        count: count, alignment: count, node: node, onlyNode: true, mobility: .movable, owner: FrameOwner(.hugePage))
      guard let page = try? memory.allocate(request) else { return }
      hugePages.update(node, size) { $0.pages.append(page) }
    }
  }

  /// Makes the pools of a size on all nodes together as large as `wanted`, or as large as memory allows: the nodes with memory take turns
  /// (`alloc_pool_huge_page`, `remove_pool_huge_page`).
  public func resizeHugePages(_ size: ByteCount, to wanted: UInt64) {
    let nodes = nodesWithMemory(in: nil)
    var total = UInt64(hugePages.total(size).total)
    while total != wanted {
      let grows = total < wanted
      var changed = false
      // The first whose turn it is and that can.
      for _ in nodes {
        guard let node = hugePages.takeTurn(size, allocating: grows, of: nodes) else { return }
        let before = UInt64(hugePages.pool(node, size).total)
        if !grows, before == 0 { continue }
        resizeHugePages(node, size, to: grows ? before + 1 : before - 1)
        changed = UInt64(hugePages.pool(node, size).total) != before
        if changed { break }
      }
      guard changed else { return }
      total = grows ? total + 1 : total - 1
    }
  }

  /// Splits pages of a size into pages of the size that it is demoted to, as many as there are.
  /// Throws nothing where there are fewer than wanted, as demote_store does not.
  public func demoteHugePages(_ node: NodeID, _ size: ByteCount, _ wanted: UInt64) {
    guard let smaller = hugePages.demotionSize(of: size) else { return }
    let part = frames(of: smaller)
    var left = wanted
    while left > 0, hugePages.pool(node, size).total > 0 {
      var page: FrameRange?
      hugePages.update(node, size) { page = $0.pages.removeLast() }
      guard let page else { return }
      give(back: page)
      // Its frames were free a moment ago, so that as many smaller pages fit.
      resizeHugePages(
        node, smaller, to: UInt64(hugePages.pool(node, smaller).total) + page.count.rawValue / part.rawValue)
      left -= 1
    }
  }

  /// Splits as many pages of a size as wanted, the first node's first.
  public func demoteHugePages(_ size: ByteCount, _ wanted: UInt64) {
    var left = wanted
    for node in memory.nodes {
      let count = min(left, UInt64(hugePages.pool(node, size).total))
      demoteHugePages(node, size, count)
      left -= count
    }
  }

  private func give(back page: FrameRange) {
    do throws(MemoryError) { try memory.free(page, cpu: CPUID(0)) } catch {
      preconditionFailure("a huge page is gone: \(error)")
    }
  }
}
