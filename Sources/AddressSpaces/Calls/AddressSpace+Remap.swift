/// mremap(2) (mm/mremap.c, `copy_vma`).
extension AddressSpace {
  /// Answers the area's address afterwards.
  func remap(
    _ process: Process, _ address: UInt64, _ askedOld: UInt64, _ askedNew: UInt64, flags rawFlags: UInt64,
    to askedTarget: UInt64
  ) throws(CallError) -> UInt64 {
    let flags = RemapFlags(rawValue: rawFlags)
    if !flags.isSubset(of: .all) { throw .invalid }
    if flags.contains(.fixed), !flags.contains(.mayMove) { throw .invalid }
    if flags.contains(.keepOld), !flags.contains(.mayMove) || askedOld != askedNew { throw .invalid }
    if !isAligned(address) { throw .invalid }
    var old = roundedUp(askedOld)
    var new = roundedUp(askedNew)
    if new == 0 { throw .invalid }
    guard let area = areas.area(at: address) else { throw .badAddress }
    if area.flags.contains(.hugeTLB) {
      let mask = entrySize(of: area) - 1
      old = (old &+ mask) & ~mask
      new = (new &+ mask) & ~mask
      if address & mask != 0 || askedTarget & mask != 0 || new > old { throw .invalid }
    }
    if area.pageLevel > 0, (address | old | new | askedTarget) & (entrySize(of: area) - 1) != 0 { throw .invalid }
    if !flags.isDisjoint(with: [.fixed, .keepOld]) {
      // Shared memory that is in the way counts as promised until the call ends.
      memory.holdsFiles = true
      defer { memory.dropHeldFiles() }
      return try moveTo(process, address, old, askedTarget, new, flags)
    }
    if old >= new {
      // A shrinking remap unmaps the tail; that nothing lies there is no error where the sizes are equal.
      do throws(CallError) { try unmap(address &+ new, old - new) } catch { if old != new { throw error } }
      return address
    }
    let resized = try areaToResize(address, old, new, flags)
    if old == resized.end - address, canExpand(resized, by: new - old) {
      let count = (new - old) >> pageShift
      let extra = address + old
      if resized.flags.contains(.accounted) { try memory.commit(pages: count, by: self) }
      guard
        let grown = merge(
          resized, extra, address + new, flags: resized.flags, group: resized.links.group, file: resized.file,
          pageOffset: resized.pageOffset &+ (extra - resized.start) >> pageShift, policy: resized.policy)
      else {
        if resized.flags.contains(.accounted) { memory.uncommit(pages: count) }
        throw .outOfMemory
      }
      account(grown.flags, pages: Int64(count))
      if grown.flags.contains(.locked) {
        counts.locked += count
        populate(process, extra, new - old)
      }
      return address
    }
    guard flags.contains(.mayMove) else { throw .outOfMemory }
    let target = try unmappedRange(
      0, new, fixed: false, level: resized.flags.contains(.hugeTLB) ? resized.pageLevel : 0,
      sharedOffset: sharedOffset(of: resized, at: address))
    return try move(process, resized, address, old, new, target, flags)
  }

  /// `mremap_to`: to an address of the caller's choice.
  private func moveTo(
    _ process: Process, _ address: UInt64, _ askedOld: UInt64, _ askedTarget: UInt64, _ new: UInt64, _ flags: RemapFlags
  ) throws(CallError) -> UInt64 {
    var old = askedOld
    var target = askedTarget
    if !isAligned(target) { throw .invalid }
    if new > layout.userEnd || target > layout.userEnd - new { throw .invalid }
    if address &+ old > target, target + new > address { throw .invalid }
    if areas.count + 2 >= memory.limits.mapCount - 3 { throw .outOfMemory }
    if flags.contains(.fixed) { try unmap(target, new) }
    if old > new {
      try unmap(address &+ new, old - new)
      old = new
    }
    let area = try areaToResize(address, old, new, flags)
    if flags.contains(.keepOld), !mayGrow(area.flags, pages: old >> pageShift) { throw .outOfMemory }
    let found = try unmappedRange(
      target, new, fixed: flags.contains(.fixed), level: area.flags.contains(.hugeTLB) ? area.pageLevel : 0,
      sharedOffset: sharedOffset(of: area, at: address))
    if !flags.contains(.fixed) { target = found }
    return try move(process, area, address, old, new, target, flags)
  }

  private func sharedOffset(of area: Area, at address: UInt64) -> UInt64? {
    area.file?.kind == .sharedMemory ? area.pageIndex(at: address, shift: pageShift) : nil
  }

  /// `vma_to_resize`.
  private func areaToResize(_ address: UInt64, _ old: UInt64, _ new: UInt64, _ flags: RemapFlags) throws(CallError)
    -> Area
  {
    guard let area = areas.area(at: address) else { throw .badAddress }
    if old == 0, area.flags.isDisjoint(with: [.shared, .mayShare]) { throw .invalid }
    if flags.contains(.keepOld), area.flags.contains(.dontExpand) { throw .invalid }
    if old > area.end - address { throw .badAddress }
    if new == old { return area }
    let offset = area.pageIndex(at: address, shift: pageShift)
    if offset &+ (new >> pageShift) < offset { throw .invalid }
    if area.flags.contains(.dontExpand) { throw .badAddress }
    try checkLockLimit(area.flags, length: new &- old)
    // The difference of a smaller new length wraps before it is shifted, as in Linux: it is then no more than any limit allows.
    if new > old, !mayGrow(area.flags, pages: (new - old) >> pageShift) { throw .outOfMemory }
    return area
  }

