internal import MemoryTypes
internal import Topology

/// An entry of `/proc/sys/vm`, and of `/proc/sys/kernel` what governs processes: a row of `Sysctl.all` (kernel/sysctl.c `vm_table`, `kern_table`,
/// and mm's own tables, Linux 6.1).
public struct Sysctl: Sendable {
  /// What may be written, and how it is read: which of the kernel's handlers serves the entry.
  public enum Form: Sendable {
    /// A number of 32 bits with a sign (`proc_dointvec_minmax`).
    case signed(ClosedRange<Int>)
    /// The same, or 0.
    case signedOrZero(ClosedRange<Int>)
    /// A number of 64 bits without (`proc_doulongvec_minmax`).
    case unsigned(ClosedRange<UInt64>)
    /// The same, within what the machine's CPUs allow (`pid_max`).
    case processNumber
    /// Any number, kept as 0 or 1 (`proc_dobool`).
    case flag
    /// As many numbers as the machine has kinds of zones; what cannot be read is ignored (`lowmem_reserve_ratio_sysctl_handler`).
    case zones
    /// A word; only those that begin in these letters are taken, and none changes anything (`numa_zonelist_order_handler`).
    case order(firstLetters: String, shown: String)
    /// Does something when written to, whatever is written (`sysctl_compaction_handler`).
    case trigger
    /// Reads as nothing, takes anything (`vmstat_refresh`).
    case nothing
  }

  public let key: Key
  public let mode: UInt16
  public let form: Form
  let initial: Int
  /// Below `/proc/sys`.
  public let directory: String
  /// The architectures that have the entry.
  let architectures: [Architecture]

  public var name: String { key.rawValue }

  private init(
    _ key: Key, _ form: Form, _ initial: Int = 0, mode: UInt16 = 0o644,
    in directory: String = "vm",
    on architectures: [Architecture] = Architecture.allCases
  ) {
    self.key = key
    self.form = form
    self.initial = initial
    self.mode = mode
    self.directory = directory
    self.architectures = architectures
  }

  public enum Key: String, CaseIterable, Sendable {
    case adminReserveKilobytes = "admin_reserve_kbytes"
    case compactMemory = "compact_memory"
    case compactUnevictableAllowed = "compact_unevictable_allowed"
    case compactionProactiveness = "compaction_proactiveness"
    case dirtyBackgroundBytes = "dirty_background_bytes"
    case dirtyBackgroundRatio = "dirty_background_ratio"
    case dirtyBytes = "dirty_bytes"
    case dirtyExpireCentiseconds = "dirty_expire_centisecs"
    case dirtyRatio = "dirty_ratio"
    case dirtyWritebackCentiseconds = "dirty_writeback_centisecs"
    case dirtytimeExpireSeconds = "dirtytime_expire_seconds"
    case dropCaches = "drop_caches"
    case extfragThreshold = "extfrag_threshold"
    case hugetlbOptimizeVmemmap = "hugetlb_optimize_vmemmap"
    case hugetlbSharedMemoryGroup = "hugetlb_shm_group"
    case laptopMode = "laptop_mode"
    case legacyLayout = "legacy_va_layout"
    case lowmemReserveRatio = "lowmem_reserve_ratio"
    case maxMapCount = "max_map_count"
    case memoryFailureEarlyKill = "memory_failure_early_kill"
    case memoryFailureRecovery = "memory_failure_recovery"
    case minFreeKilobytes = "min_free_kbytes"
    case minSlabRatio = "min_slab_ratio"
    case minUnmappedRatio = "min_unmapped_ratio"
    case mmapMinimumAddress = "mmap_min_addr"
    case mmapRandomBits = "mmap_rnd_bits"
    case mmapRandomCompatBits = "mmap_rnd_compat_bits"
    case hugePages = "nr_hugepages"
    case hugePagesByPolicy = "nr_hugepages_mempolicy"
    case overcommitHugePages = "nr_overcommit_hugepages"
    case numaStatistics = "numa_stat"
    case zonelistOrder = "numa_zonelist_order"
    case oomDumpTasks = "oom_dump_tasks"
    case oomKillAllocatingTask = "oom_kill_allocating_task"
    case overcommitKilobytes = "overcommit_kbytes"
    case overcommitMemory = "overcommit_memory"
    case overcommitRatio = "overcommit_ratio"
    case pageCluster = "page-cluster"
    case pageLockUnfairness = "page_lock_unfairness"
    case panicOnOutOfMemory = "panic_on_oom"
    case listHighFraction = "percpu_pagelist_high_fraction"
    case statisticsInterval = "stat_interval"
    case statisticsRefresh = "stat_refresh"
    case swappiness
    case unprivilegedUserfaultfd = "unprivileged_userfaultfd"
    case userReserveKilobytes = "user_reserve_kbytes"
    case cachePressure = "vfs_cache_pressure"
    case watermarkBoostFactor = "watermark_boost_factor"
    case watermarkScaleFactor = "watermark_scale_factor"
    case zoneReclaimMode = "zone_reclaim_mode"
    case processNumberLimit = "pid_max"
    case threadLimit = "threads-max"
  }

