public import MemoryTypes

/// What tables that are to go may cover: nothing that somebody else still needs them for.
public struct TableBounds: Sendable {
  /// Where what lies before ends.
  public var floor: VirtualAddress
  /// Where what lies behind begins; .max for nothing.
  public var ceiling: VirtualAddress
  public init(floor: VirtualAddress, ceiling: VirtualAddress) {
    self.floor = floor
    self.ceiling = ceiling
  }
}

/// Tables that are kept without an entry (`keepsTables`), until nothing is left that they could be needed for.
extension PageTable {
  /// Gives back the empty tables on the ways to a range of which all lies within `bounds` (`free_pgd_range`). Throws what `check` of a range
  /// throws.
  ///
  /// - Complexity: O(tables on the ways).
  public func freeTables(of range: PageRange, within bounds: TableBounds) throws(MemoryError) -> FlushObligation {
    let first = try check(range)
    var obligation = FlushObligation(frames: frames, context: context, start: range.start)
    freeTables(position: first, pages: range.pageCount, within: bounds, into: &obligation)
    if obligation.freesTables {
      obligation.cover(
        from: range.start, pageCount: range.pageCount, strideShift: format.shifts[1] - format.pageShift)
    }
    if rootChanged { syncFollowers() }
    return obligation
  }

  func freeTables(position: UInt64, pages: UInt64, within bounds: TableBounds, into obligation: inout FlushObligation) {
    let last = position + (pages &<< format.pageShift - 1)
    freeTables(below: rootFrame.rawValue, level: format.rootLevel, from: position, through: last, bounds, &obligation)
  }

  private func freeTables(
    below table: UInt64, level: Int, from first: UInt64, through last: UInt64, _ bounds: TableBounds,
    _ obligation: inout FlushObligation
  ) {
    if level == 0 { return }
    let shift = format.shifts[level]
    // SAFETY: `table` is ours, the indices within it.
    let entries = unsafe frames.entries(table)
    var freed = 0
    for number in first &>> shift...last &>> shift {
      let start = number &<< shift
      let end = start + (1 &<< shift - 1)
      let index = format.index(start, level: level)
      guard let next = subtable(unsafe entries[index], level: level) else { continue }
      freeTables(below: next, level: level - 1, from: max(first, start), through: min(last, end), bounds, &obligation)
      guard start >= bounds.floor.rawValue, end < bounds.ceiling.rawValue, frames.live(next) == 0 else { continue }
      unsafe entries[index] = 0
      obligation.keep(table: next)
      freed += 1
    }
    if freed == 0 { return }
    forgetLeafTable()
    tableCount -= freed
    frames.addLive(table, -freed)
    if level == format.rootLevel { rootChanged = true }
  }

  /// Whether there is a table of base pages for an address, with no entry.
  public func hasEmptyLeafTable(of address: VirtualAddress) -> Bool {
    var path = InlineArray<5, UInt64>(repeating: 0)
    return descend(format.position(address), path: &path) == 0 && frames.live(path[0]) == 0
  }

  /// Takes the table of base pages for an address, which is empty, out of the one above it, and gives it back (`collapse_and_free_pmd`).
  /// Without effect where there is none.
  public func freeLeafTable(of address: VirtualAddress) -> FlushObligation {
    var obligation = FlushObligation(frames: frames, context: context, start: address)
    if let table = unlinkLeafTable(of: address, &obligation) {
      obligation.keep(table: table)
      tableCount -= 1
    }
    return obligation
  }

  /// Puts the table of base pages for an address, which is empty, aside for a larger page in its place (`collapse_huge_page`). Without effect
  /// where there is none.
  public func depositLeafTable(of address: VirtualAddress) -> FlushObligation {
    var obligation = FlushObligation(frames: frames, context: context, start: address)
    if let table = unlinkLeafTable(of: address, &obligation) {
      spareTables.append(table)
      obligation.movesTables = true
    }
    return obligation
  }

  private func unlinkLeafTable(of address: VirtualAddress, _ obligation: inout FlushObligation) -> UInt64? {
    let position = format.position(address)
    var path = InlineArray<5, UInt64>(repeating: 0)
    guard descend(position, path: &path) == 0, frames.live(path[0]) == 0 else { return nil }
    // SAFETY: the table is ours, the index within it.
    unsafe frames.entries(path[1])[format.index(position, level: 1)] = 0
    frames.addLive(path[1], -1)
    if format.rootLevel == 1 { rootChanged = true }
    forgetLeafTable()
    let start = position & (.max &<< format.shifts[1])
    obligation.cover(
      from: self.address(start), pageCount: format.basePages(level: 1), strideShift: format.shifts[1] - format.pageShift
    )
    return path[0]
  }
}
