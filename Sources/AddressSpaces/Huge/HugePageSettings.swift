/// What governs transparent huge pages (`/sys/kernel/mm/transparent_hugepage`, Documentation/admin-guide/mm/transhuge.rst).
public struct HugePageSettings: Equatable, Sendable {
  public enum Enabled: String, CaseIterable, Sendable { case always, madvise, never }

  /// How far an allocation of a huge page goes to get one.
  public enum Defrag: String, CaseIterable, Sendable {
    case always, `defer`
    case deferMadvise = "defer+madvise"
    case madvise, never
  }

  /// When shared memory gets huge pages.
  public enum Shared: String, CaseIterable, Sendable {
    case always
    case withinSize = "within_size"
    case advise, never, deny, force
  }

  public var enabled = Enabled.always
  public var defrag = Defrag.madvise
  public var shared = Shared.never
  /// Reads of untouched memory show the huge page of zeros.
  public var usesZeroPage = true
  public var khugepaged: Khugepaged

  /// Linux's defaults for huge pages of so many base pages.
  public init(pagesPerHugePage count: UInt64) { khugepaged = Khugepaged(pagesPerHugePage: count) }

  /// What governs khugepaged, and what it has done. Numbers of pages are of base pages.
  public struct Khugepaged: Equatable, Sendable {
    /// It may reclaim and compact for a huge page.
    public var defrags = true
    /// What a step looks at: 1 and up.
    public var pagesToScan: UInt32
    /// How many pages of a range may be untouched, swapped out or other processes' as well for it to become a huge page: below the
    /// pages of a huge page.
    public var maximumNone: UInt32
    public var maximumSwapped: UInt32
    public var maximumShared: UInt32
    /// Kept as they are set: a step is taken when the word asks for it.
    public var scanSleepMilliseconds: UInt32 = 10000
    public var allocationSleepMilliseconds: UInt32 = 60000
    public internal(set) var pagesCollapsed: UInt32 = 0
    public internal(set) var fullScans: UInt32 = 0

    init(pagesPerHugePage count: UInt64) {
      pagesToScan = UInt32(clamping: count * 8)
      maximumNone = UInt32(clamping: count - 1)
      maximumSwapped = UInt32(clamping: count / 8)
      maximumShared = UInt32(clamping: count / 2)
    }
  }
}

/// What vmstat counts of huge pages (`thp_*`).
public struct HugePageEvents: Equatable, Sendable {
  public internal(set) var faultAllocations: UInt64 = 0
  public internal(set) var faultFallbacks: UInt64 = 0
  public internal(set) var collapseAllocations: UInt64 = 0
  public internal(set) var collapseAllocationsFailed: UInt64 = 0
  /// Pages that were split, and those that could not be.
  public internal(set) var splits: UInt64 = 0
  public internal(set) var splitsFailed: UInt64 = 0
  /// Pages that were put aside for splitting, as parts of them are unmapped.
  public internal(set) var deferredSplits: UInt64 = 0
  /// Entries that were split.
  public internal(set) var entrySplits: UInt64 = 0
  public internal(set) var scansWithTooManyNone: UInt64 = 0
  public internal(set) var scansWithTooManyShared: UInt64 = 0
  public internal(set) var zeroPages: UInt64 = 0
  public internal(set) var zeroPagesFailed: UInt64 = 0
  /// Huge pages that came into shared memory for a fault, faults that got base pages as there was no room, and entries that were made for them.
  public internal(set) var fileAllocations: UInt64 = 0
  public internal(set) var fileFallbacks: UInt64 = 0
  public internal(set) var fileMapped: UInt64 = 0
  public internal(set) var migrated: UInt64 = 0
  public internal(set) var migrationsFailed: UInt64 = 0
  public internal(set) var migrationsSplit: UInt64 = 0
}
