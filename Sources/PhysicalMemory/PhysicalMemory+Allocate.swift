public import MemoryTypes
public import Synchronization
internal import Topology

extension PhysicalMemory {
  /// Takes contiguous frames, which are the caller's until `free`; their references are 1, their mapping 0.
  ///
  /// - Throws: `invalidSize` (0 frames, or more than 2^20), `invalidAlignment`, `noSuchCPU`, `noSuchNode`, `noSuchZone`;
  ///   `outOfMemory` where no zone that may serve has as many frames in a row, after all CPU lists were drained.
  /// - Complexity: O(1) from a CPU's list (1, 2, 4, 8 or 512 frames aligned to their count at most); otherwise see `Zone.take`.
  @inlinable @inline(__always)
  public func allocate(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    // The common case, and nothing but it, compiled into the caller, where what is constant of the request falls away: from the CPU's own
    // list of its own node.
    let slot = request.localSlot
    if slot >= 0, let list = unsafe localLists[request.cpu.rawValue, request.highestZone] {
      let word = EntryWord(listBits: request.listBits(slot), cpu: request.cpu.rawValue)
      let lock = unsafe CPUList.lock(of: list)
      let frame =
        unsafe lock.pointee.tryLock() ? popLocked(list, word, slot) : popContended(list, word)
      if frame >= 0 { return FrameRange(start: FrameNumber(UInt64(truncatingIfNeeded: frame)), count: request.count) }
    }
    return try FrameRange(
      start: allocateAnywhere(
        request.count, request.alignment, request.cpu, request.node, request.onlyNode, request.zone, request.mobility,
        request.zeroed, request.owner), count: request.count)
  }

  /// `allocateAnywhere`, for those who have the request in registers and keep it there; the first frame.
  @usableFromInline @inline(never)
  func allocateAnywhere(
    _ count: FrameCount, _ alignment: FrameCount, _ cpu: CPUID, _ node: NodeID?, _ onlyNode: Bool, _ zone: ZoneKind?,
    _ mobility: Mobility, _ zeroed: Bool, _ owner: FrameOwner
  ) throws(MemoryError) -> FrameNumber {
    try allocateAnywhere(
      FrameRequest(
        count: count, alignment: alignment, cpu: cpu, node: node, onlyNode: onlyNode, zone: zone, mobility: mobility,
        zeroed: zeroed, owner: owner)
    ).start
  }

  /// `popLocked`, waiting for the list's lock.
  @usableFromInline @inline(never)
  func popContended(_ list: UnsafeMutablePointer<CPUList>, _ word: EntryWord) -> Int {
    unsafe CPUList.lock(of: list).pointee.lock()
    return unsafe popLocked(list, word, word.slot)
  }

  /// The first frame of a list that is locked, and unlocked behind; -1 where there is none.
  @inlinable @inline(__always)
  func popLocked(_ list: UnsafeMutablePointer<CPUList>, _ word: EntryWord, _ slot: Int) -> Int {
    let first = unsafe list.pointee.heads[unchecked: word.head]
    if first != 0 {
      unsafe pop(first, list, word, slot)
      unsafe list.pointee.countAllocation(slot, kind: word.kindIndex)
    }
    unsafe CPUList.lock(of: list).pointee.unlock()
    return Int(truncatingIfNeeded: first) &- 1
  }

  /// Makes the first frame of a list, plus 1, an allocation that is described by `word`. The list is locked.
  @inlinable @inline(__always)
  func pop(_ first: UInt64, _ list: UnsafeMutablePointer<CPUList>, _ word: EntryWord, _ slot: Int) {
    // SAFETY: listed frames are frames of the table, listed blocks begin blocks.
    let place = unsafe table.place(Int(truncatingIfNeeded: first &- 1), isBlock: slot == 4)
    let listed = unsafe EntryWord(bits: place.pointee.load(ordering: .relaxed))
    unsafe list.pointee.heads[unchecked: word.head] = listed.nextListed
    unsafe place.pointee.store(word.bits, ordering: .relaxed)
  }

  /// Takes single frames off the CPU's list of its own node, until that is empty or the buffer full; how many.
  func popMany(_ request: FrameRequest, _ buffer: UnsafeMutableBufferPointer<FrameNumber>) -> Int {
    guard request.localSlot == 0, let list = unsafe localLists[request.cpu.rawValue, request.highestZone] else {
      return 0
    }
    return unsafe popMany(list, request, buffer)
  }

