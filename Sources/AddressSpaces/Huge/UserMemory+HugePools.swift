public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Pools of huge pages that grow and shrink (mm/hugetlb.c).
extension UserMemory {
  func frames(of size: ByteCount) -> FrameCount { FrameCount(size.rawValue >> pageShift) }

  private var poolNodes: [NodeID] { nodesWithMemory.nodes }

  /// Whether Linux's buddy system cannot serve the size: such pages are not made on demand (`hstate_is_gigantic`).
  func isGigantic(_ size: ByteCount) -> Bool { frames(of: size) > FrameCount(order: 10) }

  /// A huge page of the node's own, not yet of a pool; nil where there is none (`alloc_fresh_huge_page`).
  func makeHugePage(_ node: NodeID, _ size: ByteCount) -> FrameRange? {
    let count = frames(of: size)
    let request = FrameRequest(
      count: count, alignment: count, node: node, onlyNode: true, mobility: .movable, owner: FrameOwner(.hugePage))
    let page = try? physical.allocate(request)
    if !isGigantic(size) {
      if page == nil { hugePoolEvents.allocationsFailed += 1 } else { hugePoolEvents.allocations += 1 }
    }
    return page
  }

  /// Makes the pool of a size on a node as large as `wanted`, or as large as memory allows.
  public func resizeHugePages(_ node: NodeID, _ size: ByteCount, to wanted: UInt64) {
    let others = UInt64(hugePools.total(size).total - hugePools.pool(node, size).total)
    let (count, overflows) = wanted.addingReportingOverflow(others)
    resizeHugePages(size, to: overflows ? .max : count, of: [node])
  }

  /// Makes the pools of a size on all nodes together as large as `wanted`, or as large as memory allows: the nodes with memory take turns.
  public func resizeHugePages(_ size: ByteCount, to wanted: UInt64) { resizeHugePages(size, to: wanted, of: poolNodes) }

  /// `set_max_huge_pages`: a short pool is no error. Pages that are in use beyond what is wanted are surplus from then on.
  private func resizeHugePages(_ size: ByteCount, to wanted: UInt64, of nodes: [NodeID]) {
    func persistent() -> UInt64 {
      let pool = hugePools.total(size)
      return UInt64(pool.total - pool.surplus)
    }
    while hugePools.total(size).surplus > 0, wanted > persistent(), adjustSurplus(size, -1, nodes) {}
    while wanted > persistent() {
      // The first whose turn it is and that can.
      var made = false
      for _ in nodes where !made {
        guard let node = hugePools.takeTurn(size, allocating: true, of: nodes), let page = makeHugePage(node, size)
        else { continue }
        made = true
        hugePools.update(node, size) {
          $0.pages.append(page)
          $0.total += 1
        }
      }
      if !made { break }
    }
    let pool = hugePools.total(size)
    let least = max(wanted, UInt64(pool.reserved + pool.total - pool.free))
    while least < persistent(), removeFree(size, surplusOnly: false, nodes) {}
    while wanted < persistent(), adjustSurplus(size, 1, nodes) {}
  }

  /// `adjust_pool_surplus`: one page of a node's more, or less, counts as surplus.
  private func adjustSurplus(_ size: ByteCount, _ change: Int, _ nodes: [NodeID]) -> Bool {
    for _ in nodes {
      guard let node = hugePools.takeTurn(size, allocating: change < 0, of: nodes) else { return false }
      let pool = hugePools.pool(node, size)
      guard change < 0 ? pool.surplus > 0 : pool.surplus < pool.total else { continue }
      hugePools.update(node, size) { $0.surplus += change }
      return true
    }
    return false
  }

  /// `remove_pool_huge_page`: gives a free page of the node whose turn it is back.
  private func removeFree(_ size: ByteCount, surplusOnly: Bool, _ nodes: [NodeID]) -> Bool {
    for _ in nodes {
      guard let node = hugePools.takeTurn(size, allocating: false, of: nodes) else { return false }
      let pool = hugePools.pool(node, size)
      guard let page = hugePools.nextFree(node, size), !surplusOnly || pool.surplus > 0 else { continue }
      hugePools.update(node, size) {
        $0.pages.removeLast()
        $0.total -= 1
        if surplusOnly { $0.surplus -= 1 }
      }
      giveBack(page, CPUID(0))
      return true
    }
    return false
  }

  // MARK: Demotion

  /// Splits pages of a size into pages of the size that it is demoted to, as many as there are free and not promised
  /// (`demote_store`: fewer than wanted are no error).
  public func demoteHugePages(_ node: NodeID, _ size: ByteCount, _ wanted: UInt64) {
    guard let smaller = hugePools.demotionSize(of: size) else { return }
    let part = frames(of: smaller)
    var left = wanted
    while left > 0, hugePools.total(size).free > hugePools.total(size).reserved,
      let page = hugePools.nextFree(node, size)
    {
      hugePools.update(node, size) {
        $0.pages.removeLast()
        $0.total -= 1
      }
      giveBack(page, CPUID(0))
      // Its frames were free a moment ago, so that as many smaller pages fit.
      resizeHugePages(
        node, smaller, to: UInt64(hugePools.pool(node, smaller).total) + page.count.rawValue / part.rawValue)
      left -= 1
    }
  }

