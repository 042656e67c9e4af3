public import MemoryTypes

extension PageTable {
  /// Takes pages out of the space; each that was mapped or held is shown to `visit` with its old entry, in ascending order.
  ///
  /// A larger page that lies in the range in part is split. Throws what `check` of a range throws, `notMapped` with the
  /// first hole where holes are refused, and `outOfMemory` where a split finds no frame for its table.
  ///
  /// - Complexity: O(entries in the range).
  ///
  /// `bounds`: tables go as well that this leaves empty, and those that were kept empty, where they cover nothing outside of them.
  public func unmap(
    _ range: PageRange, holes: Holes = .refused, freeingTablesWithin bounds: TableBounds? = nil,
    visit: (Mapping) -> Void
  ) throws(MemoryError) -> FlushObligation {
    if range.pageCount == 1, bounds == nil {
      let raw = unmapBase(range.start)
      if raw != 0 {
        visit(mapping(format.position(range.start), raw, level: 0))
        return unmapped(range.start, raw)
      }
    }
    return try unmapInGeneral(range, holes: holes, bounds) { position, raw, level in
      visit(mapping(position, raw, level: level))
    }
  }

  /// As above, with nobody to look: entries are not decoded.
  @inlinable @inline(__always)
  public func unmap(_ range: PageRange, holes: Holes = .refused) throws(MemoryError) -> FlushObligation {
    if range.pageCount == 1 {
      let raw = unmapBase(range.start)
      if raw != 0 { return unmapped(range.start, raw) }
    }
    return try unmapUnseen(range, holes: holes)
  }

  @usableFromInline func unmapUnseen(_ range: PageRange, holes: Holes) throws(MemoryError) -> FlushObligation {
    try unmapInGeneral(range, holes: holes, nil) { _, _, _ in }
  }

  /// What is left to be done after `unmapBase`.
  @inlinable @inline(__always) func unmapped(_ start: VirtualAddress, _ raw: UInt64) -> FlushObligation {
    unsafe FlushObligation(
      frames: frames, context: attachment.pointee, start: start, pageCount: raw & presentBit != 0 ? 1 : 0)
  }

  @inline(never)
  private func unmapInGeneral(
    _ range: PageRange, holes: Holes, _ bounds: TableBounds?,
    visit: (_ position: UInt64, _ raw: UInt64, _ level: Int) -> Void
  ) throws(MemoryError) -> FlushObligation {
    let first = try check(range)
    if case .refused = holes, let hole = firstHole(position: first, pages: range.pageCount) {
      throw .notMapped(address(hole))
    }
    try splitEdges(position: first, pages: range.pageCount)
    var obligation = FlushObligation(frames: frames, context: context, start: range.start)
    var stride = clear(position: first, pages: range.pageCount, into: &obligation, visit: visit)
    if let bounds {
      freeTables(position: first, pages: range.pageCount, within: bounds, into: &obligation)
      if obligation.freesTables { stride = min(stride, format.shifts[1] - format.pageShift) }
    }
    if stride != .max { obligation.cover(from: range.start, pageCount: range.pageCount, strideShift: stride) }
    if rootChanged { syncFollowers() }
    return obligation
  }

  @inlinable @inline(__always) func mapping(_ position: UInt64, _ raw: UInt64, level: Int) -> Mapping {
    Mapping(
      address: address(position), physical: format.leafAddress(raw, level: level), level: level, raw: raw,
      flags: format.flags(raw))
  }

  /// Goes down to the lowest table of ours on the way to `position`; returns its level. `path` holds the tables.
  @inline(__always)
  func descend(_ position: UInt64, path: inout InlineArray<5, UInt64>) -> Int {
    var level = format.rootLevel
    var table = rootFrame.rawValue
    path[level] = table
    while level > 0 {
      // SAFETY: `table` is ours, the index within it.
      guard let next = subtable(unsafe frames.entries(table)[format.index(position, level: level)], level: level) else {
        break
      }
      level -= 1
      table = next
      path[level] = table
    }
    return level
  }

