internal import MemoryTypes

/// mlock(2) and its kin (mm/mlock.c).
extension AddressSpace {
  func lock(_ process: Process, _ askedStart: UInt64, _ askedLength: UInt64, flags raw: UInt64) throws(CallError) {
    let flags = LockFlags(rawValue: UInt64(UInt32(truncatingIfNeeded: raw)))
    if !flags.isSubset(of: .onFault) { throw .invalid }
    let (start, length) = wholePages(askedStart, askedLength)
    if !memory.limits.isPrivileged, (length >> pageShift) &+ counts.locked > memory.limits.lockedMemory >> pageShift {
      throw .outOfMemory
    }
    try changeLocks(process, start, length, flags.contains(.onFault) ? [.locked, .lockOnFault] : .locked)
    // What populating runs into (`__mlock_posix_error_return`).
    switch populate(process, start, length, stopsAtError: true) {
    case .done: return
    case .bad: throw .outOfMemory
    case .outOfMemory: throw .tryAgain
    }
  }

  func unlock(_ process: Process, _ askedStart: UInt64, _ askedLength: UInt64) throws(CallError) {
    let (start, length) = wholePages(askedStart, askedLength)
    try changeLocks(process, start, length, [])
  }

  private func wholePages(_ start: UInt64, _ length: UInt64) -> (start: UInt64, length: UInt64) {
    (roundedDown(start), roundedUp(length &+ (start & pageMask)))
  }

  /// `apply_vma_lock_flags`.
  private func changeLocks(_ process: Process, _ start: UInt64, _ length: UInt64, _ lock: AreaFlags) throws(CallError) {
    let end = start &+ length
    if end < start { throw .invalid }
    if end == start { return }
    guard var area = areas.area(at: start) else { throw .outOfMemory }
    var previous = start > area.start ? area : areas.before(area)
    var position = start
    while true {
      let stop = min(area.end, end)
      let held = try changeLock(area, previous, position, stop, area.flags.subtracting(.lock).union(lock))
      previous = held
      position = max(stop, held.end)
      if position >= end { return }
      guard let next = areas.first(endingAbove: held.end), next.start == position else { throw .outOfMemory }
      area = next
    }
  }

  /// `mlock_fixup`: answers the area that now holds `start ..< end`.
  private func changeLock(_ area: Area, _ previous: Area?, _ start: UInt64, _ end: UInt64, _ flags: AreaFlags)
    throws(CallError) -> Area
  {
    let old = area.flags
    if flags == old || old.contains(.hugeTLB) { return area }
    let target = try isolate(area, previous: previous, start, end, flags: flags, policy: area.policy).area
    let count = (end - start) >> pageShift
    if !flags.contains(.locked) {
      counts.locked &-= count
    } else if !old.contains(.locked) {
      counts.locked += count
    }
    target.flags = flags
    var entries: [UserTable.Entry] = []
    table.forEach(start, end) { _, entry in if memory.isOrdinary(entry) { entries.append(entry) } }
    for entry in entries {
      if flags.contains(.locked) {
        memory.lockPage(entry.frame, asPart: entry.level == 0)
      } else {
        memory.unlockPage(entry.frame, asPart: entry.level == 0)
      }
    }
    return target
  }

  func lockAll(_ process: Process, _ raw: UInt64) throws(CallError) {
    let flags = LockAllFlags(rawValue: UInt64(UInt32(truncatingIfNeeded: raw)))
    if flags.isEmpty || !flags.isSubset(of: [.current, .future, .onFault]) || flags == .onFault { throw .invalid }
    if flags.contains(.current), !memory.limits.isPrivileged, counts.total > memory.limits.lockedMemory >> pageShift {
      throw .outOfMemory
    }
    changeAllLocks(flags)
    if flags.contains(.current) { populate(process, 0, layout.userEnd) }
  }

  func unlockAll() { changeAllLocks([]) }

  /// `apply_mlockall_flags`.
  private func changeAllLocks(_ flags: LockAllFlags) {
    let lock: AreaFlags = flags.contains(.onFault) ? [.locked, .lockOnFault] : .locked
    defaultFlags.subtract(.lock)
    if flags.contains(.future) {
      defaultFlags.formUnion(lock)
      if !flags.contains(.current) { return }
    }
    let added: AreaFlags = flags.contains(.current) ? lock : []
    var previous: Area?
    var next = areas.lowest
    while let area = next {
      // Errors are ignored: what cannot be locked stays as it is.
      let held =
        (try? changeLock(area, previous, area.start, area.end, area.flags.subtracting(.lock).union(added))) ?? area
      previous = held
      next = areas.after(held)
    }
  }

  // MARK: Other calls on ranges

