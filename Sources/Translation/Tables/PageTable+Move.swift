public import MemoryTypes

/// Moving entries to other addresses of the same space (Linux's `move_page_tables`).
extension PageTable {
  /// Moves what is mapped or held in a range to where nothing is, tables as wholes where both places allow it (`move_normal_pmd`,
  /// `move_normal_pud`); what moves by itself loses `removed`. No larger page reaches out of the range, nor is it cut where it goes. For
  /// spaces that keep tables: the range's stay, and the target has one, empty or not, wherever the range has.
  ///
  /// Throws `outOfMemory` where no frame is left for a table; what was moved by then has been moved back, as far as this shows what the
  /// entries lead to.
  ///
  /// - Complexity: O(entries of tables that do not move as wholes).
  public func move(
    _ range: PageRange, to target: VirtualAddress, removing removed: PageFlags, cpu: CPUID
  ) throws(MemoryError) -> FlushObligation {
    precondition(keepsTables, "a table without an entry would be lost")
    let from = try check(range)
    let to = try check(PageRange(target, pageCount: range.pageCount))
    let length = range.pageCount &<< format.pageShift
    var progress = Progress()
    do throws(MemoryError) {
      try move(from, to, length, removed, cpu, &progress)
    } catch {
      var back = Progress()
      // The tables are all there.
      try? move(to, from, progress.done, removed, cpu, &back)
      if rootChanged { syncFollowers() }
      throw error
    }
    if rootChanged { syncFollowers() }
    var obligation = FlushObligation(frames: frames, context: context, start: range.start)
    obligation.movesTables = progress.movedTable
    if progress.movedTable || progress.movedPage {
      obligation.cover(from: range.start, pageCount: range.pageCount, strideShift: 0)
    }
    return obligation
  }

  private struct Progress {
    /// In bytes.
    var done: UInt64 = 0
    /// Whether a page that CPUs may have cached was among what moved by itself, and whether a table moved.
    var movedPage = false
    var movedTable = false
  }

  private func move(
    _ source: UInt64, _ target: UInt64, _ length: UInt64, _ removed: PageFlags, _ cpu: CPUID, _ progress: inout Progress
  ) throws(MemoryError) {
    while progress.done < length {
      let (from, to, left) = (source + progress.done, target + progress.done, length - progress.done)
      var path = InlineArray<5, UInt64>(repeating: 0)
      let level = descend(from, path: &path)
      if let whole = try moveTable(from, to, left, path, lowest: level, cpu) {
        progress.done += whole
        progress.movedTable = true
        continue
      }
      // SAFETY: the table is ours, the index within it.
      let raw = unsafe frames.entries(path[level])[format.index(from, level: level)]
      let shift = format.shifts[level]
      if level > 0, raw == 0 {
        // Nothing is there, but the target has the tables above as well (`alloc_new_pud`).
        let size: UInt64 = 1 &<< shift
        var step = min(left, size - from & (size - 1))
        if level == 1, format.rootLevel > 1 {
          _ = try userTable(of: to, level: 2, cpu: cpu)
          step = min(step, size - to & (size - 1))
        }
        progress.done += step
        continue
      }
      let table = try userTable(of: to, level: level, cpu: cpu)
      // As far as both tables go.
      let (first, second) = (format.index(from, level: level), format.index(to, level: level))
      let count = min(Int(left &>> shift), entryCount(level: level) - max(first, second))
      precondition(count > 0, "a larger page that is cut")
      moveEntries(from: path[level], first, to: table, second, count: count, level: level, removed, &progress)
    }
  }

  /// Moves entries up to the first that leads to a table.
  private func moveEntries(
    from source: UInt64, _ first: Int, to target: UInt64, _ second: Int, count: Int, level: Int, _ removed: PageFlags,
    _ progress: inout Progress
  ) {
    // SAFETY: both tables are ours, with that many entries from there on.
    let (from, to) = unsafe (frames.entries(source) + first, frames.entries(target) + second)
    var moved = 0
    for index in 0..<count {
      let raw = unsafe from[index]
      if level > 0, raw == 0 || subtable(raw, level: level) != nil { break }
      progress.done += 1 &<< format.shifts[level]
      if raw == 0 { continue }
      assert(unsafe to[index] == 0)
      if raw & format.presentBit != 0 { progress.movedPage = true }
      let flags = format.flags(raw)
      let kept = flags.subtracting(removed)
      unsafe to[index] =
        kept == flags ? raw : format.leaf(format.leafAddress(raw, level: level), flags: kept, level: level)
      unsafe from[index] = 0
      moved += 1
    }
    frames.addLive(source, -moved)
    frames.addLive(target, moved)
    if level == format.rootLevel { rootChanged = true }
  }

  /// Moves the largest table that covers no more than what is left of the move, at both ends; answers how much it covers, nil where there is none.
  private func moveTable(
    _ from: UInt64, _ to: UInt64, _ left: UInt64, _ path: InlineArray<5, UInt64>, lowest: Int, _ cpu: CPUID
  ) throws(MemoryError) -> UInt64? {
    // Tables are moved by entries of level 1 and 2, where a table has such entries.
    for level in [2, 1] where level <= format.rootLevel && level > lowest {
      let size: UInt64 = 1 &<< format.shifts[level]
      guard (from | to) & (size - 1) == 0, left >= size else { continue }
      let upper = try userTable(of: to, level: level, cpu: cpu)
      // SAFETY: both tables are ours, the indices within them.
      let source = unsafe frames.entries(path[level]) + format.index(from, level: level)
      let target = unsafe frames.entries(upper) + format.index(to, level: level)
      guard unsafe target.pointee == 0 else { continue }
      unsafe (target.pointee, source.pointee) = unsafe (source.pointee, 0)
      frames.addLive(path[level], -1)
      frames.addLive(upper, 1)
      forgetLeafTable()
      if level == format.rootLevel { rootChanged = true }
      return size
    }
    return nil
  }

  /// The table of `level` on the way to `position`, for users' pages; what is missing is made. Throws `outOfMemory`.
  func userTable(of position: UInt64, level: Int, cpu: CPUID) throws(MemoryError) -> UInt64 {
    var needsUser = false
    let table = try makeTables(position: position, to: level, flags: .user, cpu: cpu, needsUser: &needsUser)
    if needsUser { admitUsers(position: position, pages: 1) }
    return table
  }
}
