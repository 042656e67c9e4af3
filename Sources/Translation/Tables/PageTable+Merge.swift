public import MemoryTypes

extension PageTable {
  /// Merges tables that touch the range into one larger page each, wherever all their pages follow one another in memory,
  /// are aligned, and have the same flags; a page that results is accessed or dirty if one of them was.
  ///
  /// Throws what `check` of a range throws.
  public func merge(_ range: PageRange) throws(MemoryError) -> FlushObligation {
    let first = try check(range)
    var obligation = FlushObligation(frames: frames, context: context, start: range.start)
    merge(position: first, pages: range.pageCount, into: &obligation)
    if rootChanged { syncFollowers() }
    return obligation
  }

  /// Widens the obligation to the pages that were merged: their tables are gone, and with them what CPUs know of those.
  func merge(position: UInt64, pages: UInt64, into obligation: inout FlushObligation) {
    var from = position
    var to = position + pages &<< format.pageShift
    var merged = false
    for level in 1..<format.levels where format.hasLeaves(level: level) {
      let size = format.pageSize(level: level).rawValue
      var here = position & ~(size - 1)
      let end = position + pages &<< format.pageShift
      while here < end {
        var path = InlineArray<5, UInt64>(repeating: 0)
        let reached = descend(here, path: &path)
        if reached < level, path[level] != 0, let leaf = mergedLeaf(of: path[level - 1], level: level) {
          // SAFETY: the table is ours, the index within it.
          unsafe frames.entries(path[level])[format.index(here, level: level)] = leaf
          if level == format.rootLevel { rootChanged = true }
          obligation.keep(table: path[level - 1])
          forgetLeafTable()
          tableCount -= 1
          from = min(from, here)
          to = max(to, here + size)
          merged = true
        }
        let skip = max(reached, level)
        here = (here &>> format.shifts[skip] + 1) &<< format.shifts[skip]
      }
    }
    if merged { obligation.cover(from: address(from), pageCount: (to - from) &>> format.pageShift, strideShift: 0) }
  }

  /// The leaf of `level` that says what all entries of the table below it say: nil where there is none.
  private func mergedLeaf(of table: UInt64, level: Int) -> UInt64? {
    let lower = level - 1
    let count = entryCount(level: lower)
    if frames.live(table) != count { return nil }
    // SAFETY: the table is ours and has `count` entries.
    let entries = unsafe frames.entries(table)
    let first = unsafe entries[0]
    let kind = format.kind(first, level: lower)
    guard kind == .leaf || kind == .held else { return nil }
    let start = format.leafAddress(first, level: lower)
    guard start.rawValue & (1 &<< format.shifts[level] - 1) == 0 else { return nil }
    let mask = format.leafAddressMasks[lower]
    let step = (UInt64(1) &<< format.shifts[lower]) &>> format.addressShift
    let used: PageFlags = [.accessed, .dirty]
    let flags = format.flags(first)
    var union = flags
    var expected = first & mask
    var known = first & ~mask
    for i in 0..<count {
      let raw = unsafe entries[i]
      if raw & mask != expected { return nil }
      if raw & ~mask != known {
        guard format.kind(raw, level: lower) == kind else { return nil }
        let others = format.flags(raw)
        guard others.subtracting(used) == flags.subtracting(used) else { return nil }
        union.formUnion(others)
        known = raw & ~mask
      }
      expected += step
    }
    return format.leaf(start, flags: union, level: level)
  }
}
