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
    let mask = format.leafAddressMasks[0]
    let first = Int(truncatingIfNeeded: start &>> pageShift & entryMask)
    // SAFETY: see `LeafTable`; the range lies within the table.
    let from = unsafe lastLeafTable.pointee.entries
    let to = unsafe copy.lastLeafTable.pointee.entries
    var known: UInt64 = 0
    var (flags, kept, copied): (PageFlags, UInt64, UInt64) = ([], 0, 0)
    var made = 0
    var hasChanged = false
    for index in first..<first + Int(truncatingIfNeeded: range.pageCount) {
      let raw = unsafe from[index]
      if raw == 0 { continue }
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
    copy.countInLeafTable(made)
    if made == 0 { copy.pruneLeafTable(of: range.start, cpu: cpu) }
    return hasChanged
  }

  /// What a change that `copyBasePages` has made asks for: the flush of a range of base pages.
  public func flushObligation(_ range: PageRange) -> FlushObligation {
    FlushObligation(frames: frames, context: context, start: range.start, pageCount: range.pageCount)
  }

  /// Makes the tables on the way to a user's page, and remembers the last.
  @usableFromInline func openLeafTable(of page: VirtualAddress, cpu: CPUID) throws(MemoryError) {
    if hasLeafTable(of: page.rawValue) { return }
    let position = try check(PageRange(page))
    var needsUser = false
    do throws(MemoryError) {
      _ = try makeTables(position: position, to: 0, flags: .user, cpu: cpu, needsUser: &needsUser)
    } catch {
      prune(position: position, cpu: cpu)
      throw error
    }
    if needsUser { admitUsers(position: position, pages: 1) }
    if rootChanged { syncFollowers() }
  }

  /// Gives the table of base pages back again where it is empty.
  @usableFromInline func pruneLeafTable(of page: VirtualAddress, cpu: CPUID) {
    prune(position: format.position(page), cpu: cpu)
    if rootChanged { syncFollowers() }
  }
}
