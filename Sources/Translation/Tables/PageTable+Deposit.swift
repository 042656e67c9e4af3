public import MemoryTypes

/// Tables that are put aside for larger pages, so that splitting one of these cannot fail (Linux's `pgtable_trans_huge_deposit`).
extension PageTable {
  /// Puts a table aside for one page of level 1. Throws `outOfMemory`.
  public func deposit(cpu: CPUID) throws(MemoryError) {
    spareTables.append(try frames.allocate(owner: space, cpu: cpu, isCounted: isCounted(level: 0)))
    tableCount += 1
  }

  /// Gives a table back that was put aside for a page of level 1 which is gone.
  public func withdraw() {
    guard let table = spareTables.popLast() else { return }
    frames.free(table, cpu: cpu)
    tableCount -= 1
  }

  /// Splits the page of level 1 that holds `address` into base pages, in a table that was put aside. Translations and flags stay as they
  /// are, so that nothing need be flushed, unless all of them are to lead to `frame`. Without effect where entries were overwritten and there
  /// is no such page.
  public func splitIntoDeposit(_ address: VirtualAddress, onto frame: FrameNumber? = nil) -> FlushObligation {
    let position = format.position(address)
    var obligation = FlushObligation(frames: frames, context: context, start: address)
    var path = InlineArray<5, UInt64>(repeating: 0)
    let level = descend(position, path: &path)
    // SAFETY: the table is ours, the index within it.
    let entry = unsafe frames.entries(path[level]) + format.index(position, level: level)
    let raw = unsafe entry.pointee
    guard level == 1, raw != 0, let table = spareTables.popLast() else { return obligation }
    if let frame {
      let leaf = format.leaf(PhysicalAddress(frame.rawValue &<< format.pageShift), flags: format.flags(raw), level: 0)
      // SAFETY: a fresh table of ours with as many entries.
      for index in 0..<entryCount(level: 0) { unsafe frames.entries(table)[index] = leaf }
      frames.addLive(table, entryCount(level: 0))
      obligation.cover(
        from: self.address(position & (.max &<< format.shifts[1])), pageCount: format.basePages(level: 1),
        strideShift: format.shifts[1] - format.pageShift)
    } else {
      fillSplit(table, from: raw, level: level)
    }
    unsafe entry.pointee = tableEntry(table, level: level, user: raw & format.userBit != 0)
    if level == format.rootLevel { rootChanged = true }
    return obligation
  }

  /// Exchanges what a larger page that is mapped or held leads to, in one step (migration). Without effect where entries were
  /// overwritten and there is no page of that level.
  public func replace(
    _ page: VirtualAddress, with frame: FrameNumber, flags: PageFlags, level: Int
  ) -> FlushObligation {
    let position = format.position(page)
    var path = InlineArray<5, UInt64>(repeating: 0)
    var obligation = FlushObligation(frames: frames, context: context, start: page)
    guard descend(position, path: &path) == level else { return obligation }
    // SAFETY: the table is ours, the index within it.
    let entry = unsafe frames.entries(path[level]) + format.index(position, level: level)
    if unsafe entry.pointee & format.presentBit != 0 {
      obligation.cover(
        from: page, pageCount: format.basePages(level: level), strideShift: format.shifts[level] - format.pageShift)
    }
    unsafe entry.pointee = format.leaf(
      PhysicalAddress(frame.rawValue &<< format.pageShift), flags: flags, level: level)
    if level == format.rootLevel { rootChanged = true }
    return obligation
  }

  /// The level of the table in which the way to an address of this half ends.
  public func endLevel(at address: VirtualAddress) -> Int { entry(at: format.position(address)).level }
}