  /// Clears every entry of the pages, which no larger page crosses, and hands tables that this empties to the obligation, unless they are kept.
  ///
  /// Returns log2 of the base pages in the smallest present page that was cleared, .max for none.
  @discardableResult
  func clear(
    position: UInt64, pages: UInt64, into obligation: inout FlushObligation,
    visit: (_ position: UInt64, _ raw: UInt64, _ level: Int) -> Void
  ) -> UInt64 {
    var path = InlineArray<5, UInt64>(repeating: 0)
    var here = position
    let end = position + pages &<< format.pageShift
    var stride = UInt64.max
    while here < end {
      let level = descend(here, path: &path)
      let table = path[level]
      let shift = format.shifts[level]
      let count = entryCount(level: level)
      var index = format.index(here, level: level)
      var cleared = 0
      // SAFETY: `table` is ours, indices below its entries.
      let entries = unsafe frames.entries(table)
      let start = here
      while index < count, here < end {
        let raw = unsafe entries[index]
        if raw != 0 {
          if level > 0, subtable(raw, level: level) != nil { break }
          visit(here, raw, level)
          unsafe entries[index] = 0
          cleared += 1
          if raw & format.presentBit != 0 { stride = min(stride, shift - format.pageShift) }
        }
        here = (here &>> shift + 1) &<< shift
        index += 1
      }
      if cleared > 0 {
        if level == format.rootLevel { rootChanged = true }
        if frames.addLive(table, -cleared) == 0, !keepsTables {
          release(position: start, level: level, path: path, into: &obligation)
        }
      }
    }
    return stride
  }

  /// Takes an empty table out of the one above it, and that one likewise if it is empty then. The root stays.
  func release(position: UInt64, level: Int, path: InlineArray<5, UInt64>, into obligation: inout FlushObligation) {
    var level = level
    while level < format.rootLevel {
      let parent = path[level + 1]
      // SAFETY: `parent` is ours, the index within it.
      unsafe frames.entries(parent)[format.index(position, level: level + 1)] = 0
      obligation.keep(table: path[level])
      forgetLeafTable()
      tableCount -= 1
      level += 1
      if level == format.rootLevel { rootChanged = true }
      if frames.addLive(parent, -1) > 0 { return }
    }
  }

  /// The first page of the range that is neither mapped nor held.
  func firstHole(position: UInt64, pages: UInt64) -> UInt64? {
    var path = InlineArray<5, UInt64>(repeating: 0)
    let end = position + pages &<< format.pageShift
    var here = position
    while here < end {
      let level = descend(here, path: &path)
      let shift = format.shifts[level]
      let count = entryCount(level: level)
      var index = format.index(here, level: level)
      // SAFETY: the table is ours, indices below its entries.
      let entries = unsafe frames.entries(path[level])
      while index < count, here < end {
        let raw = unsafe entries[index]
        if raw == 0 { return here }
        if level > 0, subtable(raw, level: level) != nil { break }
        here = (here &>> shift + 1) &<< shift
        index += 1
      }
    }
    return nil
  }

  /// The first page of the range that is mapped or held.
  func firstMapping(position: UInt64, pages: UInt64) -> Mapping? {
    let end = position + pages &<< format.pageShift
    var here = position
    while here < end {
      let (raw, level) = entry(at: here)
      let base = here & (.max &<< format.shifts[level])
      if raw != 0 { return mapping(base, raw, level: level) }
      here = base + 1 &<< format.shifts[level]
    }
    return nil
  }

  /// The entry at which the way to `position` ends, and its level.
  @inlinable @inline(__always) func entry(at position: UInt64) -> (raw: UInt64, level: Int) {
    var table = rootFrame.rawValue
    var level = format.rootLevel
    while true {
      // SAFETY: `table` is ours, the index within it.
      let raw = unsafe frames.entries(table)[format.index(position, level: level)]
      if level == 0 { return (raw, 0) }
      guard let next = subtable(raw, level: level) else { return (raw, level) }
      table = next
      level -= 1
    }
  }
}
