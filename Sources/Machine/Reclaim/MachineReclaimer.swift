internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory

/// A cache that gives memory back when it is asked to (`struct shrinker`). Called under the machine's lock.
public protocol Shrinker: AnyObject {
  /// How many objects of the node's memory could go.
  func count(on node: NodeID) -> Int
  /// Looks at up to that many objects of the node's memory and lets go of what it can; how many went.
  func scan(on node: NodeID, _ objects: Int) -> Int
}

/// What reclaim counts beside the pages of processes and files: times and objects.
struct MachineReclaimCounts {
  /// By kind of zone.
  var stalls = InlineArray<6, Int>(repeating: 0)
  var kswapdRuns = 0
  var slabsScanned = 0
  /// How often kswapd of a node freed nothing since anything was freed there (`kswapd_failures`).
  var failures: [NodeID: Int] = [:]
  /// The line behind which kswapd of a node last went to sleep with all in balance.
  var balanced: [NodeID: UInt32] = [:]
  /// Runs that came soon after the one before was done, and such as left their node short (`KSWAPD_LOW_WMARK_HIT_QUICKLY`, `HIGH`).
  var lowHitQuickly = 0
  var highHitQuickly = 0
}

/// Who is asked for memory when it runs short: wakes the background's steps, and reclaims and compacts at once where a request would fail.
final class MachineReclaimer: FrameReclaimer, @unchecked Sendable {
  /// SAFETY: the machine holds the memory, which holds this. Guarded by the machine's lock.
  private unowned let machine: Machine
  /// What reclaim itself allocates does not reclaim (PF_MEMALLOC).
  private var isBusy = false

  init(_ machine: Machine) { self.machine = machine }

  func memoryIsLow(for request: FrameRequest) {
    if !isBusy { machine.background.wake(for: request, on: machine.memory.zones(serving: request).map(\.node)) }
  }

  func reclaim(for request: FrameRequest) -> Bool {
    if isBusy { return false }
    isBusy = true
    defer { isBusy = false }
    if request.count > FrameCount(1), machine.compactDirectly(for: request) { return true }
    return machine.reclaimDirectly(for: request)
  }
}

/// Steps that wait for the end of the line that asked for them.
struct BackgroundWork {
  /// The largest order that a request of each node's was refused for (`kswapd_order`, `kcompactd_max_order`).
  private var orders: [NodeID: Int] = [:]
  /// Files were written to.
  var mayBeDirty = false
  /// `numa_balance`: a step behind every line.
  var balancesNodes = false

  var isEmpty: Bool { orders.isEmpty && !mayBeDirty && !balancesNodes }

  mutating func wake(for request: FrameRequest, on nodes: [NodeID]) {
    let order = Machine.order(of: request)
    for node in nodes { orders[node] = max(orders[node] ?? 0, order) }
  }

  mutating func take() -> [(node: NodeID, order: Int)] {
    defer { orders = [:] }
    return orders.sorted { $0.key < $1.key }.map { (node: $0.key, order: $0.value) }
  }
}

extension Machine {
  var ownShrinkers: [any Shrinker] { [HugePageShrinker(self), SharedTailShrinker(self)] }

  /// Makes a cache known to reclaim; held until the machine is reset.
  public func register(_ shrinker: any Shrinker) { shrinkers.append(shrinker) }

  /// What a line or a store leaves to be done behind it, as bounded steps: costs a look at a flag where that is nothing. The caller holds
  /// `lock`.
  public func endLine() {
    if !background.isEmpty { workInBackground() }
  }

  private func workInBackground() {
    if background.mayBeDirty {
      background.mayBeDirty = false
      users.flushInBackground(beyond: dirtyThresholds().background)
    }
    for (node, order) in background.take() {
      let wasBoosted = wakeKswapd(node)
      // kcompactd runs where kswapd goes to sleep (`kswapd_try_to_sleep`), and after a boost for whole blocks (`balance_pgdat`).
      if order > 0 || wasBoosted { runKcompactd(node, order: max(order, wasBoosted ? 9 : 0)) }
    }
    if background.balancesNodes { balanceNodes() }
  }

  // MARK: kswapd

  /// Pages that kswapd frees at once, and how often it does behind one line.
  private static var kswapdBatch: Int { 128 }
  private static var kswapdRounds: Int { 64 }

  /// After how many runs in vain kswapd leaves a node to those who need its memory (MAX_RECLAIM_RETRIES).
  private static var mostFailures: Int { 16 }
  /// For how many lines kswapd sleeps lightly: a line is a millisecond, and it is HZ / 10.
  private static var lightSleep: UInt32 { 100 }

  /// Whether kswapd has given a node up until somebody else frees something there.
  public func isUnreclaimable(_ node: NodeID) -> Bool { (reclaimCounts.failures[node] ?? 0) >= Self.mostFailures }