  /// msync(2): MS_SYNC writes to a file's disk what that lacks; with the other flags nothing is done at once.
  func sync(_ askedStart: UInt64, _ askedLength: UInt64, flags raw: UInt64) throws(CallError) {
    let flags = SyncFlags(rawValue: UInt64(UInt32(truncatingIfNeeded: raw)))
    if !flags.isSubset(of: [.async, .invalidate, .sync]) || !isAligned(askedStart)
      || flags.isSuperset(of: [.async, .sync])
    {
      throw .invalid
    }
    var start = askedStart
    let end = start &+ roundedUp(askedLength)
    if end < start { throw .outOfMemory }
    if end == start { return }
    var sawHole = false
    while true {
      guard let area = areas.first(endingAbove: start) else { throw .outOfMemory }
      if start < area.start {
        if flags == .async { throw .outOfMemory }
        start = area.start
        if start >= end { throw .outOfMemory }
        sawHole = true
      }
      if flags.contains(.invalidate), area.flags.contains(.locked) { throw .busy }
      if flags.contains(.sync), area.flags.contains(.shared), let file = area.file {
        let first = area.pageIndex(at: start, shift: pageShift)
        let last = area.pageIndex(at: min(end, area.end), shift: pageShift)
        memory.sync(file, pages: first..<last)
      }
      start = area.end
      if start >= end { break }
    }
    if sawHole { throw .outOfMemory }
  }

  /// mincore(2): whether each page is in memory.
  func residency(_ start: UInt64, _ length: UInt64) throws(CallError) -> [Bool] {
    if !isAligned(start) { throw .invalid }
    if length > layout.userEnd || start > layout.userEnd - length { throw .outOfMemory }
    var remaining = length >> pageShift + (length & pageMask != 0 ? 1 : 0)
    var address = start
    var result: [Bool] = []
    while remaining > 0 {
      guard let area = areas.area(at: address) else { throw .outOfMemory }
      let stop = min(area.end, address &+ remaining << pageShift)
      while address < stop {
        var present = table.entry(at: address) != nil
        if !present, let file = area.file, file.kind != .hugePages {
          present = file.page(area.pageIndex(at: address, shift: pageShift)) != nil
        }
        result.append(present)
        address += pageSize
        remaining -= 1
      }
    }
    return result
  }

  /// brk(2): answers the break afterwards, which is the old one where the new cannot be.
  func moveBreak(_ process: Process, to asked: UInt64) -> UInt64 {
    let old = breakEnd
    if asked < layout.heapStart { return old }
    if asked - layout.heapStart > memory.limits.data { return old }
    let newEnd = roundedUp(asked)
    let oldEnd = roundedUp(old)
    if newEnd == oldEnd {
      breakEnd = asked
      return asked
    }
    if asked <= old {
      guard let area = areas.first(overlapping: newEnd, oldEnd), area.start < oldEnd else { return old }
      do throws(CallError) { try unmapAligned(newEnd, oldEnd) } catch { return old }
      breakEnd = asked
      return asked
    }
    if newEnd < oldEnd { return old }
    let length = newEnd - oldEnd
    do throws(CallError) {
      _ = try unmappedRange(oldEnd, length, fixed: true)
      try checkLockLimit(defaultFlags, length: length)
      if let next = areas.first(endingAbove: oldEnd), newEnd + pageSize > next.startWithGap(memory.limits.stackGuardGap)
      {
        return old
      }
      try growHeap(oldEnd, length)
    } catch { return old }
    breakEnd = asked
    if defaultFlags.contains(.locked) { populate(process, oldEnd, length) }
    return asked
  }

  /// `do_brk_flags`.
  private func growHeap(_ start: UInt64, _ length: UInt64) throws(CallError) {
    let flags: AreaFlags = AreaFlags([.read, .write, .mayRead, .mayWrite, .mayExecute, .accounted, .softDirty]).union(
      defaultFlags)
    let count = length >> pageShift
    if !mayGrow(flags, pages: count) || areas.count > memory.limits.mapCount { throw .outOfMemory }
    try memory.commit(pages: count, by: self)
    if let heap = areas.last(endingAtOrBelow: start), heap.end == start, heap.policy == nil,
      canMergeAfter(heap, flags: flags, group: nil, file: nil, pageOffset: start >> pageShift)
    {
      areasChanged()
      areas.resize(heap, start: heap.start, end: start + length)
      heap.flags.insert(.softDirty)
    } else {
      areasChanged()
      insert(Area(start: start, end: start + length, flags: flags, pageOffset: start >> pageShift))
    }
    account(flags, pages: Int64(count))
    if flags.contains(.locked) { counts.locked += count }
  }
}
