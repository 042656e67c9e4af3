internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory

/// What governs compaction (Linux's /proc/sys/vm), and what it has done.
public struct Compaction: Sendable {
  /// `compaction_proactiveness`, 0 to 100: how little fragmentation is left alone; 0: proactive compaction does nothing.
  public var proactiveness = 20
  /// `extfrag_threshold`, 0 to 1000: above that index a failure is fragmentation's, below it lack of memory's.
  public var fragmentationThreshold = 500
  /// `compact_unevictable_allowed`: pages that are locked in memory may be moved.
  public var mayMoveUnevictable = true
  public internal(set) var counts = Counts()
  /// The zones in which it failed of late.
  var deferrals: [Place: Deferral] = [:]

  struct Place: Hashable {
    var node: NodeID
    var kind: ZoneKind
  }

  /// vmstat's `compact_*`: frames scanned and isolated, else times.
  public struct Counts: Equatable, Sendable {
    public var migrateScanned: UInt64 = 0
    public var freeScanned: UInt64 = 0
    public var isolated: UInt64 = 0
    public var stalls: UInt64 = 0
    public var failures: UInt64 = 0
    public var successes: UInt64 = 0
    public var daemonWakes: UInt64 = 0
    public var daemonMigrateScanned: UInt64 = 0
    public var daemonFreeScanned: UInt64 = 0
    /// Allocations that were moved, and that could not be, other than processes' pages, which count themselves.
    public var moved: UInt64 = 0
    public var notMoved: UInt64 = 0

    mutating func add(_ result: CompactionResult, daemon: Bool) {
      migrateScanned += UInt64(result.migrateScanned)
      freeScanned += UInt64(result.freeScanned)
      isolated += UInt64(result.isolated)
      guard daemon else { return }
      daemonMigrateScanned += UInt64(result.migrateScanned)
      daemonFreeScanned += UInt64(result.freeScanned)
    }
  }

  /// How long a zone is left alone after a failure (`compact_considered`, `compact_defer_shift`, `compact_order_failed`).
  struct Deferral {
    var considered = 0
    var shift = 0
    var failedOrder = 0

    /// `compaction_deferred`.
    mutating func defers(_ order: Int) -> Bool {
      if order < failedOrder { return false }
      considered = min(considered + 1, 1 << shift)
      return considered < 1 << shift
    }

    /// `defer_compaction`.
    mutating func fail(_ order: Int) {
      considered = 0
      shift = min(shift + 1, 6)
      failedOrder = min(failedOrder, order)
    }

    /// `compaction_defer_reset`.
    mutating func succeed(_ order: Int) {
      considered = 0
      shift = 0
      failedOrder = max(failedOrder, order + 1)
    }
  }
}

extension Machine {
  /// Compacts all of a node's zones as far as they can be (`compact_node`).
  public func compact(_ node: NodeID) {
    for kind in memory.zones(of: node) { run(node, kind, daemon: false) }
  }

  /// `compact_nodes`.
  public func compactAll() {
    for node in memory.nodes { compact(node) }
  }

  @discardableResult
  private func run(
    _ node: NodeID, _ kind: ZoneKind, daemon: Bool, blocks: Int = .max, isDone: () -> Bool = { false }
  ) -> CompactionResult {
    let result = memory.compact(node, kind, blocks: blocks, isDone: isDone) { allocation in
      // A fault may be allocating: what is not a page of anybody's yet is refused by the mover.
      compaction.mayMoveUnevictable || !isBooted || !users.isUnevictable(allocation)
    }
    compaction.counts.add(result, daemon: daemon)
    return result
  }

