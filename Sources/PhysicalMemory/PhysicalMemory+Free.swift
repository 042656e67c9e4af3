public import MemoryTypes
public import Synchronization

extension PhysicalMemory {
  /// Gives an allocation back: exactly the range that `allocate` returned, by way of `cpu`'s lists.
  ///
  /// - Throws: `noSuchCPU`; `noSuchFrame`, `reservedFrame`, `notAllocated` (a double free), `notAllocationStart`, `wrongAllocationSize`;
  ///   `frameInUse` where others hold references to it still. Nothing is changed then.
  /// - Complexity: O(1) for 1, 2, 4, 8 and 512 frames; otherwise see `Zone.give`.
  @inlinable @inline(__always)
  public func free(_ range: FrameRange, cpu: CPUID) throws(MemoryError) {
    // The common case, and nothing but it, compiled into the caller: back to the list that gave it.
    let slot = FrameRequest.slot(forCount: range.count.rawValue)
    if slot >= 0, range.start.rawValue < localLimit,
      slot != 4 || range.start.rawValue & 511 == 0,
      UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: lists.cpuLimit),
      pushLocal(Int(truncatingIfNeeded: range.start.rawValue), slot, cpu.rawValue)
    {
      return
    }
    try freeAnywhere(range, cpu)
  }

  /// Puts an allocation back into the list that gave it; false, and nothing done, where that is not the whole story. The frame and the CPU
  /// are below their limits.
  @inlinable @inline(__always)
  func pushLocal(_ frame: Int, _ slot: Int, _ cpu: Int) -> Bool {
    let place = unsafe table.place(frame, isBlock: slot == 4)
    let word = unsafe EntryWord(bits: place.pointee.load(ordering: .relaxed))
    let isolations = isolations.load(ordering: .acquiring)
    if !word.isUnlinked(slot: slot, cpu: cpu) || isolations & 0xFFFF != 0 { return false }
    let zone = zoneOfSection(of: frame)
    if zone < 0 { return false }
    let list = unsafe lists[zone, cpu]
    if unsafe !CPUList.lock(of: list).pointee.tryLock() { return pushContended(frame, word.bits, zone, isolations) }
    // Of two who give it back at once the second finds it listed here. And while blocks are isolated, or may have gone to other zones since
    // this one was looked up, there is more to it.
    if unsafe place.pointee.load(ordering: .relaxed) != word.bits
      || self.isolations.load(ordering: .relaxed) != isolations
    {
      unsafe CPUList.lock(of: list).pointee.unlock()
      return false
    }
    if unsafe push(frame, place, word, slot, list) {
      relieveAndUnlock(zone, cpu, slot)
    } else {
      unsafe CPUList.lock(of: list).pointee.unlock()
    }
    return true
  }

  /// `pushLocal`, waiting for the list's lock.
  @usableFromInline @inline(never)
  func pushContended(_ frame: Int, _ bits: UInt64, _ zone: Int, _ isolations: UInt64) -> Bool {
    let word = EntryWord(bits: bits)
    let list = unsafe list(zone, word.cpu)
    unsafe CPUList.lock(of: list).pointee.lock()
    defer { unsafe CPUList.lock(of: list).pointee.unlock() }
    let place = unsafe table.place(frame, isBlock: word.slot == 4)
    if unsafe place.pointee.load(ordering: .relaxed) != bits
      || self.isolations.load(ordering: .relaxed) != isolations
    {
      return false
    }
    if unsafe push(frame, place, word, word.slot, list) { unsafe relieve(list, zone, word.slot) }
    return true
  }

  @usableFromInline @inline(never)
  func relieveAndUnlock(_ zone: Int, _ cpu: Int, _ slot: Int) {
    let list = unsafe list(zone, cpu)
    unsafe relieve(list, zone, slot)
    unsafe CPUList.lock(of: list).pointee.unlock()
  }

  /// Turns an allocation, whose word lies at `place`, into a listed frame of the list, which is locked; whether that holds too much then.
  @inlinable @inline(__always)
  func push(
    _ frame: Int, _ place: FrameTable.Word, _ word: EntryWord, _ slot: Int, _ list: UnsafeMutablePointer<CPUList>
  ) -> Bool {
    if slot & 3 != 0 { markTail(frame, 1 &<< slot) }
    let next = unsafe list.pointee.heads[unchecked: word.head]
    unsafe place.pointee.store(word.listed(next: next).bits, ordering: .relaxed)
    unsafe list.pointee.heads[unchecked: word.head] = UInt64(truncatingIfNeeded: frame &+ 1)
    return unsafe list.pointee.countFree(slot, kind: word.kindIndex)
  }

  /// Puts single frames back into the list that gave them, from the first on, as far as that is the whole story for each; how many.
  func pushMany(_ frames: UnsafeBufferPointer<FrameNumber>, _ cpu: Int) -> Int {
    guard let first = unsafe frames.first, first.rawValue < localLimit else { return 0 }
    let zone = self.zone(of: Int(first.rawValue))
    if zone < 0 || UInt(bitPattern: cpu) >= UInt(bitPattern: lists.cpuLimit) { return 0 }
    let list = unsafe list(zone, cpu)
    var given = 0
    unsafe CPUList.lock(of: list).pointee.lock()
    defer { unsafe CPUList.lock(of: list).pointee.unlock() }
    // As in `pushLocal`; whoever isolates a block from here on waits for the list, and looks into it.
    if isolations.load(ordering: .acquiring) & 0xFFFF != 0 { return 0 }
    // What they have in common, all but their owner's number and what comes behind them.
    let common = table.word(Int(first.rawValue))
    if !common.isUnlinked(slot: 0, cpu: cpu) { return 0 }
    var next = unsafe list.pointee.heads[unchecked: common.head]
    let most = unsafe min(frames.count, max(1, Int(list.pointee.room) + 1))
    while given < most {
      let number = unsafe frames[given].rawValue
      if number >= UInt64(truncatingIfNeeded: table.limit) { break }
      let frame = Int(truncatingIfNeeded: number)
      let place = unsafe table.place(frame, isBlock: false)
      let word = unsafe EntryWord(bits: place.pointee.load(ordering: .relaxed))
      if (word.bits ^ common.bits) & 0xFFFF_FFFF != 0 || self.zone(of: frame) != zone { break }
      unsafe place.pointee.store(word.listed(next: next).bits, ordering: .relaxed)
      next = number &+ 1
      given &+= 1
    }
    unsafe list.pointee.heads[unchecked: common.head] = next
    if unsafe list.pointee.countFree(0, kind: common.kindIndex, given) { unsafe relieve(list, zone, 0) }
    return given
  }

  /// `free`, all cases.
  @usableFromInline @inline(never)
  func freeAnywhere(_ range: FrameRange, _ cpu: CPUID) throws(MemoryError) {
    if watch != nil { return try freeWatched(range, cpu) }
    try freeUnwatched(range, cpu)
  }

  func freeUnwatched(_ range: FrameRange, _ cpu: CPUID) throws(MemoryError) {
    guard router.home(cpu) >= 0 else { throw .noSuchCPU(cpu) }
    let frame = Int(truncatingIfNeeded: range.start.rawValue)
    guard range.start.rawValue < UInt64(table.limit) else { throw .noSuchFrame(range.start) }
    while true {
      let word = table.word(frame)
      guard word.isAllocated, UInt64(word.count) == range.count.rawValue else { throw refusal(range) }
      let zone = self.zone(of: frame)
      // Freed by somebody else, and its block taken away, since its word was read.
      if zone < 0 { continue }
      let done =
        word.state == .allocatedFromList
        ? try giveToList(frame, word, zone, cpu.rawValue) : try giveToZone(frame, word, zone)
      if done { return }
    }
  }

  /// Why `free` refuses the range: nothing was changed.
  @inline(never)
  func refusal(_ range: FrameRange) -> MemoryError {
    let frame = Int(range.start.rawValue)
    if zone(of: frame) < 0 { return .noSuchFrame(range.start) }
    if let reservation = layout.reservation(at: frame) {
      return .reservedFrame(range.start, region: reservation.description)
    }
    guard let allocation = allocation(containing: range.start) else { return .notAllocated(range.start) }
    if allocation.range.start != range.start { return .notAllocationStart(range.start, start: allocation.range.start) }
    return .wrongAllocationSize(range.start, given: range.count, allocated: allocation.range.count)
  }

  /// Puts an allocation into the list of `cpu`: false where it is no longer what `word` says, so that it must be looked at again.
  ///
  /// The list that gave the allocation guards its state, so that of two who free it at once one is refused; where it is also the one
  /// that takes it, one lock does for both.
  @inline(__always)
  private func giveToList(_ frame: Int, _ word: EntryWord, _ zone: Int, _ cpu: Int) throws(MemoryError) -> Bool {
    let target = unsafe list(zone, cpu)
    if word.cpu != cpu {
      unsafe lockBoth(target, list(zone, word.cpu))
    } else {
      unsafe CPUList.lock(of: target).pointee.lock()
    }
    defer {
      if word.cpu != cpu { unsafe CPUList.lock(of: list(zone, word.cpu)).pointee.unlock() }
      unsafe CPUList.lock(of: target).pointee.unlock()
    }
    if table.word(frame) != word || self.zone(of: frame) != zone { return false }
    try checkReferences(frame, word)
    // The zone knows the list before it is asked for isolated blocks, so that whoever isolates one looks into the list.
    if unsafe target.pointee.registered == 0 { unsafe register(target, zone, cpu) }
    if isolations.load(ordering: .acquiring) & 0xFFFF != 0, joinIsolated(frame, word, zone) { return true }
    table.clearLink(frame, word)
    // As if the list that takes it had given it.
    if unsafe push(frame, table.place(frame, isBlock: word.slot == 4), word, word.slot, target) {
      unsafe relieve(target, zone, word.slot)
    }
    return true
  }

  @inline(never)
  private func lockBoth(_ a: UnsafeMutablePointer<CPUList>, _ b: UnsafeMutablePointer<CPUList>) {
    unsafe CPUList.lock(of: min(a, b)).pointee.lock()
    unsafe CPUList.lock(of: max(a, b)).pointee.lock()
  }

  /// Makes a list known to its zone. The list is locked.
  @inline(never)
  private func register(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, _ cpu: Int) {
    unsafe zoneLocks[zone].lock()
    unsafe list.pointee.registered = 1
    unsafe list.pointee.setLimits(zones[zone].limits)
    unsafe zones[zone].register(cpu)
    unsafe zoneLocks[zone].unlock()
  }

  /// Gives a batch back of a list that holds too much. The list is locked.
  @inline(never)
  private func relieve(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, _ slot: Int) {
    unsafe zoneLocks[zone].lock()
    let limits = unsafe zones[zone].limits
    if slot == 4 {
      unsafe drain(list, zone, slots: 4..<5, frames: surplus(list, limits) << 9)
    } else {
      unsafe drain(list, zone, slots: 0..<4, frames: limits.batch)
    }
    unsafe zoneLocks[zone].unlock()
  }

  /// How many blocks a full list gives back: half of them, or so many more or fewer that, where blocks come back in order, a chunk of that
  /// size is complete when the list is full again. The list is locked.
  private func surplus(_ list: UnsafeMutablePointer<CPUList>, _ limits: CPUListLimits) -> Int {
    let half = limits.highLarge >> 1
    let size = 1 << (63 - half.leadingZeroBitCount)
    for mobility in 0..<3 {
      let first = unsafe Int(list.pointee.heads[CPUList.head(4, mobility)]) - 1
      if first < 0 { continue }
      let second = Int(table.blockWord(first).nextListed) - 1
      let missing = (second < first ? ~(first >> 9) : first >> 9) & (size - 1)
      return missing > size >> 1 ? half - size + missing : half + missing
    }
    return half
  }

  /// Gives `frames` frames of the list back to the zone, from each of its lists in turn. Both are locked.
  func drain(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, slots: Range<Int>, frames: Int) {
    var left = frames
    for slot in slots.reversed() {
      for mobility in 0..<3 where left > 0 {
        if slot == 4 {
          unsafe drain(list, zone, 4, mobility, &left)
        } else {
          unsafe drain(list, zone, slot, mobility, &left)
        }
      }
    }
    discardIfMany(zone)
  }

  /// One of the lists; compiled for whole blocks, and for what is less.
  @inline(__always)
  private func drain(
    _ list: UnsafeMutablePointer<CPUList>, _ zone: Int, _ slot: Int, _ mobility: Int, _ left: inout Int
  ) {
    let size = CPUList.frames(ofSlot: slot)
    let head = CPUList.head(slot, mobility)
    var first = unsafe Int(truncatingIfNeeded: list.pointee.heads[unchecked: head]) &- 1
    while left > 0, first >= 0 {
      var run = first..<first &+ size
      first = Int(truncatingIfNeeded: table.unlist(first, slot: slot)) &- 1
      // What was given back one behind the other lies side by side, and is less to the bitmap or the buddy system than its parts are.
      while slot == 0 || slot == 4, run.count < left {
        if first < 0 || first != run.lowerBound &- size && first != run.upperBound { break }
        // Single frames of one block.
        if slot == 0, first >> 9 != run.lowerBound >> 9 || run.count == 511 { break }
        run = unsafe Range(
          uncheckedBounds: (min(run.lowerBound, first), max(run.upperBound, first &+ size)))
        first = Int(truncatingIfNeeded: table.unlist(first, slot: slot)) &- 1
      }
      unsafe list.pointee.heads[unchecked: head] = UInt64(truncatingIfNeeded: first &+ 1)
      _ = unsafe list.pointee.addHeld(slot, 0 &- run.count)
      if slot == 4 {
        unsafe zones[zone].giveBlocks(run.lowerBound, run.count >> 9)
      } else {
        unsafe zones[zone].give(run.lowerBound, run.count)
      }
      left &-= run.count
    }
  }

  /// Gives back all that the CPUs' lists hold of a zone.
  func drainLists(of zone: Int) {
    unsafe zoneLocks[zone].lock()
    let cpus = unsafe zones[zone].registered
    unsafe zoneLocks[zone].unlock()
    for cpu in cpus {
      let list = unsafe list(zone, cpu)
      unsafe CPUList.lock(of: list).pointee.lock()
      unsafe zoneLocks[zone].lock()
      unsafe drain(list, zone, slots: 0..<CPUList.slots, frames: .max)
      unsafe zoneLocks[zone].unlock()
      unsafe CPUList.lock(of: list).pointee.unlock()
    }
  }

  /// Gives back all that the CPUs' lists hold (Linux's `drain_all_pages`).
  public func drainLists() {
    for zone in 0..<zoneCount { drainLists(of: zone) }
  }

  /// Gives an allocation back to its zone if it lies in isolated blocks. Its list is locked.
  @inline(never)
  private func joinIsolated(_ frame: Int, _ word: EntryWord, _ zone: Int) -> Bool {
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    guard unsafe zones[zone].isIsolated(frame >> 9 - zones[zone].firstBlock) else { return false }
    takeBackIntoZone(frame, word, zone)
    return true
  }

  /// Gives an allocation back to its zone; false where it is no longer what `word` says.
  private func giveToZone(_ frame: Int, _ word: EntryWord, _ zone: Int) throws(MemoryError) -> Bool {
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    if table.word(frame) != word || self.zone(of: frame) != zone { return false }
    try checkReferences(frame, word)
    takeBackIntoZone(frame, word, zone)
    return true
  }

  /// Turns an allocation into free frames of its zone. The zone is locked, and so is the list that guards the allocation.
  func takeBackIntoZone(_ frame: Int, _ word: EntryWord, _ zone: Int) {
    let count = word.count
    table.clearLink(frame, word)
    if count < 512 {
      markTail(frame, count)
      table.setWord(frame, EntryWord(bits: EntryWord.mayHoldData))
    } else {
      table.setBlockWord(frame, EntryWord(bits: 0))
    }
    unsafe zones[zone].countFree(count, kind: word.kindIndex)
    unsafe zones[zone].give(frame, count)
    discardIfMany(zone)
  }

  /// Notes that the frames behind the first may hold data; for whole blocks the blocks say so.
  @inlinable @inline(__always)
  func markTail(_ frame: Int, _ count: Int) {
    var each = frame &+ 1
    while each < frame &+ count {
      table.setWord(each, EntryWord(bits: EntryWord.mayHoldData))
      each &+= 1
    }
  }

  @inline(__always)
  private func checkReferences(_ frame: Int, _ word: EntryWord) throws(MemoryError) {
    let references = FrameLink.references(table.holderLink(frame, word))
    if references > 1 { throw .frameInUse(FrameNumber(UInt64(frame)), owner: "\(references) references") }
  }
}
