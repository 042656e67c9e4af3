internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// The faults that programs take most often, by ways of their own: writes to private memory where nobody has a say in where it lies and a frame
/// is at hand. Each answers the entry that there is then; nil leaves all to `fault`, with nothing done.
extension AddressSpace {
  /// The first write to a page, beside pages that are there already.
  @inline(__always)
  func fillQuickly(_ process: Process, _ address: UInt64) -> UInt64? {
    guard let found = unsafe quickArea(process, address) else { return nil }
    // SAFETY: areas stay while a fault is taken.
    return unsafe found._withUnsafeGuaranteedRef { fill(process, $0, address) }
  }

  @inline(__always)
  private func fill(_ process: Process, _ area: Area, _ address: UInt64) -> UInt64? {
    // Where there is a table of base pages no huge page comes.
    guard isQuick(area), let entry = unsafe settledTable.emptyEntry(at: address, for: Self.quickRights),
      let frame = memory.takeAnonymous(process)
    else { return nil }
    memory.beginAnonymous(frame, area, index: area.pageIndex(at: address, shift: pageShift))
    let leaf = unsafe settledTable.fill(entry, frame, Self.quickRights)
    counts.anonymousResident &+= 1
    memory.events.demandZero &+= 1
    countQuickFault(process)
    return leaf
  }

  /// The first write to a page since a fork, which others go on showing.
  @inline(__always)
  func copyQuickly(_ process: Process, _ address: UInt64) -> UInt64? {
    guard let found = unsafe quickArea(process, address) else { return nil }
    // SAFETY: areas stay while a fault is taken.
    return unsafe found._withUnsafeGuaranteedRef { copy(process, $0, address) }
  }

  @inline(__always)
  private func copy(_ process: Process, _ area: Area, _ address: UInt64) -> UInt64? {
    let page = roundedDown(address)
    guard isQuick(area), let old = settledTable.baseFrame(at: page), old != memory.zeroFrame else { return nil }
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[old]
    guard unsafe record.pointee.flags.intersection([.anonymous, .exclusive, .huge]) == .anonymous,
      unsafe record.pointee.references > 1 && record.pointee.mapCount > 1,
      let frame = memory.takeAnonymous(process, zeroed: false)
    else { return nil }
    memory.copyPage(old, to: frame)
    memory.beginAnonymous(frame, area, index: area.pageIndex(at: page, shift: pageShift))
    settledTable.replace(page, frame, Self.quickRights)
    unsafe record.pointee.mapCount &-= 1
    unsafe record.pointee.references &-= 1
    memory.events.copyOnWrite &+= 1
    countQuickFault(process)
    return settledTable.baseEntry(at: page)
  }

  @inline(__always)
  private func quickArea(_ process: Process, _ address: UInt64) -> Unmanaged<Area>? {
    // An address with a tag is above those of areas.
    process.policy == nil ? unsafe findUnretained(address) : nil
  }

  @inline(__always)
  private func isQuick(_ area: Area) -> Bool {
    // What makes a fault another one: rights to execute, shared memory, locks, pools, frames that somebody else holds.
    let others: AreaFlags = [.execute, .shared, .locked, .hugeTLB, .frameMap]
    return area.flags.intersection(others.union(.write)) == .write && area.file == nil && area.policy == nil
      && area.links.group != nil
  }

  private static var quickRights: PageFlags { [.present, .user, .writable, .accessed, .dirty] }

  @inline(__always)
  private func countQuickFault(_ process: Process) {
    if memory.refusedNodes != nil { memory.refusedNodes = nil }
    memory.events.faults &+= 1
    process.minorFaults &+= 1
  }
}