  /// For a request of several frames that nothing can serve (`__alloc_pages_direct_compact`, `try_to_compact_pages`): whether a zone can
  /// serve it now.
  func compactDirectly(for request: FrameRequest) -> Bool {
    var tried = false
    var succeeded = false
    let order = Self.order(of: request)
    for (node, kind) in memory.zones(serving: request) where !succeeded {
      let place = Compaction.Place(node: node, kind: kind)
      if compaction.deferrals[place, default: .init()].defers(order) { continue }
      switch suitability(request, node, kind, order) {
      case .notSuitable: continue
      case .hasRoom: succeeded = true
      case .worthTrying:
        run(node, kind, daemon: false) { memory.hasRoom(for: request, node, kind) }
        succeeded = memory.hasRoom(for: request, node, kind)
      }
      tried = true
      if succeeded {
        compaction.deferrals[place]?.succeed(order)
      } else {
        compaction.deferrals[place]?.fail(order)
      }
    }
    guard tried else { return false }
    compaction.counts.stalls += 1
    if succeeded { compaction.counts.successes += 1 } else { compaction.counts.failures += 1 }
    return succeeded
  }

  private enum Suitability { case hasRoom, worthTrying, notSuitable }

  /// `compaction_suitable`.
  private func suitability(_ request: FrameRequest, _ node: NodeID, _ kind: ZoneKind, _ order: Int) -> Suitability {
    if memory.hasRoom(for: request, node, kind) { return .hasRoom }
    // What is moved needs room to be moved to (`compact_gap`).
    var single = request
    single.count = FrameCount(1)
    single.alignment = FrameCount(1)
    guard memory.hasRoom(for: single, node, kind),
      let zone = memory.snapshot(of: node)?.zones.first(where: { $0.kind == kind })
    else { return .notSuitable }
    // Below the costly orders Linux does not ask (PAGE_ALLOC_COSTLY_ORDER).
    if order > 3 {
      let index = zone.fragmentationIndex(min(order, 10))
      if index >= 0, index <= compaction.fragmentationThreshold { return .notSuitable }
    }
    return .worthTrying
  }

  static func order(of request: FrameRequest) -> Int {
    request.count.rawValue <= 1 ? 0 : 64 - (request.count.rawValue - 1).leadingZeroBitCount
  }

  // MARK: In the background

  /// Blocks that kcompactd makes whole behind one line.
  private static var daemonBlocks: Int { 32 }

  /// kcompactd's step for a node (`kcompactd_do_work`): until a chunk of the order is there in each zone.
  func runKcompactd(_ node: NodeID, order: Int) {
    compaction.counts.daemonWakes += 1
    var request = FrameRequest(count: FrameCount(order: order), node: node, onlyNode: true)
    for kind in memory.zones(of: node) {
      request.zone = kind
      let place = Compaction.Place(node: node, kind: kind)
      if compaction.deferrals[place, default: .init()].defers(order) { continue }
      guard suitability(request, node, kind, order) == .worthTrying else { continue }
      run(node, kind, daemon: true, blocks: Self.daemonBlocks) { memory.hasRoom(for: request, node, kind) }
      if memory.hasRoom(for: request, node, kind) {
        compaction.deferrals[place]?.succeed(order)
      } else {
        compaction.deferrals[place]?.fail(order)
      }
    }
  }

  /// Sets `compaction_proactiveness`, and compacts at once what is more fragmented than it allows
  /// (`compaction_proactiveness_sysctl_handler`, `proactive_compact_node`).
  public func setProactiveness(_ percent: Int) {
    compaction.proactiveness = percent
    guard percent > 0 else { return }
    let low = max(100 - percent, 5)
    for node in memory.nodes where fragmentationScore(of: node) > min(low + 10, 100) {
      for kind in memory.zones(of: node) {
        run(node, kind, daemon: true) { fragmentationScore(of: node) <= low }
      }
    }
  }

  /// `fragmentation_score_node`: how much of the free memory is of no use for huge pages, in percent, zones weighed by their size.
  func fragmentationScore(of node: NodeID) -> Int {
    guard let snapshot = memory.snapshot(of: node) else { return 0 }
    let present = Int(snapshot.present.rawValue)
    return snapshot.zones.reduce(0) {
      // A percentage of a share, as extfrag_for_order counts.
      $0 + Int($1.present.rawValue) * ($1.unusableIndex(9) / 10) / (present + 1)
    }
  }
}
