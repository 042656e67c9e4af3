internal import MemoryTypes
internal import Translation

/// Splitting and merging areas, decided as Linux 6.1 decides (mm/mmap.c: `__vma_adjust`, `vma_merge`, `__split_vma`, `vma_expand`), since
/// `maps` shows the outcome.
extension AddressSpace {
  // MARK: Conditions

  private func isMergeable(_ area: Area, file: MemoryFile?, flags: AreaFlags) -> Bool {
    // VM_SOFTDIRTY does not count.
    area.flags.symmetricDifference(flags).subtracting(.softDirty).isEmpty && area.file === file
      && area.flags.isDisjoint(with: [.hugeTLB, .frameMap])  // hugetlb_vm_ops has a close operation; VM_SPECIAL
  }

  /// `is_mergeable_anon_vma`. `area` is the one that would grow; nil where both sides already may.
  private func isMergeable(_ a: AnonymousGroup?, _ b: AnonymousGroup?, growing area: Area?) -> Bool {
    if a == nil || b == nil, area?.links.isSingular ?? true { return true }
    return a === b
  }

  func canMergeBefore(_ area: Area, flags: AreaFlags, group: AnonymousGroup?, file: MemoryFile?, pageOffset: UInt64)
    -> Bool
  {
    isMergeable(area, file: file, flags: flags) && isMergeable(group, area.links.group, growing: area)
      && area.pageOffset == pageOffset
  }

  func canMergeAfter(_ area: Area, flags: AreaFlags, group: AnonymousGroup?, file: MemoryFile?, pageOffset: UInt64)
    -> Bool
  {
    isMergeable(area, file: file, flags: flags) && isMergeable(group, area.links.group, growing: area)
      && area.pageOffset &+ pages(area) == pageOffset
  }

  // MARK: Merging

  /// Grows a neighbour over `start ..< end`, where one has the same rights, policy, file and group, and answers the area that now holds
  /// the range; nil where none may (`vma_merge`). `previous` is the area that ends at or below `start`, or holds it.
  func merge(
    _ previous: Area?, _ start: UInt64, _ end: UInt64, flags: AreaFlags, group: AnonymousGroup?, file: MemoryFile?,
    pageOffset: UInt64,
    policy: MemoryPolicy?
  ) -> Area? {
    let length = (end - start) >> pageShift
    let middle = areas.first(endingAbove: previous?.end ?? 0)
    var next = middle
    if let area = middle, area.end == end { next = areas.after(area) }

    var mergesPrevious = false
    var mergesNext = false
    if let previous, previous.end == start, previous.policy == policy,
      canMergeAfter(previous, flags: flags, group: group, file: file, pageOffset: pageOffset)
    {
      mergesPrevious = true
    }
    if let next, next.start == end, next.policy == policy,
      canMergeBefore(next, flags: flags, group: group, file: file, pageOffset: pageOffset &+ length)
    {
      mergesNext = true
    }
    if mergesPrevious, mergesNext, let previous, let next,
      isMergeable(previous.links.group, next.links.group, growing: nil)
    {
      adjust(previous, previous.start, next.end, previous.pageOffset, growing: previous)
      return previous
    }
    if mergesPrevious, let previous {
      adjust(previous, previous.start, end, previous.pageOffset, growing: previous)
      return previous
    }
    if mergesNext, let next {
      if let previous, start < previous.end {
        adjust(previous, previous.start, start, previous.pageOffset, growing: next)
      } else {
        adjust(middle!, start, next.end, next.pageOffset &- length, growing: next)
      }
      return next
    }
    return nil
  }

  /// `__vma_adjust` without an area to insert: gives `area` the bounds `start ..< end`, removing or cutting the neighbours it grows over.
  private func adjust(_ area: Area, _ start: UInt64, _ end: UInt64, _ pageOffset: UInt64, growing: Area) {
    areasChanged()
    splitEntry(cutBy: start)
    splitEntry(cutBy: end)
    var area = area
    guard var next = areas.first(endingAbove: area.end) else {
      areas.resize(area, start: start, end: end)
      area.pageOffset = pageOffset
      return
    }
    var removed: [Area] = []
    var shiftNext: Int64 = 0
    var exporter: Area?
    var importer: Area?
    if end >= next.end {
      if next === growing {
        // Case 8: `area` goes, and the one behind it grows downwards in its stead.
        swap(&area, &next)
        removed = [next]
        exporter = next
      } else {
        removed = [next]
        exporter = next
        if end > next.end, let second = areas.after(next) {
          removed.append(second)
          if next.links.group == nil { exporter = second }
        }
      }
      importer = area
    } else if end > next.start {
      shiftNext = Int64(end - next.start)
      exporter = next
      importer = area
    } else if end < area.end {
      shiftNext = -Int64(area.end - end)
      exporter = area
      importer = next
    }
    if let exporter, let importer, exporter.links.group != nil, importer.links.group == nil {
      importer.links.importGroup(of: exporter.links, for: importer)
    }
    for gone in removed { areas.remove(gone) }
    if shiftNext > 0 {
      areas.resize(next, start: next.start &+ UInt64(shiftNext), end: next.end)
      next.pageOffset &+= UInt64(shiftNext) >> pageShift
    }
    areas.resize(area, start: start, end: end)
    area.pageOffset = pageOffset
    if shiftNext < 0 {
      let bytes = UInt64(-shiftNext)
      areas.resize(next, start: next.start &- bytes, end: next.end)
      next.pageOffset &-= bytes >> pageShift
    }
    for gone in removed { release(gone) }
  }

