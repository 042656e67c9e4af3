internal import MemoryTypes
internal import Translation

/// Entries of an area: how they look, and what taking them out or changing their rights does to the pages behind them.
extension AddressSpace {
  /// `vm_get_page_prot`: what a fresh entry of the area allows. Private pages are never writable before a fault has made them so; pages
  /// of areas without any rights keep their frames out of the hardware's reach.
  func entryFlags(_ area: Area) -> PageFlags {
    if !area.flags.isAccessible { return .user }
    var flags: PageFlags = [.present, .user]
    if area.flags.contains(.execute) { flags.insert(.executable) }
    if area.flags.isSuperset(of: [.write, .shared]) { flags.insert(.writable) }
    return flags
  }

  /// Takes what lies in `start ..< end` of `area` out of the table and lets go of the pages (`zap_page_range`).
  func zap(_ area: Area, _ start: UInt64, _ end: UInt64) {
    counts.highestResident = max(counts.highestResident, counts.resident)
    var unlocked: [FrameNumber] = []
    table.clear(start, end) { address, entry in
      if letGo(area, entry), area.flags.contains(.locked) { unlocked.append(entry.frame) }
    }
    for frame in unlocked { memory.unlockPage(frame) }
  }

  /// Whether somebody else still holds the page.
  private func letGo(_ area: Area, _ entry: UserTable.Entry) -> Bool {
    if entry.frame == memory.zeroFrame { return false }
    if entry.showsFrames {
      memory.releaseFrames(entry)
      return false
    }
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[entry.frame]
    if unsafe record.pointee.flags.contains(.anonymous) {
      counts.anonymousResident -= 1
    } else {
      if entry.flags.contains(.dirty) { memory.markDirty(entry.frame) }
      if entry.flags.contains(.accessed), !area.flags.contains(.sequentialRead) { memory.markAccessed(entry.frame) }
      countFilePage(area, by: -1)
    }
    memory.countEntry(of: entry.frame, by: -1)
    let isShared = unsafe record.pointee.references > 1
    memory.putPage(entry.frame, cpu: memory.currentCPU)
    return isShared
  }

  func countFilePage(_ area: Area, by change: Int64) {
    func add(_ counter: inout UInt64) { counter = UInt64(bitPattern: Int64(bitPattern: counter) &+ change) }
    if area.file?.kind == .sharedMemory { add(&counts.sharedResident) } else { add(&counts.fileResident) }
  }

  /// Gives every entry in the range the rights of `area` (`change_pte_range`).
  func changeRights(_ area: Area, _ start: UInt64, _ end: UInt64) {
    let flags = entryFlags(area)
    table.change(start, end, removing: [.present, .writable, .executable], inserting: flags)
    // Private pages that are dirty and the process's alone stay writable without a fault (`can_change_pte_writable`).
    guard area.flags.contains(.write), !area.flags.contains(.shared) else { return }
    var writable: [UInt64] = []
    table.forEach(start, end) { address, entry in
      guard entry.flags.contains(.dirty), entry.frame != memory.zeroFrame else { return }
      // SAFETY: a frame of this machine.
      if unsafe memory.records[entry.frame].pointee.flags.isSuperset(of: [.anonymous, .exclusive]) {
        writable.append(address)
      }
    }
    for address in writable { table.change(address, address + pageSize, removing: [], inserting: .writable) }
  }

  /// MADV_FREE (`madvise_free_pte_range`): entries become clean, so that their pages can be dropped instead of kept.
  func markLazilyFree(_ area: Area, _ start: UInt64, _ end: UInt64) {
    table.change(start, end, removing: [.dirty, .accessed], inserting: []) { _, entry in
      guard entry.frame != memory.zeroFrame else { return }
      // SAFETY: a frame of this machine.
      let record = unsafe memory.records[entry.frame]
      // A page that is dirty itself and others' as well stays as it is.
      if unsafe record.pointee.flags.contains(.anonymous),
        unsafe record.pointee.mapCount == 1 || !record.pointee.flags.contains(.dirty)
      {
        unsafe record.pointee.flags.insert(.lazilyFree)
        unsafe record.pointee.flags.remove(.dirty)
        unsafe record.pointee.flags.remove(.referenced)
        memory.reclaimCounts.markedLazilyFree += 1
        if unsafe record.pointee.list != .unevictable { memory.relist(entry.frame, .inactiveFile) }
      }
    }
  }
}
