internal import Glibc
public import MemoryTypes

/// Looks on while frames are allocated and given back: measures what a sample of it takes on the host, and keeps who asked for what where
/// that is wanted. Memory without one is not slowed down by it.
///
/// Guarded by whoever sees to it that the memory is used by one thread at a time: a machine's lock.
public final class AllocationWatch: @unchecked Sendable {
  /// One in this many allocations, and one in as many frees, is timed; no clock is read for the others.
  public static let sampling: UInt64 = 64

  /// The ways to frames.
  public enum Path: Int, CaseIterable, Sendable {
    /// A CPU's list, refilled from its zone where it was empty.
    case list
    case bitmap
    case buddy
  }
  public enum Operation: Int, CaseIterable, Sendable { case allocate, free }

  /// Who asked for what; nil where that is not kept.
  public let owners: PageOwners?
  private var latencies = [LatencyHistogram](
    repeating: LatencyHistogram(), count: Path.allCases.count * Operation.allCases.count)

  init(owners: PageOwners?) { self.owners = owners }

  /// What the sampled operations took: of those that succeeded.
  public func latencies(_ path: Path, _ operation: Operation) -> LatencyHistogram {
    latencies[path.rawValue * Operation.allCases.count + operation.rawValue]
  }

  func reset() {
    for index in latencies.indices { latencies[index] = LatencyHistogram() }
    owners?.reset()
  }

  fileprivate func add(_ nanoseconds: UInt64, _ path: Path, _ operation: Operation) {
    latencies[path.rawValue * Operation.allCases.count + operation.rawValue].add(nanoseconds)
  }
}

/// How often something took how long, in nanoseconds of the host.
public struct LatencyHistogram: Equatable, Sendable {
  /// Index i: less than `limits[i]`; the last: all the rest.
  public private(set) var counts = InlineArray<12, UInt64>(repeating: 0)
  public private(set) var samples: UInt64 = 0
  public private(set) var total: UInt64 = 0

  /// 32 ns to 32.8 us, doubling.
  public static let limits: [UInt64] = (5...15).map { 1 << $0 }

  mutating func add(_ nanoseconds: UInt64) {
    let log = 64 - nanoseconds.leadingZeroBitCount
    counts[min(max(log - 5, 0), counts.count - 1)] += 1
    samples += 1
    total += nanoseconds
  }

  public static func == (a: Self, b: Self) -> Bool {
    a.samples == b.samples && a.total == b.total && a.counts.indices.allSatisfy { a.counts[$0] == b.counts[$0] }
  }
}

extension PhysicalMemory {
  /// `allocate` where somebody looks on.
  @inline(never)
  func allocateWatched(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    watched.allocations &+= 1
    if watched.allocations % AllocationWatch.sampling == 1 { return try allocateSampled(request) }
    let range = try allocateDirectly(request)
    if keepsOwners { watch!.owners!.allocated(range, request) }
    return range
  }

  /// `allocate` of one frame, from wherever and of no zone, where that takes no further look: from the list of the CPU's own node. Nil, with
  /// nothing done, where the list has none, where this allocation is to be timed or remembered, and where nobody looks on: threads may then
  /// be many.
  @inlinable @inline(__always)
  public func allocateFromList(_ request: FrameRequest) -> FrameNumber? {
    assert(request.localListSlot == 0)
    return allocateFromList(
      request.cpu, request.highestZone, bits: request.listBits(0), zeroed: request.zeroed)
  }

  /// The same, of what a request comes to.
  @usableFromInline
  func allocateFromList(_ cpu: CPUID, _ highestZone: ZoneKind, bits: UInt64, zeroed: Bool) -> FrameNumber? {
    if watch == nil || keepsOwners || watched.allocations % AllocationWatch.sampling == 0 { return nil }
    // No other thread can hold the list's lock.
    guard let list = unsafe router.localLists[cpu.rawValue, highestZone] else { return nil }
    let word = EntryWord(listBits: bits, cpu: cpu.rawValue)
    let first = unsafe list.pointee.heads[unchecked: word.head]
    if first == 0 { return nil }
    let frame = Int(truncatingIfNeeded: first &- 1)
    let mayHoldData = table.word(frame).bits & EntryWord.mayHoldData
    unsafe pop(first, list, word, 0)
    unsafe list.pointee.countAllocation(0, kind: word.kindIndex)
    watched.allocations &+= 1
    if zeroed { zero(frame, 1, headMayHoldData: mayHoldData != 0) }
    return FrameNumber(first &- 1)
  }

