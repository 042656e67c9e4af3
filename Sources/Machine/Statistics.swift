/// The counters of a zone, as `vmstat_text` names and orders them (mm/vmstat.c, Linux 6.1). Pages, at this instant.
public enum ZoneStatistic: Int, CaseIterable, Sendable {
  case nrFreePages
  case nrZoneInactiveAnon
  case nrZoneActiveAnon
  case nrZoneInactiveFile
  case nrZoneActiveFile
  case nrZoneUnevictable
  case nrZoneWritePending
  case nrMlock
  case nrBounce
  case nrZspages
  case nrFreeCma

  private static let names: [String] = [
    "nr_free_pages", "nr_zone_inactive_anon", "nr_zone_active_anon", "nr_zone_inactive_file", "nr_zone_active_file",
    "nr_zone_unevictable", "nr_zone_write_pending", "nr_mlock", "nr_bounce", "nr_zspages", "nr_free_cma",
  ]
  /// As the files spell it.
  public var name: String { Self.names[rawValue] }
}

/// The counters of where a zone's pages were wanted (`enum numa_stat_item`). Pages, since the machine began.
public enum NumaStatistic: Int, CaseIterable, Sendable {
  case numaHit
  case numaMiss
  case numaForeign
  case numaInterleave
  case numaLocal
  case numaOther

  private static let names: [String] = [
    "numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other",
  ]
  /// As the files spell it.
  public var name: String { Self.names[rawValue] }
}

/// The counters of a node (`enum node_stat_item`). Pages at this instant, unless the name says an event; `nr_kernel_stack` is in KiB.
public enum NodeStatistic: Int, CaseIterable, Sendable {
  case nrInactiveAnon
  case nrActiveAnon
  case nrInactiveFile
  case nrActiveFile
  case nrUnevictable
  case nrSlabReclaimable
  case nrSlabUnreclaimable
  case nrIsolatedAnon
  case nrIsolatedFile
  case workingsetNodes
  case workingsetRefaultAnon
  case workingsetRefaultFile
  case workingsetActivateAnon
  case workingsetActivateFile
  case workingsetRestoreAnon
  case workingsetRestoreFile
  case workingsetNodereclaim
  case nrAnonPages
  case nrMapped
  case nrFilePages
  case nrDirty
  case nrWriteback
  case nrWritebackTemp
  case nrShmem
  case nrShmemHugepages
  case nrShmemPmdmapped
  case nrFileHugepages
  case nrFilePmdmapped
  case nrAnonTransparentHugepages
  case nrVmscanWrite
  case nrVmscanImmediateReclaim
  case nrDirtied
  case nrWritten
  case nrThrottledWritten
  case nrKernelMiscReclaimable
  case nrFollPinAcquired
  case nrFollPinReleased
  case nrKernelStack
  case nrPageTablePages
  case nrSecPageTablePages
  case nrSwapcached
  case pgpromoteSuccess
  case pgpromoteCandidate

  private static let names: [String] = [
    "nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable", "nr_slab_reclaimable",
    "nr_slab_unreclaimable", "nr_isolated_anon", "nr_isolated_file", "workingset_nodes", "workingset_refault_anon",
    "workingset_refault_file", "workingset_activate_anon", "workingset_activate_file", "workingset_restore_anon",
    "workingset_restore_file", "workingset_nodereclaim", "nr_anon_pages", "nr_mapped", "nr_file_pages", "nr_dirty",
    "nr_writeback", "nr_writeback_temp", "nr_shmem", "nr_shmem_hugepages", "nr_shmem_pmdmapped", "nr_file_hugepages",
    "nr_file_pmdmapped", "nr_anon_transparent_hugepages", "nr_vmscan_write", "nr_vmscan_immediate_reclaim",
    "nr_dirtied", "nr_written", "nr_throttled_written", "nr_kernel_misc_reclaimable", "nr_foll_pin_acquired",
    "nr_foll_pin_released", "nr_kernel_stack", "nr_page_table_pages", "nr_sec_page_table_pages", "nr_swapcached",
    "pgpromote_success", "pgpromote_candidate",
  ]
  /// As the files spell it.
  public var name: String { Self.names[rawValue] }
}

/// A value for each case of an enumeration; 0 at first.
@frozen public struct Counters<Key: CaseIterable & RawRepresentable & Sendable>: Equatable, Sendable
where Key.RawValue == Int {
  @usableFromInline var values: [Int]
  @inlinable public init() { values = [Int](repeating: 0, count: Key.allCases.count) }
  @inlinable public subscript(key: Key) -> Int {
    get { values[key.rawValue] }
    set { values[key.rawValue] = newValue }
  }
}
