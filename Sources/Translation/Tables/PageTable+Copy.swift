public import MemoryTypes

/// Copying entries into another space's table, a table of base pages at a time (Linux's `copy_pte_range`).
extension PageTable {
  /// Copies the base pages of a range that lies within one table, to the same addresses of `copy`, where nothing is mapped there.
  ///
  /// Entries lose `removed` both here and in the copy, and there `forgotten` as well; permissions are not looked at. `body` is called for each
  /// with its frame and its flags as they were, once nothing can fail any more. Answers whether an entry changed that a TLB may hold: the
  /// caller has the range flushed. Throws `outOfMemory` where there is no frame for the copy's table, and has copied nothing then; frames of
  /// its own that the search for one took out of the range are not copied.
  ///
  /// - Complexity: O(pages in the range).
  @inlinable
  public func copyBasePages(
    _ range: PageRange, to copy: PageTable, removing removed: PageFlags, forgetting forgotten: PageFlags, cpu: CPUID,
    _ body: (FrameNumber, PageFlags) -> Void
  ) throws(MemoryError) -> Bool {
    let start = range.start.rawValue
    if !hasLeafTable(of: start) { return false }
    precondition(start &>> tableShift == (start &+ (range.pageCount - 1) &<< pageShift) &>> tableShift)
    try copy.openLeafTable(of: range.start, cpu: cpu)
    // What had to be reclaimed for the table may have been this one.
    guard hasLeafTable(of: start), copy.hasLeafTable(of: start) else {
      copy.pruneLeafTable(of: range.start, cpu: cpu)
      return false
    }
    let first = Int(truncatingIfNeeded: start &>> pageShift & entryMask)
    // SAFETY: see `LeafTable`; the range lies within the table.
    let (made, hasChanged) = unsafe copyEntries(
      lastLeafTable.pointee.entries + first, to: copy.lastLeafTable.pointee.entries + first,
      count: Int(truncatingIfNeeded: range.pageCount), removing: removed, forgetting: forgotten, body)
    copy.countInLeafTable(made)
    if made == 0 { copy.pruneLeafTable(of: range.start, cpu: cpu) }
    return hasChanged
  }

  /// Copies entries of base pages, absent ones too. Answers how many are there, and whether one changed that a TLB may hold.
  /// SAFETY: `count` entries from both places on.
  @unsafe @inlinable @inline(__always)
  func copyEntries(
    _ from: UnsafeMutablePointer<UInt64>, to: UnsafeMutablePointer<UInt64>, count: Int, removing removed: PageFlags,
    forgetting forgotten: PageFlags, _ body: (FrameNumber, PageFlags) -> Void
  ) -> (made: Int, hasChanged: Bool) {
    let mask = format.leafAddressMasks[0]
    var known: UInt64 = 0
    var (flags, kept, copied): (PageFlags, UInt64, UInt64) = ([], 0, 0)
    var made = 0
    var hasChanged = false
    for index in 0..<count {
      let raw = unsafe from[index]
      if raw == 0 {
        unsafe to[index] = 0
        continue
      }
      // Neighbours mostly have the same flags: what they become is worked out once.
      let bits = raw & ~mask
      if bits != known || made == 0 {
        known = bits
        flags = format.flags(bits)
        kept = format.leaf(PhysicalAddress(0), flags: flags.subtracting(removed), level: 0)
        copied = format.leaf(PhysicalAddress(0), flags: flags.subtracting(removed.union(forgotten)), level: 0)
      }
      body(FrameNumber(format.leafAddress(raw, level: 0).rawValue &>> pageShift), flags)
      if kept != bits {
        unsafe from[index] = raw & mask | kept
        if bits & presentBit != 0 { hasChanged = true }
      }
      unsafe to[index] = raw & mask | copied
      made &+= 1
    }
    return (made, hasChanged)
  }

  /// What a change that `copyBasePages` has made asks for: the flush of a range of base pages.
  public func flushObligation(_ range: PageRange) -> FlushObligation {
    FlushObligation(frames: frames, context: context, start: range.start, pageCount: range.pageCount)
  }

  /// Makes those tables of `copy` that this has on the ways to a range, down to the one with entries of level `lowest` (`copy_page_range`).
  /// Throws `outOfMemory`; tables that were made by then stay where `copy` keeps empty ones.
  ///
  /// - Complexity: O(tables).
  public func copyTables(of range: PageRange, to copy: PageTable, lowest: Int, cpu: CPUID) throws(MemoryError) {
    var position = try check(range)
    let end = position + range.pageCount &<< pageShift
    while position < end {
      let ending = endLevel(at: address(position))
      if ending < format.rootLevel { _ = try copy.userTable(of: position, level: max(ending, lowest), cpu: cpu) }
      // All of the lowest table is done, of one above it the entry at which the way ends.
      let next = format.shifts[ending <= lowest && lowest < format.rootLevel ? lowest + 1 : ending]
      position = (position &>> next + 1) &<< next
    }
    if copy.rootChanged { copy.syncFollowers() }
  }

  /// Makes the tables on the way to a user's page, and remembers the last.
  @usableFromInline func openLeafTable(of page: VirtualAddress, cpu: CPUID) throws(MemoryError) {
    if hasLeafTable(of: page.rawValue) { return }
    let position = try check(PageRange(page))
    do throws(MemoryError) {
      _ = try userTable(of: position, level: 0, cpu: cpu)
    } catch {
      prune(position: position, cpu: cpu)
      throw error
    }
    if rootChanged { syncFollowers() }
  }

