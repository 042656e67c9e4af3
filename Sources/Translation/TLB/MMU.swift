public import MemoryTypes

#if canImport(Glibc)
  internal import Glibc
#endif

/// Every CPU's translation hardware, and what keeps it true when page tables change.
///
/// An access on a CPU looks in its first-level TLB, then in the second, then walks the tables of the space that it has
/// loaded. Page tables that change hand out a `FlushObligation`, which is discharged here. CPUs that have a space loaded
/// are asked to flush; those that had it before find out by its generation when they load it again, as on Linux. Not
/// thread-safe: the machine's history has one step at a time.
@safe public final class MMU {
  public let cpuCount: Int
  public let geometry: TLBGeometry
  private let reference: FormatReference
  var format: PageFormat {
    @inline(__always) unsafeAddress { unsafe reference.pointer }
  }
  let frames: TableFrames
  /// Host address of physical address 0.
  let memory: UnsafeMutableRawPointer
  let kernel: PageTable
  /// SAFETY: one mapping each, made in init and unmapped in deinit; committed on first use.
  let cpus: UnsafeMutablePointer<CPUState>
  @usableFromInline let fronts: UnsafeMutablePointer<CPUFront>
  let contexts: UnsafeMutablePointer<Context>
  /// `maskWords` words a context: the CPUs that have it loaded.
  let masks: UnsafeMutablePointer<UInt64>
  let maskWords: Int
  /// The CPUs that run a kernel thread on a borrowed space: not to be disturbed for changes of it.
  @usableFromInline let lazies: UnsafeMutablePointer<UInt64>
  /// The machine's counters, one of each.
  let totals: UnsafeMutablePointer<ShootdownCounters>
  private let caches: UnsafeMutableRawPointer
  private let cacheBytes: Int
  private(set) var contextCount = 1
  private var freeContext = -1
  private var lastSerial: UInt64 = 1
  /// As many spaces as Linux has pids (PID_MAX_LIMIT).
  static let contextLimit = 4 << 20

  // What every access reads, beside the CPU's own state.
  @usableFromInline let pageShift: UInt64
  /// log2 of what a table of base pages covers.
  let tableShift: UInt64
  @usableFromInline let lastUserAddress: UInt64
  let leafMask: UInt64
  let addressShift: UInt64
  let entryMask: UInt64
  /// Whether flushing a page drops every cached table entry: INVLPG does (SDM 4.10.4.1), the others' instructions need not.
  let dropsWalks: Bool
  /// Whether `CPUFront` knows the caches. Tests take it back, so that what is done for such caches in ways of its own is done in the general
  /// way.
  var hasUsualCaches: Bool
  /// SAFETY: five, made in init and freed in deinit; never written in between.
  let walkLevels: UnsafeMutablePointer<WalkLevel>
  /// Words from a CPU's cached table entries of one level to those of the next.
  let walkStride: Int

  /// Above so many pages a range is flushed as a whole: Linux's tunable of the same name.
  public var singlePageFlushCeiling: UInt64 {
    get { unsafe shared.pointee.ceiling }
    set { unsafe shared.pointee.ceiling = newValue }
  }
  /// What a request to one other CPU costs on the machine's clock, in nanoseconds (`tlb_cost_ns`; the seed's 4.2 µs).
  public var requestCost: UInt64 {
    get { unsafe shared.pointee.cost }
    set { unsafe shared.pointee.cost = newValue }
  }
  @usableFromInline struct Shared {
    /// Counts flushes that a CPU which could use the space has not been told of: they are made up for before its next access.
    @usableFromInline var epoch: UInt64 = 0
    var ceiling: UInt64 = 33
    var cost: UInt64 = 4200
  }
  @usableFromInline let shared: UnsafeMutablePointer<Shared>

