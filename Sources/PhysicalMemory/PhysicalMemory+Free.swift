public import MemoryTypes

extension PhysicalMemory {
  /// Gives an allocation back: exactly the range that `allocate` returned, by way of `cpu`'s lists.
  ///
  /// - Throws: `noSuchCPU`; `noSuchFrame`, `reservedFrame`, `notAllocated` (a double free), `notAllocationStart`, `wrongAllocationSize`;
  ///   `frameInUse` where others hold references to it still. Nothing is changed then.
  /// - Complexity: O(1) for 1, 2, 4, 8 and 512 frames; otherwise see `Zone.give`.
  public func free(_ range: FrameRange, cpu: CPUID) throws(MemoryError) {
    guard router.home(cpu) >= 0 else { throw .noSuchCPU(cpu) }
    let frame = Int(truncatingIfNeeded: range.start.rawValue)
    guard range.start.rawValue < UInt64(table.limit) else { throw .noSuchFrame(range.start) }
    while true {
      let word = table.word(frame)
      guard word.isAllocated, UInt64(word.count) == range.count.rawValue else { throw refusal(range) }
      let zone = router.zone(of: frame)
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
    if router.zone(of: frame) < 0 { return .noSuchFrame(range.start) }
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
    if word.cpu != cpu { unsafe lockBoth(target, list(zone, word.cpu)) } else { unsafe target.pointee.lock.lock() }
    defer {
      if word.cpu != cpu { unsafe list(zone, word.cpu).pointee.lock.unlock() }
      unsafe target.pointee.lock.unlock()
    }
    if table.word(frame) != word { return false }
    try checkReferences(frame)
    let slot = word.slot
    let order = CPUList.order(ofSlot: slot)
    let head = slot * 3 + word.mobilityIndex
    if slot != 0, slot != 4 { markTail(frame, 1 << order) }
    var listed = EntryWord(
      listState: .listed, cpu: cpu, slot: slot, mobility: UInt64(word.mobilityIndex), owner: .kernel)
    listed.bits |= EntryWord.mayHoldData
    table.setWord(frame, listed)
    unsafe table.setLink(frame, target.pointee.heads[unchecked: head])
    unsafe target.pointee.heads[unchecked: head] = UInt64(truncatingIfNeeded: frame &+ 1)
    unsafe target.pointee.addHeld(slot, 1 << order)
    unsafe target.pointee.frees[unchecked: slot >> 2] &+= 1
    unsafe target.pointee.kinds[unchecked: word.kindIndex] &-= 1 << order
    let full = unsafe target.pointee.isOver(limits, slot)
    if unsafe full || target.pointee.registered == 0 { unsafe relieve(target, zone, cpu, slot, full) }
    return true
  }

  @inline(never)
  private func lockBoth(_ a: UnsafeMutablePointer<CPUList>, _ b: UnsafeMutablePointer<CPUList>) {
    unsafe min(a, b).pointee.lock.lock()
    unsafe max(a, b).pointee.lock.lock()
  }

  /// Makes the list known to its zone, and gives a batch back where it holds too much. The list is locked.
  @inline(never)
  private func relieve(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, _ cpu: Int, _ slot: Int, _ full: Bool) {
    unsafe zones[zone].lock.lock()
    if unsafe list.pointee.registered == 0 {
      unsafe list.pointee.registered = 1
      unsafe zones[zone].registered.append(cpu)
    }
    if full { unsafe drain(list, zone, slots: slot == 4 ? 4..<5 : 0..<4, frames: slot == 4 ? 512 : limits.batch) }
    unsafe zones[zone].lock.unlock()
  }

  /// Gives `frames` frames of the list back to the zone, from each of its lists in turn. Both are locked.
  func drain(_ list: UnsafeMutablePointer<CPUList>, _ zone: Int, slots: Range<Int>, frames: Int) {
    var left = frames
    for slot in slots.reversed() {
      let order = CPUList.order(ofSlot: slot)
      for mobility in 0..<3 {
        while left > 0, unsafe list.pointee.heads[slot * 3 + mobility] != 0 {
          let frame = unsafe Int(list.pointee.heads[slot * 3 + mobility] - 1)
          unsafe list.pointee.heads[slot * 3 + mobility] = table.link(frame)
          unsafe list.pointee.addHeld(slot, -(1 << order))
          table.setWord(frame, EntryWord(bits: table.word(frame).bits & EntryWord.mayHoldData))
          table.setLink(frame, 0)
          unsafe zones[zone].give(frame, 1 << order)
          left -= 1 << order
        }
      }
    }
    discardIfMany(zone)
  }

  /// Gives back all that the CPUs' lists hold of a zone.
  func drainLists(of zone: Int) {
    unsafe zones[zone].lock.lock()
    let cpus = unsafe zones[zone].registered
    unsafe zones[zone].lock.unlock()
    for cpu in cpus {
      let list = unsafe list(zone, cpu)
      unsafe list.pointee.lock.lock()
      unsafe zones[zone].lock.lock()
      unsafe drain(list, zone, slots: 0..<CPUList.slots, frames: .max)
      unsafe zones[zone].lock.unlock()
      unsafe list.pointee.lock.unlock()
    }
  }

  /// Gives back all that the CPUs' lists hold (Linux's `drain_all_pages`).
  public func drainLists() {
    for zone in 0..<zoneCount { drainLists(of: zone) }
  }

  /// Gives an allocation back to its zone; false where it is no longer what `word` says.
  private func giveToZone(_ frame: Int, _ word: EntryWord, _ zone: Int) throws(MemoryError) -> Bool {
    unsafe zones[zone].lock.lock()
    defer { unsafe zones[zone].lock.unlock() }
    if table.word(frame) != word { return false }
    try checkReferences(frame)
    let count = word.count
    if count < 512 { markTail(frame, count) }
    table.setWord(frame, EntryWord(bits: EntryWord.mayHoldData))
    table.setLink(frame, 0)
    unsafe zones[zone].countFree(count, kind: word.kindIndex)
    unsafe zones[zone].give(frame, count)
    discardIfMany(zone)
    return true
  }

  /// Notes that the frames behind the first may hold data; for whole blocks the blocks say so.
  @inline(__always)
  private func markTail(_ frame: Int, _ count: Int) {
    for each in frame + 1..<frame + count { table.setWord(each, EntryWord(bits: EntryWord.mayHoldData)) }
  }

  @inline(__always)
  private func checkReferences(_ frame: Int) throws(MemoryError) {
    let references = FrameLink.references(table.link(frame))
    if references > 1 { throw .frameInUse(FrameNumber(UInt64(frame)), owner: "\(references) references") }
  }
}
