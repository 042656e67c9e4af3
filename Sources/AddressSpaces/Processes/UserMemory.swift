internal import Glibc
public import MemoryTypes
public import PhysicalMemory
public import Translation

/// The processes of a machine, their address spaces, and what they share: pages and their records, files in memory, limits.
///
/// One history: callers see to it that one call is carried out at a time.
///
/// What every fault reads and changes, here and in this module's other classes, goes without the run-time check of exclusive access
/// (`@exclusivity(unchecked)`), which would take longer than the fault. SAFETY: such fields are numbers, flags and references, changed in
/// single statements; none is passed `inout` to what reaches it by another way.
public final class UserMemory {
  let physical: PhysicalMemory
  let kernelTable: PageTable
  /// Every CPU's translation hardware: what processes' accesses go through.
  public let mmu: MMU
  public let format: PageFormat
  let settings: Settings
  public var limits: Limits
  let records: PageRecords
  /// By node number.
  let lists: NodeTable
  public internal(set) var reclaimCounts = ReclaimCounts()
  /// Files with disks that somebody holds, in the order in which they were made.
  var regularFiles: [MemoryFile] = []
  /// Pages that the files' disks hold.
  var diskPages = 0
  /// What they hold together at most, in bytes: they lie in the host's memory.
  public var diskCapacity: UInt64 = 4 << 30
  /// What reads of untouched private pages show: one frame of zeros for all.
  let zeroFrame: FrameNumber
  private(set) var processes: [ProcessID: Process] = [:]
  /// What areas of frames show. Its number is that of `/dev/mem` on the oracle's devtmpfs.
  let physicalFile = MemoryFile(kind: .physicalMemory, number: 4, path: "/dev/mem", size: .max)
  /// The number given out last.
  private(set) var lastPID: Int32 = 0
  /// How many processes there ever were (`total_forks`).
  public private(set) var processesEver: UInt64 = 0
  private var lastFileNumber: UInt64
  var random: SplitMix64
  var kernelStacks = KernelStacks()
  /// Pages that areas and files may come to need (`vm_committed_as`).
  public internal(set) var committedPages: UInt64 = 0
  /// Pages that the machine could ever hand out.
  private(set) var totalPages: UInt64 = 0
  /// How many processes a user may have: half of as many as would fill an eighth of the memory at boot with their stacks in the kernel
  /// (`set_max_threads`, `fork_init`).
  public var processLimit: UInt64 { threadLimit / 2 }
  /// How many processes there may be at once (`max_threads`).
  public var threadLimit: UInt64 = 0
  /// Above every process's number (`pid_max`).
  public var pidLimit: Int32
  /// What `pidLimit` may be (`pid_max_min`, `pid_max_max`; `pid_idr_init`).
  public let pidLimits: ClosedRange<Int32>
  /// The nodes with memory (`node_states[N_MEMORY]`).
  public private(set) var nodesWithMemory = NodeMask([])
  private var fallbackOrders: [NodeID: [NodeID]] = [:]
  let homeNodes: [CPUID: NodeID]
  /// Children of forks that have put something off: see `DeferredFork`.
  var deferringSpaces: [AddressSpace] = []
  /// What governs transparent huge pages.
  @safe @exclusivity(unchecked) public var transparent: HugePageSettings
  public internal(set) var hugeEvents = HugePageEvents()
  /// What reads of untouched huge pages show, once one was read, and how many spaces hold it.
  @safe @exclusivity(unchecked) var hugeZero: FrameRange?
  var hugeZeroUsers = 0
  /// Huge pages, by their heads, of which entries no longer show all, and how many frames those are.
  var unmappedParts: [FrameNumber: Int] = [:]
  /// These in the order in which they came to be so; those that are no longer are passed over.
  var splitQueue: [FrameNumber] = []
  /// Files of shared memory whose ends lie within a huge page of theirs, as far as that was new when they came here (`shrinklist`).
  var filesWithTails: [MemoryFile] = []
  /// Where khugepaged looks next.
  var collapseCursor: (pid: ProcessID, address: UInt64) = (ProcessID(0), 0)
  /// The pools of huge pages.
  public var hugePools: HugePools
  public internal(set) var hugePoolEvents = HugePoolEvents()
  private var lastHugeFileNumber: UInt64 = 0
  /// Files whose last holder has gone while a call wants them held: they go when it ends (`____fput`), and count against limits until then.
  private var heldFiles: [MemoryFile] = []
  var holdsFiles = false
  /// In bytes: `sys/kernel/debug/fault_around_bytes`.
  public private(set) var faultAroundBytes: UInt64 = 65536
  @safe @exclusivity(unchecked) public internal(set) var events = Events()
  /// The CPU of the process whose call is being carried out: frames that it gives back go to that CPU's lists.
  @safe @exclusivity(unchecked) var currentCPU = CPUID(0)
  /// The nodes to which the request that was refused last was confined by a policy; nil where it was not.
  @safe @exclusivity(unchecked) var refusedNodes: NodeMask?
  /// Who is making a space for another process, which is not among `processes` yet.
  var forking: Process?
  /// What needs memory that is not there ends itself, not who holds the most (`oom_kill_allocating_task`).
  public var killsAllocatingTask = false
  /// See `takeKillMessages`.
  var killMessages: [String] = []