  /// kswapd's step for a node: runs until the node is in balance, has been given up, or enough was done behind one line. Whether watermarks
  /// had been boosted (`kswapd`, `kswapd_try_to_sleep`).
  private func wakeKswapd(_ node: NodeID) -> Bool {
    if isUnreclaimable(node) { return memory.endBoosts(of: node) }
    if let last = reclaimCounts.balanced[node], line &- last < Self.lightSleep { reclaimCounts.lowHitQuickly += 1 }
    reclaimCounts.balanced[node] = nil
    var left = Self.kswapdRounds
    while true {
      runKswapd(node, &left)
      if shortZone(of: node) == nil {
        reclaimCounts.balanced[node] = line
        break
      }
      if isUnreclaimable(node) { break }
      reclaimCounts.highHitQuickly += 1
      if left == 0 { break }
    }
    return memory.endBoosts(of: node)
  }

  /// Frees pages until a zone is above its high watermark, or nothing goes (`balance_pgdat`, `pgdat_balanced`).
  private func runKswapd(_ node: NodeID, _ left: inout Int) {
    reclaimCounts.kswapdRuns += 1
    var freedAny: Bool?
    while left > 0, let highest = shortZone(of: node) {
      left -= 1
      let order = UserMemory.ReclaimOrder(
        node: node, highest: highest, wanted: Self.kswapdBatch, isKswapd: true, mayUnmap: true)
      let freed = users.reclaim(order) + shrinkCaches(of: node, priority: max(0, 12 - (Self.kswapdRounds - left)))
      freedAny = freedAny == true || freed > 0
      // What was freed lies in CPUs' lists, and counts all the same.
      if freed == 0 { break }
    }
    // Where the node was in balance by then nothing was tried.
    switch freedAny {
    case true?: reclaimCounts.failures[node] = nil
    case false?: reclaimCounts.failures[node, default: 0] += 1
    case nil: break
    }
  }

  /// The node's highest zone, if none of its zones keeps its high watermark.
  private func shortZone(of node: NodeID) -> ZoneKind? {
    guard let zones = memory.snapshot(of: node)?.zones.filter({ $0.managed > .zero }) else { return nil }
    let isBalanced = zones.contains { $0.free > $0.watermarks.high + $0.watermarks.boost }
    return isBalanced ? nil : zones.map(\.kind).max()
  }

  // MARK: Directly

  /// Frees pages for a request that nothing can serve (`do_try_to_free_pages`): whether it is worth asking again.
  func reclaimDirectly(for request: FrameRequest) -> Bool {
    guard isBooted else { return false }
    let zones = memory.zones(serving: request)
    guard let highest = zones.map(\.kind).max() else { return false }
    reclaimCounts.stalls[Int(highest.rawValue)] += 1
    var nodes: [NodeID] = []
    for zone in zones where !nodes.contains(zone.node) { nodes.append(zone.node) }
    let count = Int(request.count.rawValue)
    // As many as one cluster, or, for several in a row, as much as compaction needs to put them together (`compact_gap`).
    let wanted = max(32, count > 1 ? 2 * count : 0)
    // In the middle of a change to a table no other entry may go: its table might.
    mayUnmap = request.owner.kind != .pageTable
    defer { mayUnmap = true }
    var freed = 0
    for node in nodes where freed < wanted {
      let order = UserMemory.ReclaimOrder(
        node: node, highest: highest, wanted: wanted - freed, isKswapd: false, mayUnmap: mayUnmap)
      let pages = users.reclaim(order)
      if pages > 0 { reclaimCounts.failures[node] = nil }
      freed += pages
    }
    if freed < wanted {
      for node in nodes {
        let objects = shrinkCaches(of: node, priority: 0)
        if objects > 0 { reclaimCounts.failures[node] = nil }
        freed += objects
      }
    }
    guard count > 1, freed > 0 else { return freed > 0 }
    // Costly requests are not retried for ever (`should_reclaim_retry`): they are where the next attempt will succeed.
    memory.drainLists()
    return compactDirectly(for: request) || zones.contains { memory.hasRoom(for: request, $0.node, $0.kind) }
  }

  /// `shrink_slab`: each cache looks at a share of its objects that grows as memory gets shorter. How many went.
  private func shrinkCaches(of node: NodeID, priority: Int) -> Int {
    var freed = 0
    for shrinker in shrinkers {
      let objects = shrinker.count(on: node)
      // DEFAULT_SEEKS is 2: all of them at the last priority.
      let share = min(objects, max(objects >> priority, min(objects, 1)))
      if share == 0 { continue }
      reclaimCounts.slabsScanned += share
      freed += shrinker.scan(on: node, share)
    }
    return freed
  }

  /// What `drop_caches` drops: clean pages of files that nobody maps, and what the caches can spare (fs/drop_caches.c).
  public func reclaimCaches(pages: Bool, slab: Bool) {
    if pages { users.dropCleanPages() }
    guard slab else { return }
    for node in memory.nodes { while shrinkCaches(of: node, priority: 0) > 10 {} }
  }
}