  /// Throws `hostRefusedMapping`. Traps where the geometry has sets that are no power of two.
  public init(
    cpuCount: Int, kernel: PageTable, geometry: TLBGeometry = .standard
  ) throws(MemoryError) {
    precondition(cpuCount > 0 && geometry.isValid && kernel.isKernel)
    self.cpuCount = cpuCount
    self.geometry = geometry
    self.kernel = kernel
    reference = kernel.reference
    frames = kernel.frames
    unsafe self.memory = unsafe kernel.frames.base
    hasUsualCaches = geometry.first(level: 0).ways == 4 && geometry.second.ways == 8
    let format = kernel.format
    pageShift = format.pageShift
    tableShift = format.shifts[1]
    lastUserAddress = format.layout.user.last.rawValue
    leafMask = format.leafAddressMasks[0]
    addressShift = format.addressShift
    entryMask = format.indexMasks[0]
    if case .cr3 = format.registers { dropsWalks = true } else { dropsWalks = false }
    unsafe walkLevels = .allocate(capacity: 5)
    for level in 0..<5 { unsafe (walkLevels + level).initialize(to: WalkLevel(format, level: level)) }
    maskWords = (cpuCount + 63) / 64
    let walk = TLBGeometry.Cache(sets: geometry.walkEntries, ways: 1)
    let each =
      (0..<5).reduce(0) { $0 + TLBCache.bytes(geometry.first(level: $1)) } + TLBCache.bytes(geometry.second) + 5
      * TLBCache.bytes(walk)
    walkStride = TLBCache.bytes(walk) / 8
    // behind all caches an empty set
    cacheBytes = each * cpuCount + 128
    let limit = Self.contextLimit
    unsafe caches = unsafe try Self.reserve(cacheBytes)
    unsafe cpus = unsafe try Self.reserve(cpuCount * MemoryLayout<CPUState>.stride).bindMemory(
      to: CPUState.self, capacity: cpuCount)
    unsafe fronts = unsafe try Self.reserve(cpuCount * MemoryLayout<CPUFront>.stride).bindMemory(
      to: CPUFront.self, capacity: cpuCount)
    unsafe contexts = unsafe try Self.reserve(limit * MemoryLayout<Context>.stride).bindMemory(
      to: Context.self, capacity: limit)
    unsafe masks = unsafe try Self.reserve(limit * maskWords * 8).bindMemory(
      to: UInt64.self, capacity: limit * maskWords)
    unsafe lazies = .allocate(capacity: maskWords)
    unsafe lazies.initialize(repeating: 0, count: maskWords)
    unsafe totals = .allocate(capacity: 1)
    unsafe totals.initialize(to: ShootdownCounters())
    unsafe shared = .allocate(capacity: 1)
    unsafe shared.initialize(to: Shared())
    var memory = unsafe caches
    func next(_ geometry: TLBGeometry.Cache) -> TLBCache {
      defer { unsafe memory += TLBCache.bytes(geometry) }
      return unsafe TLBCache(geometry, at: memory)
    }
    for cpu in 0..<cpuCount {
      let first: InlineArray<5, TLBCache> = InlineArray { next(geometry.first(level: $0)) }
      let second = next(geometry.second)
      let walks: InlineArray<5, TLBCache> = InlineArray { _ in next(walk) }
      unsafe (fronts + cpu).initialize(
        to: CPUFront(
          first: first[0], second: second, walks: walks[1],
          empty: (caches + each * cpuCount).assumingMemoryBound(to: UInt64.self)))
      unsafe (cpus + cpu).initialize(
        to: CPUState(front: fronts + cpu, first: first, second: second, walks: walks))
    }
    unsafe contexts.initialize(to: Context(serial: 1, generation: 0, table: .passUnretained(kernel), nextFree: -1))
    precondition(kernel.context == -1, "the kernel's table has an MMU already")
    kernel.context = 0
  }

  deinit {
    kernel.context = -1
    // SAFETY: the mappings and the allocation that init made; nobody can use them without self.
    unsafe munmap(caches, cacheBytes)
    unsafe munmap(fronts, cpuCount * MemoryLayout<CPUFront>.stride)
    unsafe munmap(cpus, cpuCount * MemoryLayout<CPUState>.stride)
    unsafe munmap(contexts, Self.contextLimit * MemoryLayout<Context>.stride)
    unsafe munmap(masks, Self.contextLimit * maskWords * 8)
    unsafe walkLevels.deallocate()
    unsafe lazies.deallocate()
    unsafe totals.deallocate()
    unsafe shared.deallocate()
  }

