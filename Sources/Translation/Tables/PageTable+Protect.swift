public import MemoryTypes

extension PageTable {
  /// Gives the pages of the range these permissions (`PageFlags.permissions`); what else their flags say is kept.
  ///
  /// Larger pages are split where the range cuts them, and tables whose pages fit together afterwards are merged. Without
  /// `present` the pages keep their frames out of the hardware's reach. Throws as `unmap` does, and `invalidFlags`,
  /// `writableAndExecutable`.
  ///
  /// - Complexity: O(entries in the range).
  public func protect(
    _ range: PageRange, flags: PageFlags, holes: Holes = .refused, merging: Bool = true
  ) throws(MemoryError) -> FlushObligation {
    let wanted = flags.intersection(.permissions)
    try check(wanted, at: range.start)
    return try change(range, removing: .permissions, inserting: wanted, holes: holes, merging: merging)
  }

  /// Removes and inserts flags; each page is shown to `visit` as it was before. Clearing `accessed` and `dirty` is how a
  /// scan for idle pages begins. Throws as `protect` does.
  public func change(
    _ range: PageRange, removing: PageFlags, inserting: PageFlags, holes: Holes = .skipped, merging: Bool = false,
    visit: (Mapping) -> Void = { _ in }
  ) throws(MemoryError) -> FlushObligation {
    if range.pageCount == 1, !merging {
      let (old, new) = changeBase(range.start, removing: removing, inserting: inserting)
      if old != 0 {
        visit(mapping(format.position(range.start), old, level: 0))
        return unmapped(range.start, old == new ? 0 : old)
      }
    }
    let first = try check(range)
    if case .refused = holes, let hole = firstHole(position: first, pages: range.pageCount) {
      throw .notMapped(address(hole))
    }
    if enforcesWriteXorExecute, !inserting.isDisjoint(with: [.writable, .executable]),
      let page = firstForbidden(first, range.pageCount, removing: removing, inserting: inserting)
    {
      throw .writableAndExecutable(page)
    }
    try splitEdges(position: first, pages: range.pageCount)
    var obligation = FlushObligation(frames: frames, context: context, start: range.start)
    let stride = rewrite(first, range.pageCount, removing: removing, inserting: inserting, visit: visit)
    if stride != .max { obligation.cover(from: range.start, pageCount: range.pageCount, strideShift: stride) }
    if inserting.contains(.user) { admitUsers(position: first, pages: range.pageCount) }
    if merging { merge(position: first, pages: range.pageCount, into: &obligation) }
    if rootChanged { syncFollowers() }
    return obligation
  }

  /// Exchanges what a base page that is mapped or held leads to, in one step (copy-on-write, migration).
  ///
  /// Throws as `map` does, and `notMapped`.
  public func replace(
    _ page: VirtualAddress, with frame: FrameNumber, flags: PageFlags
  ) throws(MemoryError) -> FlushObligation {
    let old = replaceBase(page, frame.rawValue, flags)
    if old != 0 { return unmapped(page, old) }
    let position = try check(PageRange(page))
    try check(flags, at: page)
    guard frame.rawValue < 1 << (format.physicalBits - format.pageShift) else { throw .noSuchFrame(frame) }
    if firstHole(position: position, pages: 1) != nil { throw .notMapped(page) }
    try splitEdges(position: position, pages: 1)
    var path = InlineArray<5, UInt64>(repeating: 0)
    let level = descend(position, path: &path)
    // SAFETY: the table is ours, the index within it.
    let entry = unsafe frames.entries(path[level]) + format.index(position, level: level)
    // nothing but an overwritten entry can still cover more than the page after the split
    guard level == 0 else { throw .noMemoryAt(format.tableAddress(unsafe entry.pointee)) }
    var obligation = FlushObligation(frames: frames, context: context, start: page)
    if unsafe entry.pointee & format.presentBit != 0 { obligation.cover(from: page, pageCount: 1, strideShift: 0) }
    unsafe entry.pointee = format.leaf(PhysicalAddress(frame.rawValue &<< format.pageShift), flags: flags, level: 0)
    if flags.contains(.user) { admitUsers(position: position, pages: 1) }
    if rootChanged { syncFollowers() }
    return obligation
  }

  /// The first page that the change would leave writable and executable.
  private func firstForbidden(
    _ position: UInt64, _ pages: UInt64, removing: PageFlags, inserting: PageFlags
  ) -> VirtualAddress? {
    // permissions that are replaced as a whole were checked before
    if removing.isSuperset(of: [.writable, .executable]) { return nil }
    var here = position
    let end = position + pages &<< format.pageShift
    while here < end {
      let (raw, level) = entry(at: here)
      let after = format.flags(raw).subtracting(removing).union(inserting)
      if raw != 0, after.isSuperset(of: [.writable, .executable]) { return address(here) }
      here = (here &>> format.shifts[level] + 1) &<< format.shifts[level]
    }
    return nil
  }

  /// Rewrites every entry of the pages, which no larger page crosses. Returns log2 of the base pages in the smallest
  /// present page that changed, .max for none.
  private func rewrite(
    _ position: UInt64, _ pages: UInt64, removing: PageFlags, inserting: PageFlags, visit: (Mapping) -> Void
  ) -> UInt64 {
    var path = InlineArray<5, UInt64>(repeating: 0)
    var here = position
    let end = position + pages &<< format.pageShift
    var stride = UInt64.max
    while here < end {
      let level = descend(here, path: &path)
      let shift = format.shifts[level]
      let count = entryCount(level: level)
      let mask = format.leafAddressMasks[level]
      // neighbours mostly have the same flags: what they become is worked out once
      var known: (old: UInt64, new: UInt64)?
      var index = format.index(here, level: level)
      // SAFETY: the table is ours, indices below its entries.
      let entries = unsafe frames.entries(path[level])
      while index < count, here < end {
        let raw = unsafe entries[index]
        if raw != 0 {
          if level > 0, subtable(raw, level: level) != nil { break }
          visit(mapping(here, raw, level: level))
          if known?.old != raw & ~mask {
            known = (raw & ~mask, rewritten(raw & ~mask, level: level, removing: removing, inserting: inserting))
          }
          let new = raw & mask | (known?.new ?? 0)
          if new != raw {
            unsafe entries[index] = new
            if raw & format.presentBit != 0 { stride = min(stride, shift - format.pageShift) }
            if level == format.rootLevel { rootChanged = true }
          }
        }
        here = (here &>> shift + 1) &<< shift
        index += 1
      }
    }
    return stride
  }

  private func rewritten(_ raw: UInt64, level: Int, removing: PageFlags, inserting: PageFlags) -> UInt64 {
    let flags = format.flags(raw).subtracting(removing).union(inserting)
    return format.leaf(PhysicalAddress(0), flags: flags, level: level)
  }
}
