internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory
internal import Topology
internal import Translation

/// What lies in a node's memory, or the whole machine's, at this instant: in frames, but for what a statistic's name says.
public struct MemoryUsage: Sendable {
  public var managed = 0
  public var free = 0
  public var highManaged = 0
  public var highFree = 0
  public var zone = Counters<ZoneStatistic>()
  public var numa = Counters<NumaStatistic>()
  public var node = Counters<NodeStatistic>()
  public var mlocked: Int { zone[.nrMlock] }
  public var bounce: Int { zone[.nrBounce] }
}

extension MemoryUsage {
  fileprivate mutating func add(_ totals: NodeTotals) {
    managed += totals.managed
    free += totals.free
    highManaged += totals.highManaged
    highFree += totals.highFree
    zone[.nrFreePages] += totals.free
    numa[.numaHit] += Int(totals.numa.hit)
    numa[.numaMiss] += Int(totals.numa.miss)
    numa[.numaForeign] += Int(totals.numa.foreign)
    numa[.numaInterleave] += Int(totals.numa.interleaveHit)
    numa[.numaLocal] += Int(totals.numa.local)
    numa[.numaOther] += Int(totals.numa.other)
    let anonymous = totals.frames(of: .anonymous)
    node[.nrAnonPages] += anonymous
    node[.nrPageTablePages] += totals.frames(of: .pageTable)
    node[.nrFilePages] += totals.frames(of: .pageCache)
    node[.nrSlabUnreclaimable] += totals.frames(of: .slab)
  }

  fileprivate mutating func add(_ use: PageUse, _ events: NodeEvents) {
    node[.nrInactiveAnon] += use[.inactiveAnonymous]
    node[.nrActiveAnon] += use[.activeAnonymous]
    node[.nrInactiveFile] += use[.inactiveFile]
    node[.nrActiveFile] += use[.activeFile]
    node[.nrUnevictable] += use[.unevictable]
    zone[.nrZoneInactiveAnon] += use[.inactiveAnonymous]
    zone[.nrZoneActiveAnon] += use[.activeAnonymous]
    zone[.nrZoneInactiveFile] += use[.inactiveFile]
    zone[.nrZoneActiveFile] += use[.activeFile]
    zone[.nrZoneUnevictable] += use[.unevictable]
    // Nothing but mlock makes pages unevictable here.
    zone[.nrMlock] += use[.unevictable]
    zone[.nrZoneWritePending] += use.dirty
    node[.nrMapped] += use.mapped
    node[.nrShmem] += use.shared
    node[.nrDirty] += use.dirty
    node[.nrDirtied] += Int(events.dirtied)
    node[.nrWritten] += Int(events.written)
    node[.nrVmscanWrite] += Int(events.writtenByReclaim)
    node[.workingsetRefaultFile] += Int(events.refaults)
    node[.workingsetActivateFile] += Int(events.refaultsActivated)
    node[.workingsetRestoreFile] += Int(events.refaultsRestored)
  }
}

extension Machine {
  /// A node's.
  public func usage(of node: NodeID) -> MemoryUsage {
    var usage = MemoryUsage()
    if let totals = memory.totals(of: node) { usage.add(totals) }
    usage.node[.nrKernelStack] += kernelStackKilobytes(of: node)
    return usage
  }

  private func kernelStackKilobytes(of node: NodeID) -> Int {
    Int(memory.frameSize.kilobytes(FrameCount(UInt64(users.kernelStackFrames(of: node)))))
  }

  private func add(_ node: NodeID, to usage: inout MemoryUsage) {
    guard let totals = memory.totals(of: node) else { return }
    usage.add(totals)
    usage.add(users.pageUse(of: node), users.nodeEvents(of: node))
  }

  /// All nodes'.
  public func usage() -> MemoryUsage {
    var usage = MemoryUsage()
    for node in memory.nodes {
      if let totals = memory.totals(of: node) { usage.add(totals) }
      usage.node[.nrKernelStack] += kernelStackKilobytes(of: node)
    }
    return usage
  }

  /// What has happened since the machine began: each layer's counts in Linux's words.
  ///
  /// - Complexity: O(zones * CPUs whose lists were used).
  public func eventCounts() -> Counters<VMEvent> {
    var counts = Counters<VMEvent>()
    for zone in memory.snapshot().nodes.flatMap(\.zones) {
      counts[.of(.pgallocDma, zone.kind)] += Int(zone.allocatedFrames)
      counts[.pgfree] += Int(zone.freedFrames)
    }
    let events = users.events
    counts[.pgfault] = Int(events.faults)
    counts[.pgmajfault] = Int(events.majorFaults)
    counts[.pgreuse] = Int(events.reusedOnWrite)
    counts[.pgmigrateSuccess] = Int(events.migrated + compaction.counts.moved)
    counts[.pgmigrateFail] = Int(events.migrationsFailed + compaction.counts.notMoved)
    addReclaim(to: &counts)
    return counts
  }

  public var hasHighMemory: Bool { shape.hasHighMemory }

  /// The nodes that have memory in a zone up to that kind; nil: in any.
  public func nodesWithMemory(in limit: ZoneKind?) -> [NodeID] {
    memory.nodes.filter { node in memory.zones(of: node).contains { limit == nil || $0 <= limit! } }
  }

  /// What could be had without swapping (si_mem_available).
  public func availableFrames(_ usage: MemoryUsage) -> Int { usage.free }

  /// How much may be promised (vm_commit_limit): half of memory, huge pages left out.
  public func commitLimit(_ usage: MemoryUsage) -> Int {
    let huge = hugePages.sizes.reduce(0) { sum, size in
      sum + hugePages.total(size).total * Int(size.rawValue >> UInt64(memory.frameSize.shift))
    }
    return (usage.managed - huge) / 2
  }

  /// How much is promised.
  public var committedFrames: Int { Int(users.committedPages) }

  /// The kernel heap's address space.
  public var kernelHeapSpace: ByteCount { format.layout.kernelHeap.size }

  /// What the kernel's map of physical memory is made of: bytes in pages of each size, the smallest first.
  ///
  /// - Complexity: O(pages of the map).
  public func directMap() -> [ByteCount] {
    var bytes = [ByteCount](repeating: ByteCount(0), count: 5)
    let map = format.layout.physicalMap
    let pages = min(map.size.rawValue, memory.bytes.size.rawValue) >> format.pageShift
    try? kernelTable.forEachRun(in: .init(map.first, pageCount: pages)) { run in
      if !run.isGap { bytes[run.level] = bytes[run.level] + ByteCount(run.pageCount << format.pageShift) }
      return true
    }
    return bytes
  }

  /// Calls `body` for every zone that has memory, by node, lowest zone first, with its free chunks of orders 0 to 10.
  public func forEachPopulatedZone(_ body: (NodeID, ZoneKind, [Int]) -> Void) {
    for node in memory.snapshot().nodes {
      for zone in node.zones where zone.present.rawValue > 0 { body(node.node, zone.kind, zone.freeByOrder) }
    }
  }

  /// How many bits physical and virtual addresses have.
  public var translationBits: (physical: Int, virtual: Int) { (Int(format.physicalBits), Int(format.addressBits)) }
  public var pagingName: String { description.resolvedPaging.rawValue }
}
