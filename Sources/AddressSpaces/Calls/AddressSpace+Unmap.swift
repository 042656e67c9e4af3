internal import MemoryTypes
internal import Translation

/// munmap(2) (mm/mmap.c: `do_mas_munmap`, `do_mas_align_munmap`).
extension AddressSpace {
  func unmap(_ start: UInt64, _ length: UInt64) throws(CallError) {
    if !isAligned(start) || start > layout.userEnd || length > layout.userEnd - start { throw .invalid }
    let end = start &+ roundedUp(length)
    if end == start { throw .invalid }
    try unmapAligned(start, end)
  }

  /// Takes away every area in `start ..< end`, cutting the first and the last where they reach out of it.
  func unmapAligned(_ start: UInt64, _ end: UInt64) throws(CallError) {
    guard var area = areas.first(overlapping: start, end) else { return }
    areasChanged()
    if start > area.start {
      if end < area.end, areas.count >= memory.limits.mapCount { throw .outOfMemory }
      area = try split(area, at: start, newBelow: false)
    }
    var doomed: [Area] = []
    var next: Area? = area
    while let found = next, found.start < end {
      if found.end > end {
        doomed.append(try split(found, at: end, newBelow: true))
        break
      }
      doomed.append(found)
      next = areas.after(found)
    }
    for area in doomed { areas.remove(area) }
    var uncommitted: UInt64 = 0
    let bounds = tableBounds(around: start, end)
    for area in doomed {
      let count = pages(area)
      zap(area, area.start, area.end, freeingTablesWithin: bounds)
      if area.flags.contains(.locked) { counts.locked -= count }
      if area.flags.contains(.accounted) { uncommitted += count }
      account(area.flags, pages: -Int64(count))
      release(area)
    }
    memory.uncommit(pages: uncommitted)
  }

  /// What tables may cover that go with a range in which there are no areas any more (`free_pgtables`).
  func tableBounds(around start: UInt64, _ end: UInt64) -> TableBounds {
    TableBounds(
      floor: VirtualAddress(areas.last(endingAtOrBelow: start)?.end ?? 0),
      ceiling: VirtualAddress(areas.first(endingAbove: end)?.start ?? .max))
  }
}