  /// Gives the table of base pages back again where it is empty.
  @usableFromInline func pruneLeafTable(of page: VirtualAddress, cpu: CPUID) {
    prune(position: format.position(page), cpu: cpu)
    if rootChanged { syncFollowers() }
  }
}

/// A table of base pages that a copy of a space is to have: its frame is taken, but nothing is in it, and nothing leads to it yet.
public struct DeferredTable: Sendable {
  /// The first address that it is for.
  public let start: VirtualAddress
  /// .max before it has one, and once the table was taken.
  fileprivate var frame: UInt64

  /// The table, for whoever asks first.
  public mutating func take() -> DeferredTable? {
    if frame == .max { return nil }
    defer { frame = .max }
    return self
  }
}

/// Copies of tables of base pages that are put off until somebody looks (J. Zhao et al., "On-demand-fork", EuroSys 2021). Frames are taken
/// as they would be by `copyBasePages`, so that nobody can tell by them.
extension PageTable {
  /// log2 of the bytes that a table of base pages covers.
  public var leafTableShift: UInt64 { tableShift }

  /// Takes frames for tables of `copy` wherever this one has a table of base pages in the range, which begins and ends where such tables do;
  /// what `copy` has to have above them is made at once. Throws `outOfMemory`; `tables` has those that were taken, then too.
  ///
  /// - Complexity: O(tables).
  public func deferCopies(
    of range: PageRange, to copy: PageTable, cpu: CPUID, into tables: inout [DeferredTable]
  ) throws(MemoryError) {
    var position = format.position(range.start)
    let end = position + range.pageCount &<< pageShift
    while position < end {
      // A table of level 1 at a time.
      let next = format.rootLevel > 1 ? min(end, (position &>> format.shifts[2] + 1) &<< format.shifts[2]) : end
      let before = tables.count
      noteLeafTables(from: position, to: next, in: &tables)
      if tables.count > before { try copy.takeFrames(for: &tables, from: before, cpu: cpu) }
      position = next
    }
  }

  /// Makes what has to be above tables that are to come, all below one table of level 1, and takes their frames. Those that get none are
  /// dropped when it throws.
  private func takeFrames(for tables: inout [DeferredTable], from first: Int, cpu: CPUID) throws(MemoryError) {
    var next = first
    defer { tables.removeSubrange(next...) }
    let position = format.position(tables[first].start)
    let upper = try userTable(of: position, level: 1, cpu: cpu)
    if rootChanged { syncFollowers() }
    // The entries that there will be keep the table above them, from now on: the search for a frame may give back others.
    let wanted = tables.count
    frames.addLive(upper, wanted - first)
    defer { frames.addLive(upper, next - wanted) }
    var taken = InlineArray<64, FrameNumber>(repeating: FrameNumber(0))
    while next < tables.count {
      let most = min(taken.count, tables.count - next)
      var span = taken.mutableSpan
      let count = try unsafe span.withUnsafeMutableBufferPointer { (buffer) throws(MemoryError) in
        try unsafe frames.allocate(owner: space, cpu: cpu, into: UnsafeMutableBufferPointer(rebasing: buffer[..<most]))
      }
      for place in 0..<count { tables[next &+ place].frame = taken[place].rawValue }
      tableCount += count
      next += count
    }
  }

  /// Notes the tables of base pages in a range of positions below one table of level 1, without frames for their copies.
  private func noteLeafTables(from start: UInt64, to end: UInt64, in tables: inout [DeferredTable]) {
    var path = InlineArray<5, UInt64>(repeating: 0)
    guard descend(start, path: &path) <= 1 else { return }
    tables.reserveCapacity(tables.count + Int((end - start) &>> tableShift))
    // SAFETY: the table is ours, the indices within it.
    let entries = unsafe frames.entries(path[1]) + format.index(start, level: 1)
    for index in 0..<(end - start) &>> tableShift where unsafe subtable(entries[Int(index)], level: 1) != nil {
      tables.append(DeferredTable(start: address(start &+ index &<< tableShift), frame: .max))
    }
  }

  /// Makes a copy that was put off: the parts of `copyBasePages` that are about entries. `body` is called for each. For spaces that keep tables.
  public func copyDeferred(
    _ table: DeferredTable, to copy: PageTable, removing removed: PageFlags, forgetting forgotten: PageFlags,
    _ body: (FrameNumber, PageFlags) -> Void
  ) {
    precondition(hasLeafTable(of: table.start.rawValue), "a table that was to be copied has gone")
    // SAFETY: see `LeafTable`; both tables are whole.
    let (made, _) = unsafe copyEntries(
      lastLeafTable.pointee.entries, to: frames.entries(table.frame), count: Int(entryMask) + 1, removing: removed,
      forgetting: forgotten, body)
    frames.addLive(table.frame, made)
    let (upper, entry) = unsafe copy.parentEntry(of: table)
    assert(unsafe frames.isTable(upper) && entry.pointee == 0)
    unsafe entry.pointee = copy.tableEntry(table.frame, level: 1, user: true)
  }

  /// The table above one that was put off, and the entry that will lead to it.
  private func parentEntry(of table: DeferredTable) -> (upper: UInt64, entry: UnsafeMutablePointer<UInt64>) {
    var path = InlineArray<5, UInt64>(repeating: 0)
    let position = format.position(table.start)
    guard descend(position, path: &path) == 1 else { preconditionFailure("a table that was put off has one above") }
    // SAFETY: the table is ours, the index within it.
    return unsafe (path[1], frames.entries(path[1]) + format.index(position, level: 1))
  }
}