  /// What the machine settles before its first process.
  public struct Settings: Sendable {
    public var seed: UInt64
    public var randomizesLayout: Bool
    /// Mappings that are writable and executable at once are refused with EACCES.
    public var enforcesWriteXorExecute: Bool
    /// Each CPU's node.
    public var homeNodes: [CPUID: NodeID]
    public init(
      seed: UInt64, randomizesLayout: Bool, enforcesWriteXorExecute: Bool, homeNodes: [CPUID: NodeID]
    ) {
      self.seed = seed
      self.randomizesLayout = randomizesLayout
      self.enforcesWriteXorExecute = enforcesWriteXorExecute
      self.homeNodes = homeNodes
    }
  }

  /// What vmstat counts of faults.
  public struct Events: Equatable, Sendable {
    public init() {}
    public var faults: UInt64 = 0
    public var majorFaults: UInt64 = 0
    public var demandZero: UInt64 = 0
    public var copyOnWrite: UInt64 = 0
    public var reusedOnWrite: UInt64 = 0
    public var stackGrowth: UInt64 = 0
    public var invalid: UInt64 = 0
    public var migrated: UInt64 = 0
    /// Pages that could not be moved (`pgmigrate_fail`).
    public var migrationsFailed: UInt64 = 0
    public var outOfMemoryKills: UInt64 = 0
    /// Pages that became unevictable as they were locked, and that ceased to be so.
    public var locked: UInt64 = 0
    public var unlocked: UInt64 = 0
    /// Locked pages that moved: the old frame is off its list by then, and stranded (`__munlock_page`); the new one is locked anew.
    public var lockedMoved: UInt64 = 0
  }

  /// Traps where the machine's frames are not the format's. Throws `outOfMemory` where not even the frame of zeros can be had,
  /// `hostRefusedMapping` where the host has no room for the TLBs.
  public init(physical: PhysicalMemory, kernelTable: PageTable, settings: Settings) throws(MemoryError) {
    self.physical = physical
    self.kernelTable = kernelTable
    format = kernelTable.format
    self.settings = settings
    homeNodes = settings.homeNodes
    mmu = try MMU(cpuCount: (settings.homeNodes.keys.max()?.rawValue ?? 0) + 1, kernel: kernelTable)
    random = SplitMix64(seed: settings.seed)
    let frames = physical.bytes.reach.rawValue >> kernelTable.format.pageShift
    records = try PageRecords(frames: frames)
    hugePools = HugePools(pageSizes: kernelTable.format.pageSizes, nodes: physical.nodes)
    transparent = HugePageSettings(pagesPerHugePage: kernelTable.format.basePages(level: 1))
    lists = NodeTable(count: (physical.nodes.last?.rawValue ?? 0) + 1)
    zeroFrame = try physical.allocate(FrameRequest(zeroed: true)).start
    limits = Limits(pageSize: 1 << kernelTable.format.pageShift)
    (pidLimits, pidLimit) = Self.pidLimits(
      cpus: settings.homeNodes.count, is32Bit: kernelTable.format.layout.user.last.rawValue >> 32 == 0)
    // The kernel's own shared-memory files come before the first of a process's (see makeSharedFile).
    lastFileNumber = Self.firstFileNumber - 1
    physicalFile.users = 1
    kernelTable.frames.placement = self
    followMemory()
    threadLimit = min(max(totalPages / (8 * kernelStackPages), 20), 0x3fff_ffff)
  }

