public import MemoryTypes
internal import Synchronization

extension PhysicalMemory {
  /// Gives an allocation back: exactly the range that `allocate` returned, by way of `cpu`'s lists.
  ///
  /// - Throws: `noSuchCPU`; `noSuchFrame`, `reservedFrame`, `notAllocated` (a double free), `notAllocationStart`, `wrongAllocationSize`;
  ///   `frameInUse` where others hold references to it still. Nothing is changed then.
  /// - Complexity: O(1) for 1, 2, 4, 8 and 512 frames; otherwise see `Zone.give`.
  public func free(_ range: FrameRange, cpu: CPUID) throws(MemoryError) {
    let frame = Int(truncatingIfNeeded: range.start.rawValue)
    // The common case, and nothing but it: back to the list that gave it.
    let isolations = isolations.load(ordering: .acquiring)
    if range.start.rawValue < UInt64(truncatingIfNeeded: table.limit) {
      let word = table.word(frame)
      if word.state == .allocatedFromList, word.cpu == cpu.rawValue,
        1 << CPUList.order(ofSlot: word.slot) == range.count.rawValue
      {
        let zone = zone(of: frame)
        if zone >= 0, pushLocal(frame, word, zone, isolations) { return }
      }
    }
    try freeAnywhere(range, cpu)
  }

  /// Puts an allocation back into the list that gave it; false, and nothing done, where that is not the whole story.
  @inline(__always)
  private func pushLocal(_ frame: Int, _ word: EntryWord, _ zone: Int, _ isolations: UInt64) -> Bool {
    let list = unsafe list(zone, word.cpu)
    unsafe CPUList.lock(of: list).pointee.lock()
    // While blocks are isolated, or may have gone to other zones since this one was looked up, there is more to it.
    if table.word(frame) != word || table.holderLink(frame, word) & (FrameLink.maximumReferences - 1) != 0
      || isolations & 0xFFFF != 0 || self.isolations.load(ordering: .relaxed) != isolations
    {
      unsafe CPUList.lock(of: list).pointee.unlock()
      return false
    }
    unsafe takeBack(frame, word, list, word.cpu)
    if unsafe list.pointee.isOver(word.slot) { unsafe relieve(list, zone, word.slot) }
    unsafe CPUList.lock(of: list).pointee.unlock()
    return true
  }

  /// Turns an allocation into a listed frame of the list, which is locked.
  @inline(__always)
  private func takeBack(_ frame: Int, _ word: EntryWord, _ list: UnsafeMutablePointer<CPUList>, _ cpu: Int) {
    let slot = word.slot
    let mobility = UInt64(truncatingIfNeeded: word.mobilityIndex)
    let head = slot &* 3 &+ word.mobilityIndex
    let next = unsafe list.pointee.heads[unchecked: head]
    if slot == 4 {
      if word.bits & EntryWord.linked != 0 { table.setLink(frame, 0) }
      table.setBlockWord(frame, EntryWord(listedBlock: cpu, mobility: mobility, next: next))
    } else {
      if slot != 0 { markTail(frame, 1 << slot) }
      var listed = EntryWord(listState: .listed, cpu: cpu, slot: slot, mobility: mobility, owner: .kernel)
      listed.bits |= EntryWord.mayHoldData
      table.setWord(frame, listed)
      table.setLink(frame, next)
    }
    unsafe list.pointee.heads[unchecked: head] = UInt64(truncatingIfNeeded: frame &+ 1)
    unsafe list.pointee.countFree(slot, kind: word.kindIndex)
  }

  /// `free`, all cases.
  @inline(never)
  private func freeAnywhere(_ range: FrameRange, _ cpu: CPUID) throws(MemoryError) {
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
    unsafe takeBack(frame, word, target, cpu)
    if unsafe target.pointee.isOver(word.slot) { unsafe relieve(target, zone, word.slot) }
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
    unsafe drain(list, zone, slots: slot == 4 ? 4..<5 : 0..<4, frames: slot == 4 ? 512 : zones[zone].limits.batch)
    unsafe zoneLocks[zone].unlock()
  }

  /// Gives `frames` frames of the list back to the zone, from each of its lists in turn. Both are locked.
  func drain(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, slots: Range<Int>, frames: Int) {
    var left = frames
    for slot in slots.reversed() {
      let order = CPUList.order(ofSlot: slot)
      for mobility in 0..<3 {
        while left > 0, unsafe list.pointee.heads[slot * 3 + mobility] != 0 {
          let frame = unsafe Int(list.pointee.heads[slot * 3 + mobility] - 1)
          if slot == 4 {
            unsafe list.pointee.heads[slot * 3 + mobility] = table.blockWord(frame).nextListed
            table.setBlockWord(frame, EntryWord(bits: 0))
          } else {
            unsafe list.pointee.heads[slot * 3 + mobility] = table.link(frame)
            table.setWord(frame, EntryWord(bits: table.word(frame).bits & EntryWord.mayHoldData))
            table.setLink(frame, 0)
          }
          unsafe list.pointee.addHeld(slot, -(1 << order))
          unsafe zones[zone].give(frame, 1 << order)
          left -= 1 << order
        }
      }
    }
    discardIfMany(zone)
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
    if count < 512 {
      markTail(frame, count)
      table.setWord(frame, EntryWord(bits: EntryWord.mayHoldData))
      table.setLink(frame, 0)
    } else {
      if word.bits & EntryWord.linked != 0 { table.setLink(frame, 0) }
      table.setBlockWord(frame, EntryWord(bits: 0))
    }
    unsafe zones[zone].countFree(count, kind: word.kindIndex)
    unsafe zones[zone].give(frame, count)
    discardIfMany(zone)
  }

  /// Notes that the frames behind the first may hold data; for whole blocks the blocks say so.
  @inline(__always)
  private func markTail(_ frame: Int, _ count: Int) {
    for each in frame + 1..<frame + count { table.setWord(each, EntryWord(bits: EntryWord.mayHoldData)) }
  }

  @inline(__always)
  private func checkReferences(_ frame: Int, _ word: EntryWord) throws(MemoryError) {
    let references = FrameLink.references(table.holderLink(frame, word))
    if references > 1 { throw .frameInUse(FrameNumber(UInt64(frame)), owner: "\(references) references") }
  }
}
