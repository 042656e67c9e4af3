internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory
internal import Topology
internal import Translation

/// What lies in a node's memory, or the whole machine's, at this instant: in frames, but for what a statistic's name says.
public struct MemoryUsage: Sendable {
  public init() {}
  public var managed = 0
  public var free = 0
  public var highManaged = 0
  public var highFree = 0
  public var zone = Counters<ZoneStatistic>()
  public var numa = Counters<NumaStatistic>()
  public var node = Counters<NodeStatistic>()
  /// Frames of a huge page, by which vmstat counts those.
  var hugeFrames = 1
  public var mlocked: Int { zone[.nrMlock] }
  public var bounce: Int { zone[.nrBounce] }

  /// A node's statistic as vmstat has it: of huge pages how many there are (`vmstat_item_print_in_thp`).
  public func shown(_ statistic: NodeStatistic) -> Int {
    switch statistic {
    case .nrAnonTransparentHugepages, .nrShmemHugepages, .nrShmemPmdmapped, .nrFileHugepages, .nrFilePmdmapped:
      node[statistic] / hugeFrames
    default: node[statistic]
    }
  }
}

extension MemoryUsage {
  /// `counted` is what is shown of the totals' NUMA counters.
  fileprivate mutating func add(_ totals: NodeTotals, _ counted: PhysicalSnapshot.NUMACounters) {
    managed += totals.managed
    free += totals.free
    highManaged += totals.highManaged
    highFree += totals.highFree
    zone[.nrFreePages] += totals.free
    numa[.numaHit] += Int(counted.hit)
    numa[.numaMiss] += Int(counted.miss)
    numa[.numaForeign] += Int(counted.foreign)
    numa[.numaInterleave] += Int(counted.interleaveHit)
    numa[.numaLocal] += Int(counted.local)
    numa[.numaOther] += Int(counted.other)
    let anonymous = totals.frames(of: .anonymous)
    node[.nrAnonPages] += anonymous
    node[.nrPageTablePages] += totals.frames(of: .pageTable)
    node[.nrFilePages] += totals.frames(of: .pageCache)
    node[.nrSlabUnreclaimable] += totals.frames(of: .slab)
  }

  fileprivate mutating func add(_ use: PageUse) {
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
    node[.nrAnonTransparentHugepages] += use.huge
    node[.nrAnonPages] -= use.unmapped
    node[.nrShmemHugepages] += use.sharedHuge
    node[.nrShmemPmdmapped] += use.sharedWhole
  }

  fileprivate mutating func add(_ events: NodeEvents) {
    node[.nrDirtied] += Int(events.dirtied)
    node[.nrWritten] += Int(events.written)
    node[.nrVmscanWrite] += Int(events.writtenByReclaim)
    node[.workingsetRefaultFile] += Int(events.refaults)
    node[.workingsetActivateFile] += Int(events.refaultsActivated)
    node[.workingsetRestoreFile] += Int(events.refaultsRestored)
  }
}

extension Machine {
  /// A node's, or that of its zone of a kind.
  public func usage(of node: NodeID, zone: ZoneKind? = nil) -> MemoryUsage {
    var usage = MemoryUsage()
    add(node, zone, to: &usage)
    return usage
  }

  private func add(_ node: NodeID, _ zone: ZoneKind?, to usage: inout MemoryUsage) {
    guard let totals = memory.totals(of: node, zone: zone) else { return }
    usage.hugeFrames = Int(format.basePages(level: 1))
    usage.add(totals, numaBaseline.shown(totals.numa, node, zone))
    // What has become of pages, and stacks, are counted by node alone.
    usage.add(users.pageUse(of: node, zone: zone))
    guard zone == nil else { return }
    usage.add(users.nodeEvents(of: node))
    usage.node[.nrPageTablePages] -= kernelTable.frames.uncountedTables(on: node)
    usage.node[.workingsetNodes] += users.shadowNodes(on: node)
    usage.node[.nrKernelStack] += kernelStackKilobytes(of: node)
  }

  private func kernelStackKilobytes(of node: NodeID) -> Int {
    Int(memory.frameSize.kilobytes(FrameCount(UInt64(users.kernelStackFrames(of: node)))))
  }

  /// All nodes'.
  public func usage() -> MemoryUsage {
    var usage = MemoryUsage()
    for node in memory.nodes { add(node, nil, to: &usage) }
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
    // A page leaves the lists of those that can be reclaimed with its first lock, and returns with its last.
    counts[.unevictablePgsMlocked] = Int(events.locked + events.lockedMoved)
    counts[.unevictablePgsCulled] = Int(events.locked + events.lockedMoved)
    counts[.unevictablePgsMunlocked] = Int(events.unlocked)
    counts[.unevictablePgsRescued] = Int(events.unlocked + events.lockedMoved)
    counts[.unevictablePgsStranded] = Int(events.lockedMoved)
    counts[.oomKill] = Int(events.outOfMemoryKills)
    counts[.numaPagesMigrated] = Int(balancedFrames)
    counts[.pgreuse] = Int(events.reusedOnWrite)
    counts[.pgmigrateSuccess] = Int(events.migrated + compaction.counts.moved)
    counts[.pgmigrateFail] = Int(events.migrationsFailed + compaction.counts.notMoved)
    addHugePages(to: &counts)
    counts[.dropPagecache] = droppedCaches.pages
    counts[.dropSlab] = droppedCaches.slab
    addReclaim(to: &counts)
    return counts
  }

  public var hasHighMemory: Bool { shape.hasHighMemory }

  /// The nodes that have memory in a zone up to that kind; nil: in any.
  public func nodesWithMemory(in limit: ZoneKind?) -> [NodeID] {
    memory.nodes.filter { node in memory.zones(of: node).contains { limit == nil || $0 <= limit! } }
  }

  /// What could be had without swapping (`si_mem_available`): what is free beyond the reserves, and of the page cache and of slab what can be
  /// dropped without hurting.
  public func availableFrames(_ usage: MemoryUsage) -> Int {
    let nodes = memory.snapshot().nodes
    let reserve = nodes.reduce(0) { $0 + Self.reserve($1) }
    let low = nodes.flatMap(\.zones).reduce(0) { $0 + Int($1.watermarks.low.rawValue) }
    func droppable(_ frames: Int) -> Int { frames - min(frames / 2, low) }
    let cache = usage.node[.nrActiveFile] + usage.node[.nrInactiveFile]
    let slab = usage.node[.nrSlabReclaimable] + usage.node[.nrKernelMiscReclaimable]
    return max(0, usage.free - reserve + droppable(cache) + droppable(slab))
  }

  /// How much may be promised, in frames (`vm_commit_limit`).
  public var commitLimit: UInt64 { users.commitLimit }

  /// How much is promised.
  public var committedFrames: Int { Int(users.committedPages) }

  /// The address space that the kernel has for what it maps page by page, in KiB: its heap, or Linux's vmalloc area where Linux's rules hold
  /// on x86-64 (`VMALLOC_TOTAL`, 32 TiB or 12800 TiB but for the last byte).
  public var kernelHeapKilobytes: UInt64 {
    guard description.settings.profile == .linux, description.architecture == .x86_64 else {
      return format.layout.kernelHeap.size.kilobytes
    }
    return (description.resolvedPaging == .fiveLevel ? 12800 << 40 - 1 : 32 << 40 - 1) >> 10
  }

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

  /// How many bits physical and virtual addresses have.
  public var translationBits: (physical: Int, virtual: Int) { (Int(format.physicalBits), Int(format.addressBits)) }
  public var pagingName: String { description.resolvedPaging.rawValue }
}