  /// SAFETY: a list of the request's CPU, for what it asks.
  func popMany(
    _ list: UnsafeMutablePointer<CPUList>, _ request: FrameRequest, _ buffer: UnsafeMutableBufferPointer<FrameNumber>
  ) -> Int {
    let word = EntryWord(listBits: request.listBits(0), cpu: request.cpu.rawValue)
    unsafe CPUList.lock(of: list).pointee.lock()
    var taken = 0
    var first = unsafe list.pointee.heads[unchecked: word.head]
    while taken < buffer.count, first != 0 {
      // SAFETY: listed frames are frames of the table.
      let place = unsafe table.place(Int(truncatingIfNeeded: first &- 1), isBlock: false)
      let listed = unsafe EntryWord(bits: place.pointee.load(ordering: .relaxed))
      unsafe place.pointee.store(word.bits, ordering: .relaxed)
      unsafe buffer[taken] = FrameNumber(first &- 1)
      first = listed.nextListed
      taken &+= 1
    }
    unsafe list.pointee.heads[unchecked: word.head] = first
    unsafe list.pointee.countAllocation(0, kind: word.kindIndex, taken)
    unsafe CPUList.lock(of: list).pointee.unlock()
    return taken
  }

  /// `allocate`, all cases.
  @inline(never)
  private func allocateAnywhere(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    if watch != nil { return try allocateWatched(request) }
    return try allocateUnwatched(request)
  }

  /// `wakes`, `reclaims`: whether others are told that memory runs low, and asked for some.
  func allocateUnwatched(_ request: FrameRequest, wakes: Bool = true, reclaims: Bool = true) throws(MemoryError)
    -> FrameRange
  {
    let count = request.count.rawValue
    let alignment = request.alignment.rawValue
    guard count &- 1 < 1 << 20 else { throw .invalidSize(request.count) }
    guard alignment.nonzeroBitCount == 1, alignment < 1 << 52 else { throw .invalidAlignment(request.alignment) }
    let cpu = request.cpu.rawValue
    let home = router.home(request.cpu)
    guard home >= 0 else { throw .noSuchCPU(request.cpu) }
    var node = home
    if let wanted = request.node {
      guard let index = router.nodeIndex(wanted) else { throw .noSuchNode(wanted) }
      node = index
    }
    let changes = router.changes
    let candidates = try candidates(request, node)
    let slot = alignment <= count ? FrameRequest.slot(forCount: count) : -1
    guard let preferred = candidates.first else { throw .outOfMemory(count: request.count) }
    for mark in [Mark.low, Self.lowestMark(request)] {
      for index in candidates {
        if request.onlyNode, nodeIndex(ofZone: index) != node { break }
        let frame =
          slot >= 0
          ? takeFromList(index, cpu, slot, request, mark, home: home, preferred: preferred)
          : takeFromZone(index, request, mark, home: home, preferred: preferred)
        if frame >= 0 { return FrameRange(start: FrameNumber(UInt64(frame)), count: request.count) }
      }
      if mark == .low, wakes { reclaimer?.memoryIsLow(for: request) }
    }
    return try allocateShort(
      request, candidates, preferred: preferred, node: node, home: home, changes: changes, wakes: wakes,
      reclaims: reclaims)
  }

  /// Down to where a request may go when nothing else helps: page tables, without which nothing can be given back, to the last frame
  /// (Linux's ALLOC_NO_WATERMARKS).
  private static func lowestMark(_ request: FrameRequest) -> Mark { request.owner.kind == .pageTable ? .none : .min }

  /// The zones that may serve, best first.
  @inline(__always)
  private func candidates(_ request: FrameRequest, _ node: Int) throws(MemoryError) -> ZoneList {
    if let zone = request.zone {
      guard hasMemory(in: zone) else { throw .noSuchZone(zone, nil) }
      if request.onlyNode, !zones(of: description.nodes[node].id).contains(zone) {
        throw .noSuchZone(zone, description.nodes[node].id)
      }
    }
    return router.zoneList(node, request.highestZone)
  }

  /// When every zone has refused: the CPUs' lists are drained, and the zones asked once more; then as often as the reclaimer gives frames back.
  @inline(never)
  private func allocateShort(
    _ request: FrameRequest, _ candidates: ZoneList, preferred: Int, node: Int, home: Int, changes: UInt64, wakes: Bool,
    reclaims: Bool
  ) throws(MemoryError) -> FrameRange {
    let allowed = candidates.filter { !request.onlyNode || nodeIndex(ofZone: $0) == node }
    repeat {
      for zone in allowed { drainLists(of: zone) }
      // kswapd has been woken, and a boost ends when it has run.
      for zone in allowed { endBoost(of: zone) }
      for zone in allowed {
        let frame = takeFromZone(zone, request, Self.lowestMark(request), home: home, preferred: preferred)
        if frame >= 0 { return FrameRange(start: FrameNumber(UInt64(frame)), count: request.count) }
      }
    } while reclaims && reclaimer?.reclaim(for: request) == true
    // Zones that came or went meanwhile may have been missed.
    if router.changes != changes { return try allocateUnwatched(request, wakes: wakes, reclaims: reclaims) }
    unsafe zoneLocks[preferred].lock()
    unsafe zones[preferred].countFailure(Int(request.count.rawValue))
    unsafe zoneLocks[preferred].unlock()
    throw .outOfMemory(count: request.count)
  }

