/// mprotect(2) (mm/mprotect.c).
extension AddressSpace {
  func protect(_ process: Process, _ askedStart: UInt64, _ askedLength: UInt64, protection rawProtection: UInt64)
    throws(CallError)
  {
    var protection = Protection(rawValue: rawProtection)
    let grows = protection.intersection([.growsDown, .growsUp])
    protection.subtract([.growsDown, .growsUp])
    if grows == [.growsDown, .growsUp] { throw .invalid }
    var start = askedStart
    if !isAligned(start) { throw .invalid }
    if askedLength == 0 { return }
    let length = roundedUp(askedLength)
    var end = start &+ length
    if end <= start { throw .outOfMemory }
    if !protection.subtracting([.read, .write, .execute, .semaphore]).isEmpty { throw .invalid }

    guard var area = areas.first(endingAbove: start) else { throw .outOfMemory }
    if grows == .growsDown {
      if area.start >= end { throw .outOfMemory }
      start = area.start
      if !area.flags.contains(.growsDown) { throw .invalid }
    } else {
      if area.start > start { throw .outOfMemory }
      if grows == .growsUp {
        end = area.end
        throw .invalid
      }
    }
    var previous = start > area.start ? area : areas.before(area)
    var position = start
    while true {
      let flags = area.flags.subtracting(.access).union(protection.areaFlags)
      let allowed = AreaFlags(rawValue: area.flags.intersection(.mayAccess).rawValue >> 4)
      if !flags.intersection(.access).isSubset(of: allowed) { throw .accessDenied }
      if !flags.intersection(.access).isSubset(of: area.flags) { try memory.checkWriteXorExecute(flags) }
      let stop = min(area.end, end)
      previous = try protect(process, area, previous, position, stop, flags)
      position = max(stop, previous!.end)
      if position >= end { return }
      guard let next = areas.first(endingAbove: previous!.end), next.start == position else { throw .outOfMemory }
      area = next
    }
  }

  /// `mprotect_fixup`: answers the area that now holds `start ..< end`.
  private func protect(
    _ process: Process, _ area: Area, _ previous: Area?, _ start: UInt64, _ end: UInt64, _ asked: AreaFlags
  ) throws(CallError) -> Area {
    let old = area.flags
    var flags = asked
    if flags == old { return area }
    let count = (end - start) >> pageShift
    var committed: UInt64 = 0
    if flags.contains(.write) {
      if !mayGrow(flags, pages: count), mayGrow(old, pages: count) { throw .outOfMemory }
      if old.isDisjoint(with: [.accounted, .write, .hugeTLB, .shared, .noReserve]) {
        try memory.commit(pages: count, by: self)
        committed = count
        flags.insert(.accounted)
      }
    }
    let target: Area
    do throws(CallError) {
      target = try isolate(area, previous: previous, start, end, flags: flags, policy: area.policy).area
    } catch {
      memory.uncommit(pages: committed)
      throw error
    }
    target.flags = flags
    changeRights(target, start, end)
    if old.intersection([.write, .shared, .locked]) == .locked, flags.contains(.write) {
      _ = populateArea(process, target, start, end)
    }
    account(old, pages: -Int64(count))
    account(flags, pages: Int64(count))
    return target
  }
}
