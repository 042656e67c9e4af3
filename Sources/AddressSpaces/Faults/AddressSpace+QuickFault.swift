internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// The fault that programs take most often, by a way of its own.
extension AddressSpace {
  /// The first write to a page of private memory, beside pages that are there already, where nobody has a say in where it lies and a frame is
  /// at hand: what `fault` does. The entry that there is then; nil leaves it to that, with nothing done.
  @inline(__always)
  func fillQuickly(_ process: Process, _ address: UInt64) -> UInt64? {
    // An address with a tag is above those of areas.
    guard process.policy == nil, let found = unsafe findUnretained(address) else { return nil }
    // SAFETY: areas stay while a fault is taken.
    return unsafe found._withUnsafeGuaranteedRef { fill(process, $0, address) }
  }

  @inline(__always)
  private func fill(_ process: Process, _ area: Area, _ address: UInt64) -> UInt64? {
    // What makes a fault another one than this: rights to execute, shared memory, locks, pools, frames that somebody else holds.
    let others: AreaFlags = [.execute, .shared, .locked, .hugeTLB, .frameMap]
    guard area.flags.intersection(others.union(.write)) == .write, area.file == nil, area.policy == nil,
      area.links.group != nil
    else { return nil }
    let flags: PageFlags = [.present, .user, .writable, .accessed, .dirty]
    // Where there is a table of base pages no huge page comes.
    guard let entry = unsafe settledTable.emptyEntry(at: address, for: flags), let frame = memory.takeAnonymous(process)
    else { return nil }
    if memory.refusedNodes != nil { memory.refusedNodes = nil }
    memory.beginAnonymous(frame, area, index: area.pageIndex(at: address, shift: pageShift))
    let leaf = unsafe settledTable.fill(entry, frame, flags)
    counts.anonymousResident &+= 1
    memory.events.demandZero &+= 1
    memory.events.faults &+= 1
    process.minorFaults &+= 1
    return leaf
  }
}