  /// Zeroes that are committed on first use.
  private static func reserve(_ bytes: Int) throws(MemoryError) -> UnsafeMutableRawPointer {
    // SAFETY: a fresh private mapping; its failure is checked before use.
    let mapping = unsafe mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
      throw .hostRefusedMapping(ByteCount(UInt64(bytes)), errno: errno)
    }
    return unsafe mapping
  }

  /// Makes a space known, so that CPUs can load it. Throws `outOfMemory` beyond 4 Mi spaces. Traps where it is known.
  public func attach(_ table: PageTable) throws(MemoryError) {
    precondition(table.context == -1 && table.kernel === kernel, "a table of another MMU")
    var index = freeContext
    if index >= 0 {
      freeContext = unsafe contexts[index].nextFree
    } else {
      guard contextCount < Self.contextLimit else { throw .outOfMemory(count: FrameCount(1)) }
      index = contextCount
      contextCount += 1
    }
    lastSerial += 1
    unsafe contexts[index] = unsafe Context(
      serial: lastSerial, generation: 0, table: .passUnretained(table), nextFree: -1)
    table.context = index
  }

  /// Ends a space: CPUs that have it loaded go over to the kernel's table, and nothing of it can be found any more. The tables that it still
  /// has go back on `cpu` when it goes.
  ///
  /// - Complexity: O(CPUs).
  public func detach(_ table: PageTable, from cpu: CPUID = CPUID(0)) {
    table.cpu = cpu
    let context = table.context
    precondition(context > 0, "the MMU does not know this table")
    let serial = unsafe contexts[context].serial
    for cpu in 0..<cpuCount {
      let state = unsafe cpus + cpu
      if unsafe state.pointee.context == context { load(context: 0, on: cpu) }
      for slot in 0..<CPUState.slotCount where unsafe state.pointee.slots[slot].serial == serial {
        unsafe state.pointee.flush(slot: slot)
        unsafe state.pointee.slots[slot].serial = 0
      }
    }
    unsafe contexts[context] = Context(serial: 0, generation: 0, table: nil, nextFree: freeContext)
    freeContext = context
    table.context = -1
  }

  public func counters(of cpu: CPUID) throws(MemoryError) -> TLBCounters {
    try check(cpu)
    let state = unsafe cpus + cpu.rawValue
    var counters = unsafe state.pointee.counters
    let front = unsafe state.pointee.front
    counters.firstHits[0] += unsafe front.pointee.hits
    counters.secondHits[0] += unsafe front.pointee.secondHits
    let quick = unsafe front.pointee.quickWalks
    counters.walks += quick
    counters.shortWalks += quick
    counters.references[0] += quick
    let requests = unsafe front.pointee.requests
    counters.received += requests
    counters.acknowledged += requests
    counters.pagesFlushed += unsafe requests + front.pointee.ownPages
    return counters
  }

  /// - Complexity: O(CPUs).
  public var shootdowns: ShootdownCounters {
    var counters = unsafe totals.pointee
    // a page that one CPU had to forget for itself is a shootdown that asked no other
    var ownPages: UInt64 = 0
    for cpu in 0..<cpuCount { unsafe ownPages += fronts[cpu].ownPages }
    counters.single += ownPages
    counters.localPages += ownPages
    counters.avoided += ownPages * UInt64(cpuCount - 1)
    return counters
  }

  /// `ShootdownCounters.nanoseconds`.
  public var shootdownCost: UInt64 { unsafe totals.pointee.nanoseconds }

  func check(_ cpu: CPUID) throws(MemoryError) {
    guard cpu.rawValue >= 0, cpu.rawValue < cpuCount else { throw .noSuchCPU(cpu) }
  }
}