  private static let int = Int(Int32.min)...Int(Int32.max)
  private static let natural = 0...Int(Int32.max)
  /// What `proc_dointvec_jiffies` holds at 250 ticks a second.
  private static let seconds = -Int(Int32.max) / 250...Int(Int32.max) / 250
  private static let long = 0...UInt64.max

  /// Every entry. Ranges as the oracle's kernel enforces them.
  public static let all: [Sysctl] = [
    Sysctl(.adminReserveKilobytes, .unsigned(long)), Sysctl(.compactMemory, .trigger, mode: 0o200),
    Sysctl(.compactUnevictableAllowed, .signed(0...1), 1), Sysctl(.compactionProactiveness, .signed(0...100), 20),
    Sysctl(.dirtyBackgroundBytes, .unsigned(1...UInt64.max)), Sysctl(.dirtyBackgroundRatio, .signed(0...100), 10),
    // At least two pages (`dirty_bytes_min`).
    Sysctl(.dirtyBytes, .unsigned(8192...UInt64.max)), Sysctl(.dirtyExpireCentiseconds, .signed(natural), 3000),
    Sysctl(.dirtyRatio, .signed(0...100), 20), Sysctl(.dirtyWritebackCentiseconds, .signed(int), 500),
    Sysctl(.dirtytimeExpireSeconds, .signed(natural), 43200), Sysctl(.dropCaches, .signed(1...4), mode: 0o200),
    Sysctl(.extfragThreshold, .signed(0...1000), 500), Sysctl(.hugetlbOptimizeVmemmap, .flag),
    Sysctl(.hugetlbSharedMemoryGroup, .signed(int)), Sysctl(.laptopMode, .signed(seconds)),
    Sysctl(.legacyLayout, .signed(natural)), Sysctl(.lowmemReserveRatio, .zones),
    Sysctl(.maxMapCount, .signed(natural)),
    Sysctl(.memoryFailureEarlyKill, .signed(0...1)), Sysctl(.memoryFailureRecovery, .signed(0...1), 1),
    Sysctl(.minFreeKilobytes, .signed(natural)), Sysctl(.minSlabRatio, .signed(0...100), 5),
    Sysctl(.minUnmappedRatio, .signed(0...100), 1), Sysctl(.mmapMinimumAddress, .unsigned(long)),
    Sysctl(.mmapRandomBits, .signed(28...32), 28, mode: 0o600, on: [.x86_64]),
    Sysctl(.mmapRandomCompatBits, .signed(8...16), 8, mode: 0o600, on: [.x86_64]),
    Sysctl(.hugePages, .unsigned(long)), Sysctl(.hugePagesByPolicy, .unsigned(long)),
    Sysctl(.overcommitHugePages, .unsigned(long)), Sysctl(.numaStatistics, .signed(0...1)),
    Sysctl(.zonelistOrder, .order(firstLetters: "dDnN", shown: "Node")), Sysctl(.oomDumpTasks, .signed(int), 1),
    Sysctl(.oomKillAllocatingTask, .signed(int)), Sysctl(.overcommitKilobytes, .unsigned(long)),
    Sysctl(.overcommitMemory, .signed(0...2)), Sysctl(.overcommitRatio, .signed(int)),
    Sysctl(.pageCluster, .signed(natural), 3), Sysctl(.pageLockUnfairness, .signed(natural), 5),
    Sysctl(.panicOnOutOfMemory, .signed(0...2)),  // MIN_PERCPU_PAGELIST_HIGH_FRACTION
    Sysctl(.listHighFraction, .signedOrZero(8...Int(Int32.max))),
    Sysctl(.statisticsInterval, .signed(seconds), 1), Sysctl(.statisticsRefresh, .nothing, mode: 0o600),
    Sysctl(.swappiness, .signed(0...200), 60), Sysctl(.unprivilegedUserfaultfd, .signed(0...1)),
    Sysctl(.userReserveKilobytes, .unsigned(long)), Sysctl(.cachePressure, .signed(natural), 100),
    Sysctl(.watermarkBoostFactor, .signed(natural), 15000), Sysctl(.watermarkScaleFactor, .signed(1...3000)),
    Sysctl(.zoneReclaimMode, .signed(natural)), Sysctl(.processNumberLimit, .processNumber, in: "kernel"),
    // MAX_THREADS
    Sysctl(.threadLimit, .signed(1...0x3fff_ffff), in: "kernel"),
  ]

  public func exists(on machine: Machine) -> Bool { architectures.contains(machine.description.architecture) }
}

/// What the entries hold whose value no other structure has. 64 bits each, with or without a sign as the entry's form says.
public struct SysctlValues: Sendable {
  private var values: [Sysctl.Key: Int]

  init() { values = Dictionary(uniqueKeysWithValues: Sysctl.all.map { ($0.key, $0.initial) }) }

  public internal(set) subscript(key: Sysctl.Key) -> Int {
    get { values[key] ?? 0 }
    set { values[key] = newValue }
  }
}