  /// What `pidLimit` may be with so many CPUs, and is at boot (`pid_idr_init`): PIDS_PER_CPU_DEFAULT and PIDS_PER_CPU_MIN each.
  private static func pidLimits(cpus: Int, is32Bit: Bool) -> (range: ClosedRange<Int32>, initial: Int32) {
    let most: Int32 = is32Bit ? 0x8000 : 4 << 20
    let cpus = Int32(clamping: min(cpus, Int(most)))
    return (min(max(reservedPIDs + 1, 8 * cpus), most)...most, min(most, max(0x8000, 1024 * cpus)))
  }
  /// Below it numbers are given out once (RESERVED_PIDS).
  private static let reservedPIDs: Int32 = 300

  /// Looks anew at which nodes have memory, how much, and who stands in for whom: after memory has come or gone.
  public func followMemory() {
    nodesWithMemory = NodeMask(physical.nodes.filter { !physical.zones(of: $0).isEmpty })
    fallbackOrders = Dictionary(uniqueKeysWithValues: physical.nodes.map { ($0, physical.fallbackOrder(of: $0)) })
    totalPages = physical.snapshot().nodes.reduce(0) { $0 + $1.managed.rawValue }
  }

  public var pageShift: UInt64 { format.pageShift }
  /// The size of the default huge page: a leaf of the level above the base pages.
  public var hugePageSize: UInt64 { format.pageSize(level: 1).rawValue }

  /// Rounds down to a power of two, at least a page. False, and nothing changed, where that is more than a table of base pages maps.
  public func setFaultAroundBytes(_ bytes: UInt64) -> Bool {
    guard bytes >> pageShift <= format.indexMasks[0] + 1 else { return false }
    faultAroundBytes = max(1 << pageShift, bytes == 0 ? 0 : 1 << UInt64(63 - bytes.leadingZeroBitCount))
    return true
  }

  // MARK: Processes

  public func process(_ pid: ProcessID) -> Process? { processes[pid] }
  /// In ascending order.
  public var pids: [ProcessID] { processes.keys.sorted() }

  /// A new process with a stack and nothing else, on `cpu`; a child of process 1, unless it is that. Throws `outOfMemory`, also where
  /// there is no room for one more, `noSuchCPU`.
  @discardableResult
  public func spawn(name: String, cpu: CPUID = CPUID(0)) throws(MemoryError) -> Process {
    guard homeNodes[cpu] != nil else { throw .noSuchCPU(cpu) }
    guard hasRoomForProcess, let pid = nextPID else { throw .outOfMemory(count: FrameCount(0)) }
    var layout = UserLayout(format)
    if settings.randomizesLayout { layout.randomize(&random, pageShift: pageShift) }
    let stack = try makeKernelStack(cpu)
    let space: AddressSpace
    do throws(MemoryError) { space = try makeSpace(pid, layout, cpu) } catch {
      freeKernelStack(stack, cpu)
      throw error
    }
    let process = Process(
      pid: pid, parent: ProcessID(pid.rawValue == 1 ? 0 : 1), name: name, space: space, kernelStack: stack, cpu: cpu,
      allowedCPUs: homeNodes.keys.sorted())
    addStack(to: space)
    add(process)
    return process
  }

  func addStack(to space: AddressSpace) {
    // As large as Linux makes a stack when it starts a program (`setup_arg_pages`): 128 KiB and the arguments' page.
    let size = min(33 << pageShift, space.layout.stackLimit)
    let flags: AreaFlags = [.read, .write, .mayRead, .mayWrite, .mayExecute, .growsDown, .accounted, .softDirty]
    let start = space.layout.stackTop - size
    space.insert(Area(start: start, end: space.layout.stackTop, flags: flags, pageOffset: start >> pageShift))
    space.account(flags, pages: Int64(size >> pageShift))
    committedPages += size >> pageShift
  }

