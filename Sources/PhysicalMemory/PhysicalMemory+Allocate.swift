public import MemoryTypes
internal import Synchronization
internal import Topology

extension PhysicalMemory {
  /// Takes contiguous frames, which are the caller's until `free`; their references are 1, their mapping 0.
  ///
  /// - Throws: `invalidSize` (0 frames, or more than 2^20), `invalidAlignment`, `noSuchCPU`, `noSuchNode`, `noSuchZone`;
  ///   `outOfMemory` where no zone that may serve has as many frames in a row, after all CPU lists were drained.
  /// - Complexity: O(1) from a CPU's list (1, 2, 4, 8 or 512 frames aligned to their count at most); otherwise see `Zone.take`.
  public func allocate(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
    // The common case, and nothing but it: from the CPU's own list of its own node.
    let slot = CPUList.slot(forCount: request.count.rawValue)
    let alignment = request.alignment.rawValue
    if slot >= 0, alignment & (alignment &- 1) == 0, alignment &- 1 < request.count.rawValue, request.node == nil,
      !request.zeroed, router.home(request.cpu) >= 0
    {
      let zone = router.localZone(request.cpu, Self.highestZone(request))
      if zone != Router.none, request.zone == nil {
        let frame = popLocal(Int(zone), slot, request)
        if frame >= 0 { return FrameRange(start: FrameNumber(UInt64(truncatingIfNeeded: frame)), count: request.count) }
      }
    }
    return try allocateAnywhere(request)
  }

  /// The first frame of the CPU's list, -1 where that is empty.
  @inline(__always)
  private func popLocal(_ zone: Int, _ slot: Int, _ request: FrameRequest) -> Int {
    let list = unsafe list(zone, request.cpu.rawValue)
    let head = slot &* 3 &+ Int(request.mobility.rawValue)
    unsafe CPUList.lock(of: list).pointee.lock()
    let first = unsafe list.pointee.heads[unchecked: head]
    if first == 0 {
      unsafe CPUList.lock(of: list).pointee.unlock()
      return -1
    }
    let frame = Int(truncatingIfNeeded: first &- 1)
    unsafe list.pointee.heads[unchecked: head] = handOut(frame, slot, request)
    unsafe list.pointee.countAllocation(slot, kind: Int(request.owner.kind.rawValue))
    unsafe CPUList.lock(of: list).pointee.unlock()
    return frame
  }

  /// Takes single frames off the CPU's list of its own node, until that is empty or the buffer full; how many.
  func popMany(_ request: FrameRequest, _ buffer: UnsafeMutableBufferPointer<FrameNumber>) -> Int {
    guard request.node == nil, request.zone == nil, !request.zeroed, router.home(request.cpu) >= 0 else { return 0 }
    let zone = router.localZone(request.cpu, Self.highestZone(request))
    if zone == Router.none { return 0 }
    let list = unsafe list(Int(zone), request.cpu.rawValue)
    let head = Int(request.mobility.rawValue)
    unsafe CPUList.lock(of: list).pointee.lock()
    var taken = 0
    while taken < buffer.count {
      let first = unsafe list.pointee.heads[unchecked: head]
      if first == 0 { break }
      unsafe list.pointee.heads[unchecked: head] = handOut(Int(truncatingIfNeeded: first &- 1), 0, request)
      unsafe list.pointee.countAllocation(0, kind: Int(request.owner.kind.rawValue))
      unsafe buffer[taken] = FrameNumber(first &- 1)
      taken += 1
    }
    unsafe CPUList.lock(of: list).pointee.unlock()
    return taken
  }

  /// Turns a listed frame into an allocation; the frame behind it in the list, plus 1. The list is locked.
  @inline(__always)
  private func handOut(_ frame: Int, _ slot: Int, _ request: FrameRequest) -> UInt64 {
    let word = EntryWord(
      listState: .allocatedFromList, cpu: request.cpu.rawValue, slot: slot, mobility: UInt64(request.mobility.rawValue),
      owner: request.owner)
    if slot == 4 {
      let next = table.blockWord(frame).nextListed
      table.setBlockWord(frame, word)
      return next
    }
    let next = table.link(frame)
    table.setWord(frame, word)
    table.setLink(frame, 0)
    return next
  }

