public import AddressSpaces
public import MemoryTypes
public import PhysicalMemory
public import Topology
public import Translation

/// A machine that runs: its memory, its kernel's page table, its processes, and the one order in which things happen to them.
///
/// Everything but `description` is guarded by `lock`, which its users take for a whole line or a whole file: lines take effect one
/// at a time, and a reader sees the machine between two of them.
public final class Machine: @unchecked Sendable {
  public let description: MachineDescription
  public let lock = Lock()
  let shape: ShapeIndex

  public let memory: PhysicalMemory
  /// The form of the machine's page tables.
  public let format: PageFormat
  /// What booting made; nil only while `reset` replaces it.
  private var booted: Booted?
  public var power = DevicePower()
  var memoryBlocks: MemoryBlocks
  /// What was added to the memory that the machine booted with, in that order.
  public internal(set) var addedMemory: [PhysicalRange] = []
  /// What becomes of memory that is added.
  public var onlinePolicy = OnlinePolicy.offline
  /// What `/proc/sys/vm` holds that no other structure has.
  public internal(set) var sysctls = SysctlValues()
  var numaBaseline = NUMABaseline()
  /// How often `drop_caches` was told to drop each.
  var droppedCaches = (pages: 0, slab: 0)
  public var lineOwners = LineOwners()
  /// How many lines have begun since the machine was made: the number of the current one.
  public private(set) var line: UInt32 = 0
  public var compaction = Compaction()
  /// By name.
  var files: [String: MemoryFile] = [:]
  var shrinkers: [any Shrinker] = []
  /// Whether reclaim may take entries out: not for the frame of a table.
  var mayUnmap = true
  var reclaimCounts = MachineReclaimCounts()
  /// What waits for `endLine`.
  var background = BackgroundWork()
  /// Where the next step of `numa_balance` begins to look, and how many frames the steps have moved.
  var balanceCursor = FrameNumber(0)
  var balancedFrames: UInt64 = 0

  /// Boots the machine: reserves what is reserved, maps physical memory for the kernel, and starts process 1.
  ///
  /// - Throws: `overlappingReservations`; `hostRefusedMapping`; `outOfMemory` where the machine cannot hold its own page tables.
  public init(_ description: MachineDescription) throws(MemoryError) {
    self.description = description
    shape = ShapeIndex(description)
    memoryBlocks = MemoryBlocks(description)
    memory = try PhysicalMemory(description, watched: true)
    guard let format = PageFormat.named(description.resolvedPaging.rawValue, for: description.architecture) else {
      preconditionFailure("\(description.resolvedPaging) is no page format of \(description.architecture)")
    }
    self.format = format
    booted = try Booted(description, memory, format)
    setReserves()
    fillHugePools()
    memory.setMover(MachineMover(self))
    memory.setReclaimer(MachineReclaimer(self))
    shrinkers = ownShrinkers
  }

  deinit { booted?.users.end() }

  /// What overcommitting keeps for the user and for root (mm/mmap.c, `init_user_reserve`, `init_admin_reserve`).
  private func setReserves() {
    let free = memory.nodes.reduce(0) { $0 + (memory.totals(of: $1)?.free ?? 0) }
    let share = memory.frameSize.kilobytes(FrameCount(UInt64(free))) / 32
    users.limits.userReserveKilobytes = min(share, 1 << 17)
    users.limits.adminReserveKilobytes = min(share, 1 << 13)
  }

  /// `hugetlb_hstate_alloc_pages`, which comes after `setReserves` as it does in Linux's order of starting.
  private func fillHugePools() { resizeHugePages(hugePages.defaultSize, to: description.settings.hugePages) }

  var isBooted: Bool { booted != nil }

  /// The kernel's half: physical memory at `format.layout.physicalMap`.
  public var kernelTable: PageTable { booted!.kernelTable }
  /// The processes, their address spaces, and every CPU's TLBs.
  public var users: UserMemory {
    let users = booted!.users
    users.settle()
    return users
  }
  /// The same where forks may have put something off (see `UserMemory.settle`): for processes' own accesses and calls.
  public var unsettledUsers: UserMemory { booted!.users }
  /// Memory's bytes, page tables among them, as they are for others than processes.
  public var bytes: PhysicalBytes {
    booted?.users.settle()
    return memory.bytes
  }

