public import MemoryTypes

/// Pages that follow one another with the same flags at the same level, or a gap: what a line of ptdump is made of.
public struct MappingRun: Hashable, Sendable {
  public var start: VirtualAddress
  /// In base pages of the format.
  public var pageCount: UInt64
  /// The level of the pages' entries; of a gap, the level at which walks end.
  public var level: Int
  /// What is left after the tables on the way; empty in a gap, without `present` where frames are held.
  public var flags: PageFlags
  /// Whether nothing is mapped or held here.
  public var isGap: Bool
}

/// An entry at which walks end, empty ones included: what ptdump reads.
@frozen public struct TableEntry: Hashable, Sendable {
  /// The first address that it covers.
  public var address: VirtualAddress
  public var level: Int
  public var raw: UInt64
  /// What the tables on the way leave of its flags; empty where it is.
  public var effective: PageFlags
  @inlinable public init(address: VirtualAddress, level: Int, raw: UInt64, effective: PageFlags) {
    self.address = address
    self.level = level
    self.raw = raw
    self.effective = effective
  }
}

extension PageTable {
  /// Shows every entry at which walks for this table's own half end, ascending.
  ///
  /// - Complexity: O(entries of the tables in use).
  public func forEachEntry(_ body: (TableEntry) -> Void) {
    let half = isKernel ? format.layout.kernel : format.layout.user
    let pages = (half.last.rawValue - half.first.rawValue) &>> format.pageShift + 1
    scan(position: format.position(half.first), pages: pages) { position, raw, level, effective in
      body(TableEntry(address: address(position), level: level, raw: raw, effective: effective))
      return true
    }
  }

  /// Shows every entry of the range that maps or holds a page, ascending; `body` returns whether to go on. A page that
  /// begins before the range is shown whole. `effective` is what the tables on the way leave of the flags.
  ///
  /// - Complexity: O(entries in use), not O(pages): a gap costs one entry of the level at which it ends.
  public func forEachMapping(
    in range: PageRange, _ body: (_ mapping: Mapping, _ effective: PageFlags) -> Bool
  ) throws(MemoryError) {
    let first = try check(range)
    scan(position: first, pages: range.pageCount) { position, raw, level, effective in
      if raw == 0 { return true }
      return body(mapping(position & (.max &<< format.shifts[level]), raw, level: level), effective)
    }
  }

  /// Shows the range as runs, gaps included, ascending: `body` returns whether to go on.
  public func forEachRun(in range: PageRange, _ body: (MappingRun) -> Bool) throws(MemoryError) {
    let first = try check(range)
    var run: MappingRun?
    var goesOn = true
    let end = first + range.pageCount &<< format.pageShift
    scan(position: first, pages: range.pageCount) { position, raw, level, effective in
      let next = min(end, (position &>> format.shifts[level] + 1) &<< format.shifts[level])
      let pages = (next - position) &>> format.pageShift
      if let last = run, last.level == level, last.flags == effective, last.isGap == (raw == 0) {
        run?.pageCount = last.pageCount + pages
        return true
      }
      if let last = run { goesOn = body(last) }
      run = MappingRun(start: address(position), pageCount: pages, level: level, flags: effective, isGap: raw == 0)
      return goesOn
    }
    if goesOn, let run { _ = body(run) }
  }

  /// Every entry at which walks for the range's positions end, with what the tables on the way leave of its flags.
  private func scan(
    position: UInt64, pages: UInt64,
    _ body: (_ position: UInt64, _ raw: UInt64, _ level: Int, _ effective: PageFlags) -> Bool
  ) {
    var path = InlineArray<5, UInt64>(repeating: 0)
    var here = position
    let end = position + pages &<< format.pageShift
    while here < end {
      let level = descend(here, path: &path)
      let shift = format.shifts[level]
      let count = entryCount(level: level)
      var index = format.index(here, level: level)
      var allowed: PageFlags = PageFlags(rawValue: .max)
      var allowedUser = allowed
      for upper in stride(from: format.rootLevel, to: level, by: -1) {
        // SAFETY: the tables of the path are ours.
        let raw = unsafe frames.entries(path[upper])[format.index(here, level: upper)]
        allowedUser = format.restrict(allowedUser, by: raw, level: upper)
        allowed = format.restrict(allowed.subtracting(.user), by: raw, level: upper)
      }
      // SAFETY: the table is ours, indices below its entries.
      let entries = unsafe frames.entries(path[level])
      while index < count, here < end {
        let raw = unsafe entries[index]
        if raw != 0, level > 0, subtable(raw, level: level) != nil { break }
        var flags: PageFlags = raw == 0 ? [] : format.flags(raw)
        flags.formIntersection(flags.contains(.user) ? allowedUser : allowed)
        if !body(here, raw, level, flags) { return }
        here = (here &>> shift + 1) &<< shift
        index += 1
      }
    }
  }
}