  /// Likewise many frames, one after the other, to the end of the buffer, of the list, or before the next that is to be timed; how many.
  public func allocateFromList(
    _ request: FrameRequest, into buffer: UnsafeMutableBufferPointer<FrameNumber>
  ) -> Int {
    assert(request.localSlot == 0)
    let passed = watched.allocations % AllocationWatch.sampling
    if watch == nil || keepsOwners || passed == 0 { return 0 }
    guard let list = unsafe router.localLists[request.cpu.rawValue, request.highestZone] else { return 0 }
    let count = min(buffer.count, Int(AllocationWatch.sampling - passed))
    let taken = unsafe popMany(list, request, UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
    watched.allocations += UInt64(taken)
    return taken
  }

  @inline(never)
  private func allocateSampled(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    let start = Self.now()
    let range = try allocateDirectly(request)
    let end = Self.now()
    watch!.add(end - start, path(of: Int(range.start.rawValue)), .allocate)
    watch!.owners?.allocated(range, request)
    return range
  }

  /// `free` where somebody looks on.
  @inline(never)
  func freeWatched(_ range: FrameRange, _ cpu: CPUID) throws(MemoryError) {
    watched.frees &+= 1
    if watched.frees % AllocationWatch.sampling == 1, range.start.rawValue < UInt64(table.limit) {
      let path = path(of: Int(range.start.rawValue))
      let start = Self.now()
      try freeDirectly(range, cpu)
      watch!.add(Self.now() - start, path, .free)
    } else {
      try freeDirectly(range, cpu)
    }
    if keepsOwners { watch!.owners!.freed(range) }
  }

  /// The way that `allocate` takes where nobody looks on.
  @inline(__always)
  private func allocateDirectly(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    let slot = request.localListSlot
    if slot >= 0, let list = unsafe router.localLists[request.cpu.rawValue, request.highestZone] {
      unsafe CPUList.lock(of: list).pointee.lock()
      let word = EntryWord(listBits: request.listBits(slot), cpu: request.cpu.rawValue)
      let first = unsafe Int(truncatingIfNeeded: list.pointee.heads[unchecked: word.head])
      let mayHoldData = first != 0 && table.word(first - 1).bits & EntryWord.mayHoldData != 0
      let frame = unsafe popLocked(list, word, slot)
      if frame >= 0 {
        if request.zeroed { zero(frame, Int(request.count.rawValue), headMayHoldData: mayHoldData) }
        return FrameRange(start: FrameNumber(UInt64(frame)), count: request.count)
      }
    }
    return try allocateUnwatched(request)
  }

  /// The way that `free` takes where nobody looks on.
  @inline(__always)
  private func freeDirectly(_ range: FrameRange, _ cpu: CPUID) throws(MemoryError) {
    let slot = FrameRequest.slot(forCount: range.count.rawValue)
    if slot >= 0, range.start.rawValue < UInt64(table.limit), slot != 4 || range.start.rawValue & 511 == 0,
      UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: lists.cpuLimit),
      pushLocal(Int(range.start.rawValue), slot, cpu.rawValue)
    {
      return
    }
    try freeUnwatched(range, cpu)
  }

  /// Which way an allocation was made, and will be given back.
  private func path(of frame: Int) -> AllocationWatch.Path {
    let word = table.word(frame)
    if word.state == .allocatedFromList { return .list }
    let zone = zone(of: frame)
    return unsafe zone >= 0 && word.count >= zones[zone].threshold ? .buddy : .bitmap
  }

  /// Nanoseconds of the host, never 0.
  private static func now() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec) | 1
  }
}