  func makeSpace(_ pid: ProcessID, _ layout: UserLayout, _ cpu: CPUID) throws(MemoryError) -> AddressSpace {
    let pages = try PageTable(
      space: UInt32(pid.rawValue), kernel: kernelTable, enforcesWriteXorExecute: settings.enforcesWriteXorExecute,
      keepsTables: true, cpu: cpu)
    try mmu.attach(pages)
    return AddressSpace(memory: self, table: UserTable(pages: pages, memory: self), layout: layout)
  }

  /// Lets go of all processes, which hold this value as it holds them: before the last hold on it from elsewhere ends. Nothing is to be
  /// done with it afterwards.
  public func end() { processes = [:] }

  /// The number of the next process: taken once there is one, as Linux takes it once there is memory (`copy_mm` before `alloc_pid`). The next
  /// free one, round and round, without the reserved ones from the second round on (`alloc_pid`, `idr_alloc_cyclic`); nil where none is free.
  var nextPID: ProcessID? {
    let lowest = lastPID >= Self.reservedPIDs ? Self.reservedPIDs : 1
    let next = max(lastPID + 1, lowest)
    if next < pidLimit, let pid = freePID(next..<pidLimit) { return pid }
    return freePID(lowest..<min(next, pidLimit))
  }
  private func freePID(_ numbers: Range<Int32>) -> ProcessID? {
    for number in numbers where processes[ProcessID(number)] == nil { return ProcessID(number) }
    return nil
  }
  /// Whether there may be one more process.
  public var hasRoomForProcess: Bool { processes.count < threadLimit && nextPID != nil }
  func add(_ process: Process) {
    lastPID = process.pid.rawValue
    processesEver += 1
    processes[process.pid] = process
  }
  func remove(_ process: Process) { processes[process.pid] = nil }

  // MARK: Flushes

  /// Discharges what a change of a table asks for, on every CPU that has the space loaded.
  func flush(_ obligation: consuming FlushObligation) {
    obligation.now(mmu, from: currentCPU)
  }

  // MARK: Nodes

  func home(of process: Process) -> NodeID { homeNodes[process.cpu] ?? NodeID(0) }
  /// The nodes with memory, best first, as a request of `node` tries them.
  func fallbackOrder(of node: NodeID) -> [NodeID] { fallbackOrders[node] ?? [] }

  // MARK: Commit

  /// `__vm_enough_memory`: promises pages to a process. ENOMEM where the overcommit mode does not allow it.
  func commit(pages: UInt64, by space: AddressSpace) throws(CallError) {
    if !mayCommit(pages: pages, by: space) { throw .outOfMemory }
    committedPages += pages
  }

  func mayCommit(pages: UInt64, by space: AddressSpace) -> Bool {
    switch limits.overcommit {
    case .always: return true
    case .guess: return pages <= totalPages
    case .never:
      func frames(_ kilobytes: UInt64) -> Int64 { Int64(clamping: kilobytes >> (pageShift - 10)) }
      var allowed = Int64(clamping: commitLimit)
      if !limits.isPrivileged { allowed &-= frames(limits.adminReserveKilobytes) }
      // A share of what the process has is left, so that it cannot grow until nobody can recover.
      allowed &-= min(Int64(clamping: space.counts.total / 32), frames(limits.userReserveKilobytes))
      return Int64(clamping: committedPages + pages) < allowed
    }
  }

  /// How many pages may be promised where none may be promised twice (`vm_commit_limit`).
  public var commitLimit: UInt64 {
    if limits.overcommitKilobytes != 0 { return limits.overcommitKilobytes >> (pageShift - 10) }
    let huge = physical.nodes.reduce(0) { $0 + (physical.totals(of: $1)?.frames(of: .hugePage) ?? 0) }
    // A ratio below 0 is a very large one, as in Linux.
    return (totalPages - UInt64(huge)) &* UInt64(bitPattern: Int64(limits.overcommitRatio)) / 100
  }
  func uncommit(pages: UInt64) { committedPages -= min(pages, committedPages) }