  /// Grows `area` to `start ..< end`, over `next` where it ends with it (`vma_expand`).
  func expand(_ area: Area, _ start: UInt64, _ end: UInt64, _ pageOffset: UInt64, next: Area?) {
    areasChanged()
    splitEntry(cutBy: start)
    splitEntry(cutBy: end)
    var swallowed: Area?
    if let next, next !== area, end == next.end {
      swallowed = next
      if next.links.group != nil, area.links.group == nil { area.links.importGroup(of: next.links, for: area) }
      areas.remove(next)
    }
    areas.resize(area, start: start, end: end)
    area.pageOffset = pageOffset
    if let swallowed { release(swallowed) }
  }

  /// Drops what an area that left the index holds: its groups and its file.
  func release(_ area: Area) {
    unreserve(area)
    area.links.unlink()
    area.leaveFile()
    if let file = area.file { memory.drop(file) }
  }

  /// Puts an area that is complete, but for its bounds, into the space.
  func insert(_ area: Area) {
    area.enter(self)
    areas.insert(area)
  }

  // MARK: Splitting

  /// Cuts `area` at `address`, which lies inside it; the new area is the part below or above (`__split_vma`). EINVAL where a huge page
  /// would be cut.
  @discardableResult
  func split(_ area: Area, at address: UInt64, newBelow: Bool) throws(CallError) -> Area {
    if address & (entrySize(of: area) - 1) != 0 { throw .invalid }
    areasChanged()
    splitEntry(cutBy: address)
    let fresh = area.duplicated()
    let offset = area.pageOffset &+ (address - area.start) >> pageShift
    if newBelow {
      fresh.end = address
      areas.resize(area, start: address, end: area.end)
      area.pageOffset = offset
    } else {
      fresh.start = address
      fresh.pageOffset = offset
      areas.resize(area, start: area.start, end: address)
    }
    insert(fresh)
    return fresh
  }

  /// The size of the pages at whose edges an area can be cut, in bytes.
  func entrySize(of area: Area) -> UInt64 {
    memory.format.pageSize(level: area.pageLevel).rawValue
  }

  /// `split_vma`: ENOMEM where `max_map_count` areas are there already.
  func splitCounted(_ area: Area, at address: UInt64, newBelow: Bool) throws(CallError) {
    if areas.count >= memory.limits.mapCount { throw .outOfMemory }
    try split(area, at: address, newBelow: newBelow)
  }

  /// Gives `start ..< end` of `area` other flags or another policy: merges with a neighbour or splits, as mprotect, madvise, mlock and
  /// mbind do alike. Answers the area that now holds the range, without having changed flags or policy.
  func isolate(
    _ area: Area, previous: Area?, _ start: UInt64, _ end: UInt64, flags: AreaFlags, policy: MemoryPolicy?
  ) throws(CallError) -> (area: Area, merged: Bool) {
    let pageOffset = area.pageOffset &+ (start - area.start) >> pageShift
    if let merged = merge(
      previous, start, end, flags: flags, group: area.links.group, file: area.file, pageOffset: pageOffset,
      policy: policy)
    {
      return (merged, true)
    }
    if start != area.start { try splitCounted(area, at: start, newBelow: true) }
    if end != area.end { try splitCounted(area, at: end, newBelow: false) }
    return (area, false)
  }

  // MARK: Groups

  /// `anon_vma_prepare`: makes sure that `area` has a group, a compatible neighbour's where there is one.
  func prepareGroup(_ area: Area) {
    if area.links.group != nil { return }
    var joined: AnonymousGroup?
    if let next = areas.after(area) { joined = reusableGroup(of: next, area, next) }
    if joined == nil, let previous = areas.before(area) { joined = reusableGroup(of: previous, previous, area) }
    area.links.prepare(joining: joined, for: area)
  }

  /// `reusable_anon_vma`, `anon_vma_compatible`.
  private func reusableGroup(of old: Area, _ low: Area, _ high: Area) -> AnonymousGroup? {
    guard low.end == high.start, low.policy == high.policy, low.file === high.file,
      low.flags.symmetricDifference(high.flags).subtracting([.read, .write, .execute, .softDirty]).isEmpty,
      high.pageOffset == low.pageOffset &+ (high.start - low.start) >> pageShift
    else { return nil }
    return old.links.isSingular ? old.links.group : nil
  }
}