  // MARK: From a CPU's list

  /// The first frame of an allocation from the list; -1 where the zone has none to refill it with.
  @inline(__always)
  private func takeFromList(
    _ zone: Int, _ cpu: Int, _ slot: Int, _ request: FrameRequest, _ mark: Mark, home: Int, preferred: Int
  ) -> Int {
    let list = unsafe list(zone, cpu)
    let word = EntryWord(listBits: request.listBits(slot), cpu: cpu)
    unsafe CPUList.lock(of: list).pointee.lock()
    if unsafe list.pointee.heads[unchecked: word.head] == 0
      && !refill(list, zone, cpu, slot, request.mobility, mark, highest: request.highestZone)
    {
      unsafe CPUList.lock(of: list).pointee.unlock()
      return -1
    }
    let first = unsafe list.pointee.heads[unchecked: word.head]
    let frame = Int(truncatingIfNeeded: first &- 1)
    let old = table.word(frame)
    unsafe pop(first, list, word, word.slot)
    unsafe list.pointee.countAllocation(slot, kind: word.kindIndex)
    if zone != preferred || nodeIndex(ofZone: zone) != home {
      unsafe countDistant(list, zone, home: home, preferred: preferred)
    }
    unsafe CPUList.lock(of: list).pointee.unlock()
    if request.zeroed {
      zero(frame, Int(request.count.rawValue), headMayHoldData: old.bits & EntryWord.mayHoldData != 0)
    }
    return frame
  }

  /// Moves a batch from the zone to the empty list: false where the zone has nothing. The list is locked.
  @inline(never)
  private func refill(
    _ list: UnsafeMutablePointer<CPUList>, _ zone: Int, _ cpu: Int, _ slot: Int, _ mobility: Mobility,
    _ mark: Mark, highest: ZoneKind
  ) -> Bool {
    let frames = CPUList.frames(ofSlot: slot)
    let index = Int(mobility.rawValue)
    let head = CPUList.head(slot, index)
    unsafe zoneLocks[zone].lock()
    if unsafe list.pointee.registered == 0 {
      unsafe list.pointee.registered = 1
      unsafe list.pointee.setLimits(zones[zone].limits)
      unsafe zones[zone].register(cpu)
    }
    let wanted = unsafe slot == 4 ? list.pointee.nextGrant() : max(2, zones[zone].limits.batch >> slot)
    let most = unsafe zones[zone].most(mark, highest: highest) / frames
    var left = min(wanted, most)
    // The last of the list: what is taken is handed out in the order in which it was found.
    var last = -1
    while left > 0, slot != 4 || last < 0 || isWorthTaking(zone, left, mobility: index),
      let run = takeForList(zone, slot, left, mobility: index)
    {
      if slot != 4, !store.touched.contains(run.lowerBound >> 9) { table.commit(block: run.lowerBound >> 9) }
      for frame in stride(from: run.lowerBound, to: run.upperBound, by: frames) {
        let next = frame &+ frames
        table.list(
          frame, slot: slot, mobility: index,
          next: next < run.upperBound ? UInt64(truncatingIfNeeded: next &+ 1) : 0)
        left &-= 1
      }
      let first = UInt64(run.lowerBound + 1)
      if last < 0 { unsafe list.pointee.heads[head] = first } else { table.chain(last, to: first, slot: slot) }
      last = run.upperBound - frames
      if slot == 4 {
        store.touched.insertWhole(run.lowerBound >> 9..<run.upperBound >> 9)
      } else {
        store.touched.insert(run.lowerBound >> 9)
      }
      _ = unsafe list.pointee.addHeld(slot, run.count)
    }
    unsafe zoneLocks[zone].unlock()
    return last >= 0
  }

  /// Whether blocks can be had for a list that has some already without splitting a chunk for it: one that is split for a remainder would
  /// leave the next remainder, and so on. The zone is locked.
  @inline(__always)
  private func isWorthTaking(_ zone: Int, _ most: Int, mobility: Int) -> Bool {
    let mask = unsafe zones[zone].buddyMask[mobility]
    return mask != 0 && 1 << mask.trailingZeroBitCount <= most
  }