  /// Splits as many pages of a size as wanted, the first node's first.
  public func demoteHugePages(_ size: ByteCount, _ wanted: UInt64) {
    var left = wanted
    for node in physical.nodes {
      let before = hugePools.pool(node, size).total
      demoteHugePages(node, size, left)
      left -= UInt64(before - hugePools.pool(node, size).total)
    }
  }

  // MARK: Reservations

  /// Promises pages to a mapping, or takes promises back (`hugetlb_acct_memory`); false, with nothing changed, where the pools, and what may be
  /// made beyond them, do not have as many.
  func reserveHugePages(_ size: ByteCount, _ change: Int, for process: Process?) -> Bool {
    if change == 0 { return true }
    if change < 0 {
      hugePools.reserve(size, change)
      if isGigantic(size) { return true }
      var surplus = min(-change, hugePools.total(size).surplus)
      while surplus > 0, removeFree(size, surplusOnly: true, poolNodes) { surplus -= 1 }
      return true
    }
    let pool = hugePools.total(size)
    // `gather_surplus_pages`
    var made: [(node: NodeID, page: FrameRange)] = []
    let nodes = process.map { fallbackOrder(of: home(of: $0)) } ?? poolNodes
    while pool.free + made.count < pool.reserved + change {
      let before = made.count
      if !isGigantic(size), UInt64(pool.surplus + before) < hugePools.overcommit(size) {
        for node in nodes where made.count == before {
          if let page = makeHugePage(node, size) { made.append((node, page)) }
        }
      }
      guard made.count > before else {
        for (_, page) in made { giveBack(page, currentCPU) }
        return false
      }
    }
    for (node, page) in made {
      hugePools.update(node, size) {
        $0.pages.append(page)
        $0.total += 1
        $0.surplus += 1
      }
    }
    hugePools.reserve(size, change)
    // The process's own policy may allow nodes that have fewer.
    if let policy = process?.policy, policy.mode == .bind {
      let free = policy.nodes.nodes.reduce(0) { $0 + hugePools.pool($1, size).free }
      if change > free {
        _ = reserveHugePages(size, -change, for: nil)
        return false
      }
    }
    return true
  }

  /// Takes a page for a process's address (`alloc_huge_page`); nil where there is none for it. `isPromised`: a reservation is there for it, and
  /// is used up.
  func takeHugePage(_ process: Process, _ area: Area, _ address: UInt64, _ size: ByteCount, isPromised: Bool)
    -> FrameRange?
  {
    let pool = hugePools.total(size)
    let nodes = nodesForHugePage(process, area, address, size)
    var page: FrameRange?
    if isPromised || pool.free > pool.reserved {
      for node in nodes where page == nil {
        hugePools.update(node, size) { page = $0.pages.popLast() }
      }
    }
    if page == nil, !isGigantic(size), UInt64(pool.surplus) < hugePools.overcommit(size) {
      for node in nodes where page == nil {
        page = makeHugePage(node, size)
        guard page != nil else { continue }
        hugePools.update(node, size) {
          $0.total += 1
          $0.surplus += 1
        }
      }
    }
    if page != nil, isPromised { hugePools.reserve(size, -1) }
    return page
  }

  /// The nodes that may serve, best first (`huge_node`).
  func nodesForHugePage(_ process: Process, _ area: Area, _ address: UInt64, _ size: ByteCount) -> [NodeID] {
    let home = home(of: process)
    let policy = area.policy ?? process.policy
    switch policy?.mode {
    case .interleave:
      let shift = UInt64(size.rawValue.trailingZeroBitCount)
      let index = area.pageOffset >> (shift - pageShift) &+ (address - area.start) >> shift
      return fallbackOrder(of: policy?.interleaved(index) ?? home)
    case .preferred: return fallbackOrder(of: policy?.nodes.first ?? home)
    case .bind: return fallbackOrder(of: home).filter { policy?.nodes.contains($0) ?? false }
    case .preferredMany:
      let order = fallbackOrder(of: home)
      return order.filter { policy?.nodes.contains($0) ?? false }
        + order.filter { !(policy?.nodes.contains($0) ?? false) }
    default: return fallbackOrder(of: home)
    }
  }

  /// A page that nobody uses any more goes back to its node's pool, or, where that has more than it should, to the machine (`free_huge_page`).
  func returnHugePage(_ page: FrameRange) {
    let size = ByteCount(page.count.rawValue << pageShift)
    let node = node(of: page.start)
    if hugePools.pool(node, size).surplus > 0 {
      hugePools.update(node, size) {
        $0.surplus -= 1
        $0.total -= 1
      }
      giveBack(page, currentCPU)
    } else {
      hugePools.update(node, size) { $0.pages.append(page) }
    }
  }
}
