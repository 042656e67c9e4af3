public import MemoryTypes

extension PhysicalMemory {
  /// Takes frames as `allocate` does, but of what is free: nobody reclaims or compacts for it, and whoever does so in the background is told
  /// only if `wakes` (Linux's GFP_TRANSHUGE_LIGHT, and with __GFP_KSWAPD_RECLAIM). Nil where there are none, and where the request is not to
  /// be had at all.
  public func allocateAtOnce(_ request: FrameRequest, wakes: Bool = false) -> FrameRange? {
    guard let range = try? allocateUnwatched(request, wakes: wakes, reclaims: false) else { return nil }
    watch?.owners?.allocated(range, request)
    return range
  }

  /// Makes an allocation of whole blocks as many allocations of one frame each, of the same owner and mobility (Linux's `split_page`).
  ///
  /// The range must be an allocation, held by its owner alone; traps where it is not.
  /// - Complexity: O(frames).
  public func split(_ range: FrameRange) {
    let start = Int(range.start.rawValue)
    let word = table.word(start)
    precondition(
      word.isAllocated && UInt64(word.count) == range.count.rawValue && word.count & 511 == 0,
      "what is split is not an allocation of whole blocks")
    let zone = self.zone(of: start)
    let isListed = word.state == .allocatedFromList
    if isListed { unsafe CPUList.lock(of: list(zone, word.cpu)).pointee.lock() }
    unsafe zoneLocks[zone].lock()
    table.clearLink(start, word)
    table.setBlockWord(start, EntryWord(bits: 0))
    for block in start >> 9..<(start + word.count) >> 9 {
      unsafe zones[zone].takeApartUsed(block - zones[zone].firstBlock)
    }
    for frame in start..<start + word.count {
      table.setWord(frame, EntryWord(zoneAllocation: 1, mobility: word.mobility, owner: word.owner))
    }
    unsafe zoneLocks[zone].unlock()
    if isListed { unsafe CPUList.lock(of: list(zone, word.cpu)).pointee.unlock() }
    watch?.owners?.split(range)
  }
}