  /// Up to `wanted` blocks of a slot's size, one behind the other. The zone is locked.
  @inline(__always)
  private func takeForList(_ zone: Int, _ slot: Int, _ wanted: Int, mobility: Int) -> Range<Int>? {
    switch slot {
    case 0: return unsafe zones[zone].takeSingles(wanted, mobility: mobility)
    case 4: return unsafe zones[zone].takeBlocks(wanted, mobility: mobility)
    default:
      let frames = CPUList.frames(ofSlot: slot)
      return unsafe zones[zone].take(frames, alignment: frames, mobility: mobility).map { $0..<$0 + frames }
    }
  }

  /// Counts an allocation that another node should have served, or that is not of its CPU's node (`zone_statistics`).
  @inline(never)
  private func countDistant(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, home: Int, preferred: Int) {
    let node = nodeIndex(ofZone: zone)
    if node != nodeIndex(ofZone: preferred) {
      unsafe list.pointee.numaMisses &+= 1
      unsafe zones[preferred].foreign.add(1, ordering: .relaxed)
    }
    if node != home { unsafe list.pointee.numaOthers &+= 1 }
  }

  // MARK: From a zone

  /// The first frame of an allocation past the lists; -1 where the zone has none.
  private func takeFromZone(_ zone: Int, _ request: FrameRequest, _ mark: Mark, home: Int, preferred: Int) -> Int {
    let count = Int(request.count.rawValue)
    unsafe zoneLocks[zone].lock()
    guard unsafe zones[zone].mayGive(count, mark, highest: request.highestZone),
      let frame = unsafe zones[zone].take(
        count, alignment: Int(request.alignment.rawValue), mobility: Int(request.mobility.rawValue))
    else {
      unsafe zoneLocks[zone].unlock()
      return -1
    }
    let old = table.word(frame)
    table.setWord(
      frame, EntryWord(zoneAllocation: count, mobility: request.mobility, owner: request.owner), count: count)
    unsafe zones[zone].countAllocation(count, kind: Int(request.owner.kind.rawValue))
    let node = nodeIndex(ofZone: zone)
    if node == nodeIndex(ofZone: preferred) {
      unsafe zones[zone].numa.hit &+= 1
    } else {
      unsafe zones[zone].numa.miss &+= 1
      unsafe zones[preferred].foreign.add(1, ordering: .relaxed)
    }
    if node == home { unsafe zones[zone].numa.local &+= 1 } else { unsafe zones[zone].numa.other &+= 1 }
    unsafe zoneLocks[zone].unlock()
    if request.zeroed { zero(frame, count, headMayHoldData: old.bits & EntryWord.mayHoldData != 0) }
    let blocks = frame >> 9...(frame + count - 1) >> 9
    if count >= 512 {
      store.touched.insertWhole(Range(blocks))
    } else {
      for block in blocks { store.touched.insert(block) }
    }
    return frame
  }

  /// Makes frames that have just been allocated read zero, touching only those that may hold data.
  @inline(__always)
  func zero(_ frame: Int, _ count: Int, headMayHoldData: Bool) {
    if count > 1 { return zeroMany(frame, count, headMayHoldData: headMayHoldData) }
    if store.touched.contains(frame >> 9), headMayHoldData || store.touched.isWhole(frame >> 9) {
      zeroBytes(frame..<frame + 1)
    }
  }

  private func zeroMany(_ frame: Int, _ count: Int, headMayHoldData: Bool) {
    var next = frame
    let end = frame + count
    // A run of frames that may hold data, zeroed at once.
    var dirty = frame..<frame
    while next < end {
      let blockEnd = min(end, (next >> 9 + 1) << 9)
      if !store.touched.contains(next >> 9) {
        next = blockEnd
      } else if store.touched.isWhole(next >> 9) {
        extend(&dirty, next..<blockEnd)
        next = blockEnd
      } else {
        let holds = next == frame ? headMayHoldData : table.word(next).bits & EntryWord.mayHoldData != 0
        if holds { extend(&dirty, next..<next + 1) }
        next += 1
      }
    }
    zeroBytes(dirty)
  }

  private func extend(_ dirty: inout Range<Int>, _ more: Range<Int>) {
    if dirty.upperBound == more.lowerBound {
      dirty = dirty.lowerBound..<more.upperBound
    } else {
      zeroBytes(dirty)
      dirty = more
    }
  }

  private func zeroBytes(_ frames: Range<Int>) {
    if !frames.isEmpty { store.zero(frames.lowerBound << Int(frameSize.shift), frames.count << Int(frameSize.shift)) }
  }
}