  public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }

  /// How often the machine was booted: once, and at each `reset`.
  public private(set) var boots = 1

  /// A line takes effect now. The caller holds `lock`.
  public func beginLine() { line &+= 1 }

  /// Everything as it was after booting: processes, tables, pools, allocations, memory that was added and what was written to devices go,
  /// the bytes of all memory with them, and all memory is in use.
  ///
  /// Does not fail: what fitted into this memory once fits again.
  public func reset() {
    // Spaces go before the kernel whose half they share, and their frames before all memory becomes free.
    for pid in users.pids { if let process = users.process(pid) { users.exit(process) } }
    booted = nil
    boots += 1
    power = DevicePower()
    memoryBlocks = MemoryBlocks(description)
    addedMemory = []
    onlinePolicy = .offline
    compaction = Compaction()
    files = [:]
    shrinkers = ownShrinkers
    reclaimCounts = MachineReclaimCounts()
    background = BackgroundWork()
    sysctls = SysctlValues()
    numaBaseline = NUMABaseline()
    droppedCaches = (0, 0)
    lineOwners = LineOwners()
    balanceCursor = FrameNumber(0)
    balancedFrames = 0
    memory.reset()
    memory.resetTunables()
    do throws(MemoryError) {
      booted = try Booted(description, memory, format)
      setReserves()
      fillHugePools()
    } catch { preconditionFailure("the machine booted once, and cannot again: \(error)") }
  }
}

/// What booting makes of a machine's empty memory.
private struct Booted {
  let users: UserMemory
  let kernelTable: PageTable

  init(_ description: MachineDescription, _ memory: PhysicalMemory, _ format: PageFormat) throws(MemoryError) {
    kernelTable = try PageTable(kernelOf: TableFrames(memory), format: format)
    try Self.mapPhysicalMemory(description, memory, kernelTable)
    try Self.mapDevices(description, memory, kernelTable)
    users = try UserMemory(physical: memory, kernelTable: kernelTable, settings: Self.settings(description, memory))
    users.mmu.requestCost = description.settings.tlbCostNanoseconds
    users.transparent = Machine.transparentHugePages(description, users.transparent)
    do throws(MemoryError) { try Self.startInit(users) } catch {
      users.end()
      throw error
    }
  }

  private static func mapPhysicalMemory(
    _ description: MachineDescription, _ memory: PhysicalMemory, _ table: PageTable
  ) throws(MemoryError) {
    let map = table.format.layout.physicalMap
    for node in description.nodes {
      for range in node.memory {
        // Where the map is smaller than memory, the rest is High memory, and the kernel has no address for it.
        let end = min(range.end.rawValue, map.size.rawValue)
        guard range.start.rawValue < end else { continue }
        let part = PhysicalRange(start: range.start, size: ByteCount(end - range.start.rawValue))
        try table.map(
          map.first + ByteCount(range.start.rawValue), to: memory.frameSize.framesInside(part),
          flags: [.present, .writable, .global, .accessed, .dirty])
      }
    }
  }

  /// Maps the registers of the devices that the machine is described with, one behind the other, a page free behind each (`ioremap`). Windows in
  /// which devices may lie are mapped by whoever finds one there.
  private static func mapDevices(
    _ description: MachineDescription, _ memory: PhysicalMemory, _ table: PageTable
  ) throws(MemoryError) {
    var next = table.format.layout.mmio.first
    var mapped: [FrameRange] = []
    for region in description.reserved
    where region.kind == .mmio && region.range.start.rawValue >= 1 << 20 && region.range.size <= .kib(64) {
      let frames = memory.frameSize.framesTouched(region.range)
      if mapped.contains(where: { $0.overlaps(frames) }) { continue }
      mapped.append(frames)
      try table.map(
        next, to: frames,
        flags: [.present, .writable, .global, .accessed, .dirty, .cacheDisable, .writeThrough], sizes: .base)
      next = next + memory.frameSize.bytes(frames.count) + memory.frameSize.bytes
    }
  }

  private static func settings(_ description: MachineDescription, _ memory: PhysicalMemory) -> UserMemory.Settings {
    UserMemory.Settings(
      seed: description.settings.seed, randomizesLayout: description.settings.aslr,
      enforcesWriteXorExecute: description.settings.resolvedWX == .enforce,
      homeNodes: Dictionary(uniqueKeysWithValues: description.cpus.map { ($0.id, $0.node) }))
  }

  /// Process 1, with a heap of four pages at 0x1000, or where that lies in a larger page: as much as the process has that carries out scripts
  /// on the oracle's kernel, so that numa_maps says the same of it below the scripts' own areas.
  private static func startInit(_ users: UserMemory) throws(MemoryError) {
    let process = try users.spawn(name: "init")
    let size: UInt64 = 1 << users.pageShift
    let address = 0x1000 & ~(size - 1)
    do throws(CallError) {
      _ = try users.mmap(
        process, address, 4 * size, protection: Self.readWrite, flags: Self.privateAnonymousFixed, file: nil, offset: 0)
    } catch { throw .outOfMemory(count: FrameCount(1)) }
    let byte: UInt8 = 0
    for page in 0..<4 {
      let outcome = unsafe withUnsafeBytes(of: byte) { unsafe users.store(process, address + UInt64(page) * size, $0) }
      guard case .done = outcome else { throw .outOfMemory(count: FrameCount(1)) }
    }
  }

  /// PROT_READ|PROT_WRITE and MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED.
  private static let readWrite: UInt64 = 0x3
  private static let privateAnonymousFixed: UInt64 = 0x32
}
