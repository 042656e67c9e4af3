public import MemoryTypes
internal import Synchronization
internal import Topology

extension PhysicalMemory {
  /// The whole machine's memory at one instant: in each zone managed = free + used.
  ///
  /// - Complexity: O(zones * CPUs whose lists were used); independent of the size of memory.
  public func snapshot() -> PhysicalSnapshot {
    withLocked(0..<zoneCount) {
      PhysicalSnapshot(frameSize: frameSize, nodes: description.nodes.indices.map { snapshot(ofNodeAt: $0) })
    }
  }

  /// One node's memory at one instant; nil where there is no such node.
  public func snapshot(of node: NodeID) -> PhysicalSnapshot.NodeSnapshot? {
    guard let index = router.nodeIndex(node) else { return nil }
    return withLocked(zones(at: index)) { snapshot(ofNodeAt: index) }
  }

  /// What a node's zones, or its one zone of a kind, hold in sum at one instant; nil where there is no such node. Much cheaper than a
  /// snapshot.
  public func totals(of node: NodeID, zone kind: ZoneKind? = nil) -> NodeTotals? {
    guard let index = router.nodeIndex(node) else { return nil }
    var chosen = zones(at: index)
    if let kind {
      let first = chosen.first { unsafe zones[$0].kind == kind }
      chosen = first.map { $0..<$0 + 1 } ?? chosen.upperBound..<chosen.upperBound
    }
    return withLocked(chosen) {
      var totals = NodeTotals()
      for zone in chosen {
        var free = unsafe zones[zone].free
        totals.numa = totals.numa + numa(of: zone)
        framesByOwner(of: zone, addedTo: &totals.framesByOwner)
        for cpu in unsafe zones[zone].registered { unsafe free += list(zone, cpu).pointee.held }
        unsafe totals.managed += zones[zone].managed
        totals.free += free
        guard unsafe zones[zone].kind == .high else { continue }
        unsafe totals.highManaged += zones[zone].managed
        totals.highFree += free
      }
      return totals
    }
  }

  /// Adds the allocated frames of a zone, which is locked, its CPUs' lists with it, by kind of owner.
  func framesByOwner(of zone: Int, addedTo frames: inout InlineArray<8, Int>) {
    for kind in 0..<8 { unsafe frames[kind] += zones[zone].kinds[kind] }
    for cpu in unsafe zones[zone].registered { unsafe list(zone, cpu).pointee.addFrames(to: &frames) }
  }

  /// The zones of a node, lowest first.
  func zones(at nodeIndex: Int) -> Range<Int> {
    nodeIndex * layout.kindCount..<(nodeIndex + 1) * layout.kindCount
  }

  /// The node's zones are locked.
  private func snapshot(ofNodeAt index: Int) -> PhysicalSnapshot.NodeSnapshot {
    var frames = InlineArray<8, Int>(repeating: 0)
    let zones = zones(at: index)
    for zone in zones { framesByOwner(of: zone, addedTo: &frames) }
    let framesByOwner = FrameOwner.Kind.allCases.indices.map { FrameCount(UInt64(frames[$0])) }
    let all = zones.map { snapshot(of: $0) }
    return PhysicalSnapshot.NodeSnapshot(
      node: description.nodes[index].id, zones: all.filter(\.isPopulated),
      emptyZones: all.filter { !$0.isPopulated }, framesByOwner: framesByOwner)
  }

