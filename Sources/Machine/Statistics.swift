public import MemoryTypes

/// The counters of a zone, as `vmstat_text` names and orders them (mm/vmstat.c, Linux 6.1). Pages, at this instant.
public enum ZoneStatistic: Int, Counted {
  public typealias Values = InlineArray<11, Int>

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
public enum NumaStatistic: Int, Counted {
  public typealias Values = InlineArray<6, Int>

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
public enum NodeStatistic: Int, Counted {
  public typealias Values = InlineArray<43, Int>

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

/// What the machine counts as it happens (`enum vm_event_item`), as `vmstat_text` orders it. Since the machine began.
///
/// Those that end in a zone's kind are there for machines that have the kind; `High` is a 32-bit machine's.
public enum VMEvent: Int, Counted {
  case pgpgin
  case pgpgout
  case pswpin
  case pswpout
  case pgallocDma
  case pgallocDma32
  case pgallocNormal
  case pgallocHigh
  case pgallocMovable
  case pgallocDevice
  case allocstallDma
  case allocstallDma32
  case allocstallNormal
  case allocstallHigh
  case allocstallMovable
  case allocstallDevice
  case pgskipDma
  case pgskipDma32
  case pgskipNormal
  case pgskipHigh
  case pgskipMovable
  case pgskipDevice
  case pgfree
  case pgactivate
  case pgdeactivate
  case pglazyfree
  case pgfault
  case pgmajfault
  case pglazyfreed
  case pgrefill
  case pgreuse
  case pgstealKswapd
  case pgstealDirect
  case pgdemoteKswapd
  case pgdemoteDirect
  case pgscanKswapd
  case pgscanDirect
  case pgscanDirectThrottle
  case pgscanAnon
  case pgscanFile
  case pgstealAnon
  case pgstealFile
  case zoneReclaimFailed
  case pginodesteal
  case slabsScanned
  case kswapdInodesteal
  case kswapdLowWmarkHitQuickly
  case kswapdHighWmarkHitQuickly
  case pageoutrun
  case pgrotated
  case dropPagecache
  case dropSlab
  case oomKill
  case numaPteUpdates
  case numaHugePteUpdates
  case numaHintFaults
  case numaHintFaultsLocal
  case numaPagesMigrated
  case pgmigrateSuccess
  case pgmigrateFail
  case thpMigrationSuccess
  case thpMigrationFail
  case thpMigrationSplit
  case compactMigrateScanned
  case compactFreeScanned
  case compactIsolated
  case compactStall
  case compactFail
  case compactSuccess
  case compactDaemonWake
  case compactDaemonMigrateScanned
  case compactDaemonFreeScanned
  case htlbBuddyAllocSuccess
  case htlbBuddyAllocFail
  case unevictablePgsCulled
  case unevictablePgsScanned
  case unevictablePgsRescued
  case unevictablePgsMlocked
  case unevictablePgsMunlocked
  case unevictablePgsCleared
  case unevictablePgsStranded
  case thpFaultAlloc
  case thpFaultFallback
  case thpFaultFallbackCharge
  case thpCollapseAlloc
  case thpCollapseAllocFailed
  case thpFileAlloc
  case thpFileFallback
  case thpFileFallbackCharge
  case thpFileMapped
  case thpSplitPage
  case thpSplitPageFailed
  case thpDeferredSplitPage
  case thpSplitPmd
  case thpScanExceedNonePte
  case thpScanExceedSwapPte
  case thpScanExceedSharePte
  case thpSplitPud
  case thpZeroPageAlloc
  case thpZeroPageAllocFailed
  case thpSwpout
  case thpSwpoutFallback
  case balloonInflate
  case balloonDeflate
  case balloonMigrate
  case swapRa
  case swapRaHit
  case ksmSwpinCopy
  case cowKsm
  case zswpin
  case zswpout
  case directMapLevel2Splits
  case directMapLevel3Splits

