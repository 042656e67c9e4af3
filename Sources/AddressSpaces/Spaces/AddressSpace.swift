public import MemoryTypes
public import Translation

/// A process's areas and page table, with what Linux counts of them (its `mm_struct`).
@safe public final class AddressSpace {
  /// What the areas of all processes have in common. It holds its processes in turn, until `UserMemory.end`: a reference that is none would have
  /// to be made one at every step.
  let memory: UserMemory
  @safe @exclusivity(unchecked) var areas = AreaIndex()
  /// Its table as it is: for accesses, which have seen to it that nothing is put off of what they reach. Others have `table`.
  let settledTable: UserTable
  /// The fork that has put off tables of this space, which is its parent or its child.
  @safe @exclusivity(unchecked) var deferredFork: DeferredFork?
  /// What the addresses have in common that were last asked for, of the size of a table.
  @safe @exclusivity(unchecked) var lastSettled = UInt64.max
  @safe @exclusivity(unchecked) var layout: UserLayout
  /// The end of the heap, which brk moves: `layout.heapStart` or above.
  public internal(set) var breakEnd: UInt64
  /// Flags of mlockall(MCL_FUTURE), for areas to come.
  var defaultFlags: AreaFlags = []
  @safe @exclusivity(unchecked) public internal(set) var counts = Counts()
  /// The processes that use the space; it is torn down with the last.
  var users = 1
  /// Entries in the table that show a transparent huge page, the one of zeros included; a table is put aside for each that is not a file's.
  @safe @exclusivity(unchecked) var hugeEntries = 0
  /// Whether the space holds the huge page of zeros.
  var holdsHugeZero = false
  /// The area that was found last: most accesses hit it again.
  /// SAFETY: one of `areas`, which keeps it; dropped by every change of areas.
  @safe @exclusivity(unchecked) private var lastFound: Unmanaged<Area>?

  /// In pages.
  public struct Counts: Equatable, Sendable {
    public var total: UInt64 = 0
    public var data: UInt64 = 0
    public var executable: UInt64 = 0
    public var stack: UInt64 = 0
    public var locked: UInt64 = 0
    public var anonymousResident: UInt64 = 0
    public var fileResident: UInt64 = 0
    public var sharedResident: UInt64 = 0
    /// Of pools of huge pages; resident sizes do not have them (`hugetlb_usage`).
    public var hugeTLB: UInt64 = 0
    public var highestTotal: UInt64 = 0
    public var highestResident: UInt64 = 0
    public var resident: UInt64 { anonymousResident + fileResident + sharedResident }
  }

  init(memory: UserMemory, table: UserTable, layout: UserLayout) {
    self.memory = memory
    settledTable = table
    self.layout = layout
    breakEnd = layout.heapStart
  }

  /// The table itself, for dumps and walks.
  public var pageTable: PageTable { table.pages }
  /// Its tables but for the root (`mm_pgtables_bytes`), in pages.
  public var tablePages: UInt64 { UInt64(table.pages.tableCountBelowTop) }
  /// The address behind the last that may be mapped.
  public var addressEnd: UInt64 { layout.userEnd }
  /// Where the stack began to grow down from (`mm->start_stack`).
  public var stackStart: UInt64 { layout.stackTop - 1 }
  /// How large the stack may grow, in bytes (RLIMIT_STACK).
  public var stackLimit: UInt64 { layout.stackLimit }
  /// How many areas there are.
  public var areaCount: Int { areas.count }
  /// Calls `body` for every area in ascending order.
  public func forEachArea(_ body: (Area) -> Void) { areas.forEach(body) }
  public func area(at address: VirtualAddress) -> Area? { areas.area(at: address.rawValue) }
  /// Calls `body` with the area at `address`, if there is one, without a reference taken. `body` must not change areas.
  public func withArea(at address: VirtualAddress, _ body: (Area) -> Void) {
    unsafe areas.find(address.rawValue)?._withUnsafeGuaranteedRef(body)
  }

  /// Forgets the most that was ever resident (`reset_mm_hiwater_rss`).
  public func resetHighestResident() { counts.highestResident = counts.resident }

  /// A child's peaks are what it begins with (`dup_mm`).
  func resetPeaks() {
    counts.highestTotal = counts.total
    resetHighestResident()
  }

  // MARK: Pages

  var pageShift: UInt64 { memory.pageShift }
  var pageSize: UInt64 { 1 << memory.pageShift }
  var pageMask: UInt64 { pageSize - 1 }
  @inline(__always) func isAligned(_ value: UInt64) -> Bool { value & pageMask == 0 }
  /// `PAGE_ALIGN`: up to a multiple of the page size; wraps to 0 near 2^64.
  @inline(__always) func roundedUp(_ value: UInt64) -> UInt64 { (value &+ pageMask) & ~pageMask }
  @inline(__always) func roundedDown(_ value: UInt64) -> UInt64 { value & ~pageMask }
  func pages(_ area: Area) -> UInt64 { area.size >> pageShift }

  // MARK: Accounting

  /// `may_expand_vm`: whether the limits on address space and data allow `pages` more.
  func mayGrow(_ flags: AreaFlags, pages: UInt64) -> Bool {
    let limits = memory.limits
    if counts.total &+ pages > limits.addressSpace >> pageShift { return false }
    if Self.isData(flags), counts.data &+ pages > limits.data >> pageShift { return false }
    return true
  }

  static func isData(_ flags: AreaFlags) -> Bool { flags.intersection([.write, .shared, .growsDown]) == .write }
  private static func isStack(_ flags: AreaFlags) -> Bool { flags.contains(.growsDown) }
  private static func isCode(_ flags: AreaFlags) -> Bool {
    flags.intersection([.execute, .write, .growsDown]) == .execute
  }

  /// `vm_stat_account`.
  func account(_ flags: AreaFlags, pages: Int64) {
    func add(_ counter: inout UInt64) { counter = UInt64(bitPattern: Int64(bitPattern: counter) &+ pages) }
    add(&counts.total)
    if Self.isCode(flags) {
      add(&counts.executable)
    } else if Self.isStack(flags) {
      add(&counts.stack)
    } else if Self.isData(flags) {
      add(&counts.data)
    }
    counts.highestTotal = max(counts.highestTotal, counts.total)
  }

  /// `mlock_future_check`: EAGAIN where RLIMIT_MEMLOCK does not allow `length` bytes more of locked memory.
  func checkLockLimit(_ flags: AreaFlags, length: UInt64) throws(CallError) {
    guard flags.contains(.locked), !memory.limits.isPrivileged else { return }
    if (length >> pageShift) &+ counts.locked > memory.limits.lockedMemory >> pageShift { throw .tryAgain }
  }

  /// Areas changed: what was remembered of them no longer holds.
  func areasChanged() { lastFound = nil }

  /// The area at `address`, from the one found last where it holds the address.
  func findArea(_ address: UInt64) -> Area? { unsafe findUnretained(address)?.takeUnretainedValue() }

  /// The same, without a reference taken. SAFETY: the caller uses it before areas change.
  @inline(__always) func findUnretained(_ address: UInt64) -> Unmanaged<Area>? {
    if let last = lastFound, unsafe last._withUnsafeGuaranteedRef({ $0.contains(address) }) {
      return unsafe last
    }
    guard let area = unsafe areas.find(address) else { return nil }
    unsafe lastFound = area
    return unsafe area
  }
}
