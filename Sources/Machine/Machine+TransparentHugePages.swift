public import AddressSpaces
internal import MemoryTypes
internal import PhysicalMemory
internal import Topology

/// Transparent huge pages of processes.
extension Machine {
  /// What governs them when the machine begins: the settings `thp` and `thp_shmem`, and Linux's defaults; where Linux's rules hold, none on a machine of 512 MiB
  /// or less (`hugepage_init`).
  static func transparentHugePages(_ description: MachineDescription, _ defaults: HugePageSettings) -> HugePageSettings
  {
    var settings = defaults
    switch description.settings.thp {
    case .always: settings.enabled = .always
    case .madvise: settings.enabled = .madvise
    case .never: settings.enabled = .never
    }
    settings.shared = HugePageSettings.Shared(rawValue: description.settings.thpShared.rawValue) ?? .never
    if description.settings.profile == .linux, !description.initializesHugePages {
      settings.enabled = .never
      settings.defrag = .never
      settings.usesZeroPage = false
    }
    return settings
  }

  /// A step of khugepaged over that many base pages; nil: as many as `pages_to_scan` says.
  public func runKhugepaged(pages: UInt64?) -> UserMemory.CollapseStep {
    users.runKhugepaged(pages: pages ?? UInt64(users.transparent.khugepaged.pagesToScan))
  }

  func addHugePages(to counts: inout Counters<VMEvent>) {
    let events = users.hugeEvents
    counts[.thpMigrationSuccess] = Int(events.migrated)
    counts[.thpMigrationFail] = Int(events.migrationsFailed)
    counts[.thpMigrationSplit] = Int(events.migrationsSplit)
    counts[.thpFaultAlloc] = Int(events.faultAllocations)
    counts[.thpFaultFallback] = Int(events.faultFallbacks)
    counts[.thpCollapseAlloc] = Int(events.collapseAllocations)
    counts[.thpCollapseAllocFailed] = Int(events.collapseAllocationsFailed)
    counts[.thpFileAlloc] = Int(events.fileAllocations)
    counts[.thpFileFallback] = Int(events.fileFallbacks)
    counts[.thpFileMapped] = Int(events.fileMapped)
    counts[.thpSplitPage] = Int(events.splits)
    counts[.thpSplitPageFailed] = Int(events.splitsFailed)
    counts[.thpDeferredSplitPage] = Int(events.deferredSplits)
    counts[.thpSplitPmd] = Int(events.entrySplits)
    counts[.thpScanExceedNonePte] = Int(events.scansWithTooManyNone)
    counts[.thpScanExceedSharePte] = Int(events.scansWithTooManyShared)
    counts[.thpZeroPageAlloc] = Int(events.zeroPages)
    counts[.thpZeroPageAllocFailed] = Int(events.zeroPagesFailed)
    counts[.htlbBuddyAllocSuccess] = Int(users.hugePoolEvents.allocations)
    counts[.htlbBuddyAllocFail] = Int(users.hugePoolEvents.allocationsFailed)
  }
}

/// Huge pages of which parts are unmapped, and the one of zeros: what reclaim asks for memory (`deferred_split_shrinker`,
/// `huge_zero_page_shrinker`).
final class HugePageShrinker: Shrinker {
  /// SAFETY: the machine holds this.
  private unowned let machine: Machine

  init(_ machine: Machine) { self.machine = machine }

  func count(on node: NodeID) -> Int { machine.users.deferredSplits(on: node) }
  func scan(on node: NodeID, _ objects: Int) -> Int { machine.users.splitDeferred(on: node, objects) }
}

/// Files of shared memory that end within a huge page: what lies behind their ends comes free when that is split, wherever it lies
/// (`shmem_unused_huge_scan`). Entries go with it, so that nothing is done in the middle of a change to a table.
final class SharedTailShrinker: Shrinker {
  /// SAFETY: the machine holds this.
  private unowned let machine: Machine

  init(_ machine: Machine) { self.machine = machine }

  func count(on node: NodeID) -> Int { machine.mayUnmap ? machine.users.sharedTails : 0 }
  func scan(on node: NodeID, _ objects: Int) -> Int { machine.users.splitTails(objects) }
}
