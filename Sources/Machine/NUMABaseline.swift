internal import MemoryTypes
internal import PhysicalMemory

/// What `numa_stat` makes of the allocator's NUMA counters: switched off they read zero, switched on again they begin anew
/// (mm/vmstat.c `sysctl_vm_numa_stat_handler`).
struct NUMABaseline {
  struct Key: Hashable {
    var node: NodeID
    /// nil: the sum over the node's zones.
    var zone: ZoneKind?
  }
  private(set) var isCounting = true
  /// What the counters held when counting began again.
  private var before: [Key: PhysicalSnapshot.NUMACounters] = [:]

  /// What is shown of counters that hold `now`.
  func shown(_ now: PhysicalSnapshot.NUMACounters, _ node: NodeID, _ zone: ZoneKind?) -> PhysicalSnapshot.NUMACounters {
    guard isCounting else { return PhysicalSnapshot.NUMACounters() }
    guard let old = before[Key(node: node, zone: zone)] else { return now }
    var new = now
    new.hit -= old.hit
    new.miss -= old.miss
    new.foreign -= old.foreign
    new.interleaveHit -= old.interleaveHit
    new.local -= old.local
    new.other -= old.other
    return new
  }

  mutating func setCounting(_ on: Bool, _ memory: PhysicalMemory) {
    guard on != isCounting else { return }
    isCounting = on
    before = [:]
    guard on else { return }
    for node in memory.snapshot().nodes {
      before[Key(node: node.node, zone: nil)] = node.numa
      for zone in node.zones { before[Key(node: node.node, zone: zone.kind)] = zone.numa }
    }
  }
}

extension Machine {
  func setCountsNuma(_ on: Bool) { numaBaseline.setCounting(on, memory) }
}