  /// `vma_expandable`.
  private func canExpand(_ area: Area, by delta: UInt64) -> Bool {
    let end = area.end &+ delta
    if end < area.end { return false }
    if areas.first(overlapping: area.end, end) != nil { return false }
    return (try? unmappedRange(area.start, end - area.start, fixed: true)) != nil
  }

  /// `move_vma`.
  private func move(
    _ process: Process, _ area: Area, _ address: UInt64, _ old: UInt64, _ new: UInt64, _ target: UInt64,
    _ flags: RemapFlags
  ) throws(CallError) -> UInt64 {
    if areas.count >= memory.limits.mapCount - 3 { throw .outOfMemory }
    // While both areas are there, more is mapped than ever is meant to be.
    let peak = counts.highestTotal
    defer { counts.highestTotal = max(peak, counts.total) }
    var source = area
    let areaFlags = source.flags
    if source.flags.contains(.hugeTLB) {
      let mask = entrySize(of: source) - 1
      if address & mask != 0 || (address + old) & mask != 0 { throw .invalid }
    }
    if flags.contains(.keepOld), areaFlags.contains(.locked) {
      if source.start != address { try splitCounted(source, at: address, newBelow: true) }
      if source.end != address + old { try splitCounted(source, at: address + old, newBelow: false) }
    }
    let extra = flags.contains(.keepOld) ? new : new &- old
    let committed = new >= old || flags.contains(.keepOld) ? extra >> pageShift : 0
    if areaFlags.contains(.accounted), committed > 0 { try memory.commit(pages: committed, by: self) }
    let offset = source.pageIndex(at: address, shift: pageShift)
    _ = copy(&source, to: target, new, offset, keepsSource: flags.contains(.keepOld))

    splitEntries(movedFrom: address, to: target, old)
    // What moves counts as written to, but not what a table that moves as a whole has (`move_soft_dirty_pte`, `move_normal_pmd`).
    let removing = areaFlags.contains(.hugeTLB) ? [] : UserMemory.unwrittenMark
    if !table.move(from: address, to: target, length: old, removing: removing, cpu: process.cpu) {
      // Nothing has moved: the new area goes again.
      try unmap(target, new)
      memory.uncommit(pages: areaFlags.contains(.accounted) ? committed : 0)
      throw .outOfMemory
    }

    // The reservation has moved with the pages (`clear_vma_resv_huge_pages`).
    source.reserves = nil
    var excess: UInt64 = 0
    var splits = false
    if areaFlags.contains(.accounted), !flags.contains(.keepOld) {
      // The pages stay committed: the source's area must not give them back when it goes.
      source.flags.remove(.accounted)
      excess = source.size - old
      splits = address > source.start && address + old < source.end
    }
    account(source.flags, pages: Int64(new >> pageShift))
    if flags.contains(.keepOld) {
      source.flags.subtract(.lock)
      if source.start == address, source.end == address + old {
        source.links.unlink()
        if source.isAnonymous { source.pageOffset = source.start >> pageShift }
      }
      return target
    }
    let rest = source
    if old > 0 {
      do throws(CallError) { try unmap(address, old) } catch { excess = 0 }
    }
    if areaFlags.contains(.locked) {
      counts.locked += new >> pageShift
      if new > old {
        memory.holdsFiles = false
        populate(process, target + old, new - old)
      }
    }
    if excess > 0 {
      rest.flags.insert(.accounted)
      if splits { areas.after(rest)?.flags.insert(.accounted) }
    }
    return target
  }

  /// `copy_vma`: an area at `target` with the source's rights, merged with a neighbour where one allows it. `source` becomes the merged area
  /// where it was swallowed itself.
  private func copy(_ source: inout Area, to target: UInt64, _ length: UInt64, _ askedOffset: UInt64, keepsSource: Bool)
    -> Area
  {
    var offset = askedOffset
    let start = source.start
    let unfaulted = source.isAnonymous && source.links.group == nil
    if unfaulted { offset = target >> pageShift }
    let previous = areas.last(endingAtOrBelow: target)
    let touches = target == source.end || source.start == target + length
    if !(unfaulted && keepsSource && touches),
      let merged = merge(
        previous, target, target + length, flags: source.flags, group: source.links.group, file: source.file,
        pageOffset: offset,
        policy: source.policy)
    {
      if start >= merged.start, start < merged.end { source = merged }
      return merged
    }
    let fresh = source.duplicated()
    fresh.start = target
    fresh.end = target + length
    fresh.pageOffset = offset
    areasChanged()
    insert(fresh)
    return fresh
  }

  // MARK: Huge pages

  /// Splits the huge pages' entries that do not move as a whole (`move_page_tables`, `get_extent`).
  private func splitEntries(movedFrom source: UInt64, to target: UInt64, _ length: UInt64) {
    if hugeEntries == 0 { return }
    var done: UInt64 = 0
    while done < length {
      let toNext = min(hugeSize - (source + done) & hugeMask, hugeSize - (target + done) & hugeMask)
      let extent = min(toNext, length - done)
      if extent < hugeSize { splitEntry(at: source + done) }
      done += extent
    }
  }
}