  /// EACCES where W^X is enforced and both are asked for.
  func checkWriteXorExecute(_ flags: AreaFlags) throws(CallError) {
    if settings.enforcesWriteXorExecute, flags.isSuperset(of: [.write, .execute]) { throw .accessDenied }
  }

  // MARK: Files

  /// The number of the first file that a process makes: what the oracle's kernel gives it (`shmem_reserve_inode`). Interleaving over
  /// shared memory begins at the file's number, so that the number shows in where pages lie.
  static var firstFileNumber: UInt64 { 2 }

  /// A file for MAP_SHARED|MAP_ANONYMOUS (`shmem_zero_setup`), held by the area it is made for. ENOMEM where `promised` pages may not be
  /// promised to `space`.
  func makeSharedFile(size: UInt64, promised: UInt64, to space: AddressSpace) throws(CallError) -> MemoryFile {
    try commit(pages: promised, by: space)
    lastFileNumber += 1
    let file = MemoryFile(kind: .sharedMemory, number: lastFileNumber, path: "/dev/zero (deleted)", size: size)
    file.promised = promised
    file.users = 1
    return file
  }

  /// A file of the user's, held by the caller until it is dropped.
  public func makeFile(path: String, size: UInt64) -> MemoryFile {
    lastFileNumber += 1
    let file = MemoryFile(kind: .regular, number: lastFileNumber, path: path, size: size)
    file.users = 1
    regularFiles.append(file)
    return file
  }

  /// A file of huge pages of a level for MAP_HUGETLB (`hugetlb_file_setup`), held by the caller until it is dropped.
  func makeHugeFile(size: UInt64, level: Int) -> MemoryFile {
    lastHugeFileNumber += 1
    let file = MemoryFile(kind: .hugePages, number: lastHugeFileNumber, path: "/anon_hugepage (deleted)", size: size)
    file.pageLevel = level
    file.users = 1
    return file
  }

  /// One user less; with the last the file's pages go.
  func drop(_ file: MemoryFile) {
    file.users -= 1
    if file.users > 0 { return }
    if holdsFiles { heldFiles.append(file) } else { forget(file) }
  }

  /// A call ends during which files were held.
  func dropHeldFiles() {
    holdsFiles = false
    for file in heldFiles { forget(file) }
    heldFiles = []
  }

  private func forget(_ file: MemoryFile) {
    if file.kind == .hugePages { return dropHugeFile(file) }
    for index in file.cachedIndices { removeFromCache(file, index) }
    filesWithTails.removeAll { $0 === file }
    diskPages -= file.disk.count
    uncommit(pages: file.promised)
    if file.kind == .regular { regularFiles.removeAll { $0 === file } }
  }
}

/// What processes may have, as `/proc/sys/vm` and setrlimit(2) say; Linux's defaults.
public struct Limits: Sendable {
  public enum Overcommit: Int, Sendable { case guess = 0, always = 1, never = 2 }
  /// Areas a process (`max_map_count`).
  public var mapCount = 65530
  /// The lowest address that unprivileged processes may map (`mmap_min_addr`), in bytes.
  public var lowestAddress: UInt64 = 65536
  public var overcommit = Overcommit.guess
  /// Percent (`overcommit_ratio`).
  public var overcommitRatio = 50
  /// The limit itself instead, where not 0 (`overcommit_kbytes`).
  public var overcommitKilobytes: UInt64 = 0
  /// What `Overcommit.never` keeps for root, and for the user to recover with.
  public var adminReserveKilobytes: UInt64 = 8192
  public var userReserveKilobytes: UInt64 = 1 << 17
  /// RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, in bytes.
  public var addressSpace = UInt64.max
  public var data = UInt64.max
  public var lockedMemory: UInt64 = 8 << 20
  /// What a stack keeps free below itself, in bytes (`stack_guard_gap`, 256 pages).
  public var stackGuardGap: UInt64
  /// Root's capabilities: no limit on locked memory, addresses below `lowestAddress` allowed.
  public var isPrivileged = true
  init(pageSize: UInt64) { stackGuardGap = 256 * pageSize }
}