  /// `allocate`, all cases.
  @inline(never)
  private func allocateAnywhere(_ request: FrameRequest) throws(MemoryError) -> FrameRange {
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
    let slot = alignment <= count ? CPUList.slot(forCount: count) : -1
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
      if mark == .low, let reclaimer {
        unsafe reclaimer.memoryIsLow(node: zones[preferred].node, zone: zones[preferred].kind)
      }
    }
    return try allocateShort(request, candidates, preferred: preferred, node: node, home: home, changes: changes)
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
    return router.zoneList(node, Self.highestZone(request))
  }

  /// The highest kind of zone that may serve: what the request says, else what suits it (Linux's GFP_HIGHUSER_MOVABLE, GFP_HIGHUSER,
  /// GFP_KERNEL).
  @inline(__always)
  private static func highestZone(_ request: FrameRequest) -> ZoneKind {
    if let zone = request.zone { return zone }
    if request.mobility == .movable { return .movable }
    return request.owner.kind == .anonymous ? .high : .normal
  }

  /// When every zone has refused: the CPUs' lists are drained, and the zones asked once more; then as often as the reclaimer gives frames back.
  @inline(never)
  private func allocateShort(
    _ request: FrameRequest, _ candidates: ZoneList, preferred: Int, node: Int, home: Int, changes: UInt64
  ) throws(MemoryError) -> FrameRange {
    let allowed = candidates.filter { !request.onlyNode || nodeIndex(ofZone: $0) == node }
    repeat {
      for zone in allowed { drainLists(of: zone) }
      for zone in allowed {
        let frame = takeFromZone(zone, request, Self.lowestMark(request), home: home, preferred: preferred)
        if frame >= 0 { return FrameRange(start: FrameNumber(UInt64(frame)), count: request.count) }
      }
    } while reclaimer?.reclaim(for: request) == true
    // Zones that came or went meanwhile may have been missed.
    if router.changes != changes { return try allocateAnywhere(request) }
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
    let head = slot * 3 + Int(request.mobility.rawValue)
    unsafe CPUList.lock(of: list).pointee.lock()
    if unsafe list.pointee.heads[unchecked: head] == 0
      && !refill(list, zone, cpu, slot, request.mobility, mark, highest: Self.highestZone(request))
    {
      unsafe CPUList.lock(of: list).pointee.unlock()
      return -1
    }
    let frame = unsafe Int(truncatingIfNeeded: list.pointee.heads[unchecked: head] &- 1)
    let old = table.word(frame)
    unsafe list.pointee.heads[unchecked: head] = handOut(frame, slot, request)
    unsafe list.pointee.countAllocation(slot, kind: Int(request.owner.kind.rawValue))
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
    let order = CPUList.order(ofSlot: slot)
    let head = slot * 3 + Int(mobility.rawValue)
    var frames = InlineArray<64, Int>(repeating: 0)
    var taken = 0
    unsafe zoneLocks[zone].lock()
    let wanted = unsafe slot == 4 ? 1 : max(2, zones[zone].limits.batch >> order)
    while unsafe taken < min(wanted, 64) && zones[zone].mayGive(1 << order, mark, highest: highest),
      let frame = unsafe zones[zone].take(1 << order, alignment: 1 << order, mobility: Int(mobility.rawValue))
    {
      frames[taken] = frame
      taken += 1
    }
    if unsafe list.pointee.registered == 0 {
      unsafe list.pointee.registered = 1
      unsafe list.pointee.setLimits(zones[zone].limits)
      unsafe zones[zone].register(cpu)
    }
    // The list takes them over before the zone is seen without them.
    for index in stride(from: taken - 1, through: 0, by: -1) {
      let frame = frames[index]
      let next = unsafe list.pointee.heads[head]
      if slot == 4 {
        store.touched.insertWhole(frame >> 9)
        table.setBlockWord(frame, EntryWord(listedBlock: cpu, mobility: UInt64(mobility.rawValue), next: next))
      } else {
        store.touched.insert(frame >> 9)
        var word = EntryWord(
          listState: .listed, cpu: cpu, slot: slot, mobility: UInt64(mobility.rawValue), owner: .kernel)
        word.bits |= table.word(frame).bits & EntryWord.mayHoldData
        table.setWord(frame, word)
        table.setLink(frame, next)
      }
      unsafe list.pointee.heads[head] = UInt64(frame + 1)
    }
    unsafe list.pointee.addHeld(slot, taken << order)
    unsafe zoneLocks[zone].unlock()
    return taken > 0
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
    guard unsafe zones[zone].mayGive(count, mark, highest: Self.highestZone(request)),
      let frame = unsafe zones[zone].take(
        count, alignment: Int(request.alignment.rawValue), mobility: Int(request.mobility.rawValue))
    else {
      unsafe zoneLocks[zone].unlock()
      return -1
    }
    let old = table.word(frame)
    table.setWord(
      frame, EntryWord(zoneAllocation: count, mobility: request.mobility, owner: request.owner), count: count)
    if count < 512 { table.setLink(frame, 0) }
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
      for block in blocks { store.touched.insertWhole(block) }
    } else {
      for block in blocks { store.touched.insert(block) }
    }
    return frame
  }

  /// Makes frames that have just been allocated read zero, touching only those that may hold data.
  private func zero(_ frame: Int, _ count: Int, headMayHoldData: Bool) {
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