  /// Everything is locked.
  private func snapshot(of zone: Int) -> PhysicalSnapshot.ZoneSnapshot {
    let pointer = unsafe zones + zone
    let numa = numa(of: zone)
    let fromBitmaps = unsafe pointer.pointee.bitmapCounts.snapshot
    let fromBuddy = unsafe pointer.pointee.buddyCounts.snapshot
    var fromLists = PhysicalSnapshot.PathCounters(allocations: 0, frees: 0, failures: 0)
    var (bitmap, buddy) = (fromBitmaps, fromBuddy)
    var lists: [PhysicalSnapshot.ListSnapshot] = []
    var listed = 0
    var allocated = unsafe pointer.pointee.allocatedFrames
    for cpu in unsafe pointer.pointee.registered {
      let list = unsafe list(zone, cpu)
      let (small, large) = unsafe (list.pointee.total(ofSlots: 0..<4), list.pointee.total(ofSlots: 4..<5))
      unsafe allocated += list.pointee.allocatedFrames()
      bitmap.allocations += small.allocations
      buddy.allocations += large.allocations
      bitmap.frees += small.frees
      buddy.frees += large.frees
      fromLists.allocations += small.allocations + large.allocations
      fromLists.frees += small.frees + large.frees
      unsafe listed += list.pointee.held
      unsafe lists.append(
        PhysicalSnapshot.ListSnapshot(
          cpu: CPUID(cpu), count: list.pointee.held, high: pointer.pointee.limits.high,
          batch: pointer.pointee.limits.batch)
      )
    }
    let used = unsafe pointer.pointee.managed - pointer.pointee.free - pointer.pointee.isolated - listed
    let freed = unsafe allocated + UInt64(pointer.pointee.handedOver) - UInt64(used)
    var freeByOrder = [Int](repeating: 0, count: 11)
    var freeByMobility: [[Int]] = []
    for mobility in 0..<Zone.mobilities {
      freeByMobility.append((0...Zone.maximumOrder).map { unsafe pointer.pointee.count(mobility, $0) })
      for order in 0...Zone.maximumOrder {
        freeByOrder[min(order, 10)] += freeByMobility[mobility][order] << max(0, order - 10)
      }
    }
    return unsafe PhysicalSnapshot.ZoneSnapshot(
      kind: pointer.pointee.kind, start: FrameNumber(UInt64(pointer.pointee.start)),
      spanned: FrameCount(UInt64(pointer.pointee.end - pointer.pointee.start)),
      present: FrameCount(UInt64(pointer.pointee.presentFrames)), managed: FrameCount(UInt64(pointer.pointee.managed)),
      free: FrameCount(UInt64(pointer.pointee.free + listed)), listed: FrameCount(UInt64(listed)),
      isolated: FrameCount(UInt64(pointer.pointee.isolated)), freeByOrder: freeByOrder,
      freeByMobility: Array(freeByMobility.dropLast()), isolatedByOrder: freeByMobility[Zone.isolation],
      watermarks: pointer.pointee.watermarks.snapshot, numa: numa, allocatedFrames: allocated,
      freedFrames: freed, bitmap: bitmap, buddy: buddy, fromLists: fromLists,
      fromBitmaps: fromBitmaps, fromBuddy: fromBuddy, lists: lists,
      listHigh: pointer.pointee.limits.high, listBatch: pointer.pointee.limits.batch,
      blocksByMobility: blocksByMobility(zone), isolatedBlocks: pointer.pointee.isolatedBlocks)
  }

  /// As `pagetypeinfo_showblockcount_print` counts them: steps of a block from the zone's first frame on, those left out that lie in a
  /// section without any memory. The zone is locked.
  ///
  /// - Complexity: O(ranges of the zone).
  private func blocksByMobility(_ zone: Int) -> [Int] {
    let pointer = unsafe zones + zone
    let (start, end) = unsafe (pointer.pointee.start, pointer.pointee.end)
    let section = Self.sectionBytes >> Int(frameSize.shift)
    var count = 0
    var behind = start
    for range in unsafe pointer.pointee.present {
      let first = max(behind, range.lowerBound / section * section)
      let last = min(end, (range.upperBound + section - 1) / section * section)
      guard first < last else { continue }
      // Steps s with first <= start + 512 s < last.
      count += (last - start + 511) >> 9 - (first - start + 511) >> 9
      behind = last
    }
    let strange = unsafe pointer.pointee.strangeBlocks
    return [strange[0], max(0, count - strange[0] - strange[2] - strange[Zone.isolation]), strange[2]]
  }