  private static let names: [String] = [
    "pgpgin", "pgpgout", "pswpin", "pswpout", "pgalloc_dma", "pgalloc_dma32", "pgalloc_normal", "pgalloc_high",
    "pgalloc_movable", "pgalloc_device", "allocstall_dma", "allocstall_dma32", "allocstall_normal",
    "allocstall_high", "allocstall_movable", "allocstall_device", "pgskip_dma", "pgskip_dma32", "pgskip_normal",
    "pgskip_high", "pgskip_movable", "pgskip_device", "pgfree", "pgactivate", "pgdeactivate", "pglazyfree",
    "pgfault", "pgmajfault", "pglazyfreed", "pgrefill", "pgreuse", "pgsteal_kswapd", "pgsteal_direct",
    "pgdemote_kswapd", "pgdemote_direct", "pgscan_kswapd", "pgscan_direct", "pgscan_direct_throttle", "pgscan_anon",
    "pgscan_file", "pgsteal_anon", "pgsteal_file", "zone_reclaim_failed", "pginodesteal", "slabs_scanned",
    "kswapd_inodesteal", "kswapd_low_wmark_hit_quickly", "kswapd_high_wmark_hit_quickly", "pageoutrun", "pgrotated",
    "drop_pagecache", "drop_slab", "oom_kill", "numa_pte_updates", "numa_huge_pte_updates", "numa_hint_faults",
    "numa_hint_faults_local", "numa_pages_migrated", "pgmigrate_success", "pgmigrate_fail", "thp_migration_success",
    "thp_migration_fail", "thp_migration_split", "compact_migrate_scanned", "compact_free_scanned",
    "compact_isolated", "compact_stall", "compact_fail", "compact_success", "compact_daemon_wake",
    "compact_daemon_migrate_scanned", "compact_daemon_free_scanned", "htlb_buddy_alloc_success",
    "htlb_buddy_alloc_fail", "unevictable_pgs_culled", "unevictable_pgs_scanned", "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked", "unevictable_pgs_munlocked", "unevictable_pgs_cleared", "unevictable_pgs_stranded",
    "thp_fault_alloc", "thp_fault_fallback", "thp_fault_fallback_charge", "thp_collapse_alloc",
    "thp_collapse_alloc_failed", "thp_file_alloc", "thp_file_fallback", "thp_file_fallback_charge",
    "thp_file_mapped", "thp_split_page", "thp_split_page_failed", "thp_deferred_split_page", "thp_split_pmd",
    "thp_scan_exceed_none_pte", "thp_scan_exceed_swap_pte", "thp_scan_exceed_share_pte", "thp_split_pud",
    "thp_zero_page_alloc", "thp_zero_page_alloc_failed", "thp_swpout", "thp_swpout_fallback", "balloon_inflate",
    "balloon_deflate", "balloon_migrate", "swap_ra", "swap_ra_hit", "ksm_swpin_copy", "cow_ksm", "zswpin", "zswpout",
    "direct_map_level2_splits", "direct_map_level3_splits",
  ]
  /// As vmstat spells it.
  public var name: String { Self.names[rawValue] }
  /// The kind of zone that the event is counted for; nil where it is the whole machine's.
  public var zone: ZoneKind? { Self.zones[rawValue] }

  private static let zones: [ZoneKind?] = names.map { name in
    guard let prefix = ["pgalloc_", "allocstall_", "pgskip_"].first(where: name.hasPrefix) else { return nil }
    return ZoneKind(name: name.dropFirst(prefix.count))
  }

  /// The event of a family (`pgallocDma` and its like) for a kind of zone.
  static func of(_ family: VMEvent, _ kind: ZoneKind) -> VMEvent {
    VMEvent(rawValue: family.rawValue + Int(kind.rawValue)) ?? family
  }
}

/// An enumeration whose cases are counted: they are numbered from 0, without a gap.
public protocol Counted: CaseIterable, RawRepresentable, Sendable where RawValue == Int {
  /// Where the numbers lie. An `InlineArray` of as many as there are cases makes counting free of allocations, which matters to files that
  /// are read often.
  associatedtype Values: CounterValues = [Int]
}

public protocol CounterValues: Sendable {
  /// `count` zeros; an `InlineArray` knows how many it has.
  init(zeros count: @autoclosure () -> Int)
  subscript(counter index: Int) -> Int { get set }
}

extension [Int]: CounterValues {
  @inlinable public init(zeros count: @autoclosure () -> Int) { self.init(repeating: 0, count: count()) }
  @inlinable public subscript(counter index: Int) -> Int {
    get { self[index] }
    set { self[index] = newValue }
  }
}

extension InlineArray: CounterValues where Element == Int {
  @inlinable public init(zeros count: @autoclosure () -> Int) { self.init(repeating: 0) }
  @inlinable public subscript(counter index: Int) -> Int {
    get { self[index] }
    set { self[index] = newValue }
  }
}

/// A value for each case of an enumeration; 0 at first.
@frozen public struct Counters<Key: Counted>: Sendable {
  @usableFromInline var values: Key.Values
  @inlinable public init() { values = Key.Values(zeros: Key.allCases.count) }
  @inlinable public subscript(key: Key) -> Int {
    get { values[counter: key.rawValue] }
    set { values[counter: key.rawValue] = newValue }
  }
}

extension Counters: Equatable {
  public static func == (a: Self, b: Self) -> Bool {
    Key.allCases.allSatisfy { a[$0] == b[$0] }
  }
}
