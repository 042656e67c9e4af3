import MemoryTypes

extension PageTable {
  /// Splits the larger pages that either end of the range cuts, so that every entry lies in it whole or not at all.
  ///
  /// The pages' translations and flags stay as they are, so that nothing need be flushed for it. Throws `outOfMemory`
  /// and has changed nothing then.
  func splitEdges(position: UInt64, pages: UInt64) throws(MemoryError) {
    let undo = try split(at: position)
    do throws(MemoryError) {
      _ = try split(at: position + pages &<< format.pageShift)
    } catch {
      if let undo { unsplit(at: position, undo) }
      throw error
    }
  }

  /// A leaf as it was before it was split.
  struct SplitLeaf {
    var level: Int
    var raw: UInt64
  }

  /// Splits the page that has `position` inside it, down to the level at which it is an edge.
  private func split(at position: UInt64) throws(MemoryError) -> SplitLeaf? {
    // behind the last page of a space there is nothing to split
    if position >> format.addressBits != 0 { return nil }
    var top: SplitLeaf?
    while true {
      var path = InlineArray<5, UInt64>(repeating: 0)
      let level = descend(position, path: &path)
      // SAFETY: the table is ours, the index within it.
      let entry = unsafe frames.entries(path[level]) + format.index(position, level: level)
      let raw = unsafe entry.pointee
      let kind = format.kind(raw, level: level)
      guard level > 0, position & (1 &<< format.shifts[level] - 1) != 0, kind == .leaf || kind == .held else {
        return top
      }
      do throws(MemoryError) {
        let table = try frames.allocate(owner: space, cpu: cpu, isCounted: isCounted(level: level - 1))
        fillSplit(table, from: raw, level: level)
        tableCount += 1
        unsafe entry.pointee = tableEntry(table, level: level, user: raw & format.userBit != 0)
        if level == format.rootLevel { rootChanged = true }
      } catch {
        if let top { unsplit(at: position, top) }
        throw error
      }
      if top == nil { top = SplitLeaf(level: level, raw: raw) }
    }
  }

  /// The same pages, in entries of the next lower level that has leaves at all (each level below one with leaves has).
  func fillSplit(_ table: UInt64, from raw: UInt64, level: Int) {
    let lower = level - 1
    let present = raw & format.presentBit != 0
    var entry = raw & format.leafAddressMasks[level]
    entry |= raw & ~(format.leafAddressMasks[level] | format.leafBits[level])
    entry |= present ? format.leafBits[lower] : format.leafBits[lower] & ~format.presentBit
    let step = (UInt64(1) &<< format.shifts[lower]) &>> format.addressShift
    let count = entryCount(level: lower)
    // SAFETY: a fresh table of ours with `count` entries.
    let entries = unsafe frames.entries(table)
    for i in 0..<count {
      unsafe entries[i] = entry
      entry += step
    }
    frames.addLive(table, count)
  }

  /// Puts the leaf back and gives the tables of the split back, of which each level has one on the way to `position`.
  private func unsplit(at position: UInt64, _ leaf: SplitLeaf) {
    var path = InlineArray<5, UInt64>(repeating: 0)
    let lowest = descend(position, path: &path)
    // SAFETY: the table is ours, the index within it.
    unsafe frames.entries(path[leaf.level])[format.index(position, level: leaf.level)] = leaf.raw
    forgetLeafTable()
    for level in lowest..<leaf.level {
      frames.free(path[level], cpu: cpu)
      tableCount -= 1
    }
  }
}
