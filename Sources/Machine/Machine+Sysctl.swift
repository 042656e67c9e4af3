internal import AddressSpaces
internal import MemoryTypes
internal import PhysicalMemory
internal import Topology

extension Machine {
  /// What an entry of `/proc/sys` holds: one number, or one for each kind of zone. Numbers without a sign come as bit patterns.
  public func values(of key: Sysctl.Key) -> [Int] {
    let tunables = memory.tunables
    let limits = users.limits
    switch key {
    case .minFreeKilobytes: return [Int(tunables.minFreeKilobytes)]
    case .watermarkScaleFactor: return [tunables.watermarkScaleFactor]
    case .watermarkBoostFactor: return [tunables.watermarkBoostFactor]
    case .listHighFraction: return [tunables.listHighFraction]
    case .lowmemReserveRatio: return zoneKinds.map { tunables.lowmemReserveRatio[Int($0.rawValue)] }
    case .maxMapCount: return [limits.mapCount]
    case .mmapMinimumAddress: return [Int(bitPattern: UInt(limits.lowestAddress))]
    case .overcommitMemory: return [limits.overcommit.rawValue]
    case .overcommitRatio: return [limits.overcommitRatio]
    case .overcommitKilobytes: return [Int(bitPattern: UInt(limits.overcommitKilobytes))]
    case .adminReserveKilobytes: return [Int(bitPattern: UInt(limits.adminReserveKilobytes))]
    case .userReserveKilobytes: return [Int(bitPattern: UInt(limits.userReserveKilobytes))]
    case .hugePages, .hugePagesByPolicy: return [hugePages.total(hugePages.defaultSize).total]
    case .overcommitHugePages: return [Int(bitPattern: UInt(hugePages.overcommit(hugePages.defaultSize)))]
    case .numaStatistics: return [numaBaseline.isCounting ? 1 : 0]
    case .compactionProactiveness: return [compaction.proactiveness]
    case .extfragThreshold: return [compaction.fragmentationThreshold]
    case .compactUnevictableAllowed: return [compaction.mayMoveUnevictable ? 1 : 0]
    case .processNumberLimit: return [Int(users.pidLimit)]
    case .threadLimit: return [Int(users.threadLimit)]
    default: return [sysctls[key]]
    }
  }

  /// Sets an entry to a number within its range, and whatever follows from it. The caller holds the machine.
  public func set(_ key: Sysctl.Key, to value: Int) {
    var tunables = memory.tunables
    switch key {
    case .minFreeKilobytes:
      tunables.minFreeKilobytes = UInt64(value)
      memory.setTunables(tunables, renewing: .watermarks)
    case .watermarkScaleFactor:
      tunables.watermarkScaleFactor = value
      memory.setTunables(tunables, renewing: .watermarks)
    case .watermarkBoostFactor:
      tunables.watermarkBoostFactor = value
      memory.setTunables(tunables)
    case .listHighFraction:
      tunables.listHighFraction = value
      memory.setTunables(tunables)
    case .maxMapCount: users.limits.mapCount = value
    case .mmapMinimumAddress: users.limits.lowestAddress = UInt64(UInt(bitPattern: value))
    case .overcommitMemory: users.limits.overcommit = Limits.Overcommit(rawValue: value) ?? .guess
    // Of the next two pairs, the one that is set counts, and the other reads 0.
    case .overcommitRatio:
      users.limits.overcommitRatio = value
      users.limits.overcommitKilobytes = 0
    case .overcommitKilobytes:
      users.limits.overcommitKilobytes = UInt64(UInt(bitPattern: value))
      users.limits.overcommitRatio = 0
    case .dirtyBytes, .dirtyRatio:
      // Unless it was that already (`dirty_ratio_handler`).
      guard sysctls[key] != value else { return }
      sysctls[key] = value
      sysctls[key == .dirtyBytes ? .dirtyRatio : .dirtyBytes] = 0
    case .dirtyBackgroundBytes, .dirtyBackgroundRatio:
      sysctls[key] = value
      sysctls[key == .dirtyBackgroundBytes ? .dirtyBackgroundRatio : .dirtyBackgroundBytes] = 0
    case .adminReserveKilobytes: users.limits.adminReserveKilobytes = UInt64(UInt(bitPattern: value))
    case .userReserveKilobytes: users.limits.userReserveKilobytes = UInt64(UInt(bitPattern: value))
    case .hugePages, .hugePagesByPolicy: resizeHugePages(hugePages.defaultSize, to: UInt64(UInt(bitPattern: value)))
    case .overcommitHugePages: hugePages.setOvercommit(hugePages.defaultSize, to: UInt64(UInt(bitPattern: value)))
    case .numaStatistics: setCountsNuma(value != 0)
    case .compactionProactiveness: setProactiveness(value)
    case .extfragThreshold: compaction.fragmentationThreshold = value
    case .compactUnevictableAllowed: compaction.mayMoveUnevictable = value != 0
    case .oomKillAllocatingTask:
      sysctls[key] = value
      users.killsAllocatingTask = value != 0
    case .processNumberLimit: users.pidLimit = Int32(value)
    case .threadLimit: users.threadLimit = UInt64(value)
    case .dropCaches: dropCaches(pages: value & 1 != 0, slab: value & 2 != 0)
    default: sysctls[key] = value
    }
  }

  /// Sets the first few of `lowmem_reserve_ratio`; what is below 1 counts as 0: no reserve.
  public func setLowmemReserveRatios(_ ratios: [Int]) {
    var tunables = memory.tunables
    for (kind, ratio) in zip(zoneKinds, ratios) { tunables.lowmemReserveRatio[Int(kind.rawValue)] = max(0, ratio) }
    memory.setTunables(tunables, renewing: .reserves)
  }

  /// `drop_caches`: 1 drops clean pages of files, 2 what slab can spare.
  func dropCaches(pages: Bool, slab: Bool) {
    reclaimCaches(pages: pages, slab: slab)
    if pages { droppedCaches.pages += 1 }
    if slab { droppedCaches.slab += 1 }
  }
}