  /// Linux's SECTION_SIZE on x86-64 and AArch64.
  private static let sectionBytes = 128 << 20

  /// The zone and its lists are locked.
  private func numa(of zone: Int) -> PhysicalSnapshot.NUMACounters {
    let pointer = unsafe zones + zone
    var numa = PhysicalSnapshot.NUMACounters()
    unsafe numa.hit = pointer.pointee.numa.hit
    unsafe numa.miss = pointer.pointee.numa.miss
    unsafe numa.foreign = pointer.pointee.foreign.load(ordering: .relaxed)
    unsafe numa.interleaveHit = pointer.pointee.numa.interleaveHit
    unsafe numa.local = pointer.pointee.numa.local
    unsafe numa.other = pointer.pointee.numa.other
    for cpu in unsafe pointer.pointee.registered {
      let list = unsafe list(zone, cpu)
      let allocations = unsafe list.pointee.total(ofSlots: 0..<CPUList.slots).allocations
      unsafe numa.hit += allocations - list.pointee.numaMisses
      unsafe numa.miss += list.pointee.numaMisses
      unsafe numa.local += allocations - list.pointee.numaOthers
      unsafe numa.other += list.pointee.numaOthers
    }
    return numa
  }

  /// Calls `body` while nothing can change: every list that was ever used and every zone is locked.
  func withEverythingLocked<Result>(_ body: () -> Result) -> Result { withLocked(0..<zoneCount, body) }

  /// Calls `body` while nothing can change in some zones. Allocates nothing.
  func withLocked<Result>(_ chosen: Range<Int>, _ body: () -> Result) -> Result {
    while true {
      var count = 0
      for zone in chosen {
        unsafe zoneLocks[zone].lock()
        unsafe count += zones[zone].registered.count
        unsafe zoneLocks[zone].unlock()
      }
      let result = unsafe withUnsafeTemporaryAllocation(of: UnsafeMutablePointer<Lock>.self, capacity: count) {
        unsafe withLocked(chosen, lists: $0, body)
      }
      if let result { return result }
    }
  }

  /// Nil where lists have come into use since they were counted: `lists` has room for as many as there were.
  private func withLocked<Result>(
    _ chosen: Range<Int>, lists: UnsafeMutableBufferPointer<UnsafeMutablePointer<Lock>>, _ body: () -> Result
  ) -> Result? {
    var count = 0
    // By zone, then by CPU: the order in which they lie.
    for zone in chosen {
      unsafe zoneLocks[zone].lock()
      for cpu in unsafe zones[zone].registered where count < lists.count {
        unsafe lists[count] = CPUList.lock(of: list(zone, cpu))
        count += 1
      }
      unsafe zoneLocks[zone].unlock()
    }
    for index in 0..<count { unsafe lists[index].pointee.lock() }
    for zone in chosen { unsafe zoneLocks[zone].lock() }
    defer {
      for zone in chosen { unsafe zoneLocks[zone].unlock() }
      for index in 0..<count { unsafe lists[index].pointee.unlock() }
    }
    var used = 0
    for zone in chosen { unsafe used += zones[zone].registered.count }
    return used == count ? body() : nil
  }
}

extension Watermarks {
  var snapshot: PhysicalSnapshot.Marks {
    PhysicalSnapshot.Marks(
      min: FrameCount(UInt64(min)), low: FrameCount(UInt64(low)), high: FrameCount(UInt64(high)),
      boost: FrameCount(UInt64(boost)),
      protection: (0..<6).map { FrameCount(UInt64(protection[$0])) })
  }
}

extension PathCounts {
  var snapshot: PhysicalSnapshot.PathCounters {
    PhysicalSnapshot.PathCounters(allocations: allocations, frees: frees, failures: failures)
  }
}
