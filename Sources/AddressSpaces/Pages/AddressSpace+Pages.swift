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
    // Where writes are watched for, a fault makes the entry writable (`vma_wants_writenotify`).
    if area.flags.isSuperset(of: [.write, .shared]), !area.watchesWrites { flags.insert(.writable) }
    return flags
  }

  /// Takes what lies in `start ..< end` of `area` out of the table and lets go of the pages (`zap_page_range`). The tables stay, but for those
  /// that are wholly within `bounds`.
  func zap(_ area: Area, _ start: UInt64, _ end: UInt64, freeingTablesWithin bounds: TableBounds? = nil) {
    counts.highestResident = max(counts.highestResident, counts.resident)
    splitEntries(cutBy: start, end)
    takeOut(area, start, end, freeingTablesWithin: bounds)
  }

  /// The same where no huge page is cut. `notesUse`, `notesWrites`: that a file's page was used or written stays known.
  func takeOut(
    _ area: Area, _ start: UInt64, _ end: UInt64, notesUse: Bool = true, notesWrites: Bool = true,
    freeingTablesWithin bounds: TableBounds? = nil
  ) {
    var unlocked: [UserTable.Entry] = []
    table.clear(start, end, freeingTablesWithin: bounds) { _, entry in
      var entry = entry
      if !notesWrites { entry.flags.remove(.dirty) }
      if !notesUse { entry.flags.remove(.accessed) }
      if letGo(area, entry), area.flags.contains(.locked) { unlocked.append(entry) }
    }
    for entry in unlocked { memory.unlockPage(entry.frame, asPart: entry.level == 0) }
  }

  /// Whether somebody else still holds the page.
  private func letGo(_ area: Area, _ entry: UserTable.Entry) -> Bool {
    if entry.showsFrames {
      memory.releaseFrames(entry)
      return false
    }
    if area.flags.contains(.hugeTLB) {
      letGo(ofPoolPage: entry)
      return false
    }
    if entry.level > 0 {
      hugeEntries -= 1
      if area.isAnonymous { table.pages.withdraw() }
    }
    if memory.isZero(entry) { return false }
    if entry.level > 0 {
      if area.isAnonymous {
        counts.anonymousResident -= memory.hugeFrames
      } else {
        if entry.flags.contains(.dirty) { memory.markDirty(entry.frame) }
        countFilePage(area, by: -Int64(memory.hugeFrames))
      }
      // SAFETY: a frame of this machine.
      let isShared = unsafe memory.records[entry.frame].pointee.references > 1
      memory.dropWhole(entry.frame)
      return isShared
    }
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[entry.frame]
    if unsafe record.pointee.flags.contains(.anonymous) {
      counts.anonymousResident -= 1
    } else {
      if entry.flags.contains(.dirty) { memory.markDirty(entry.frame) }
      if entry.flags.contains(.accessed), !area.flags.contains(.sequentialRead) {
        memory.markAccessed(memory.head(of: entry.frame))
      }
      countFilePage(area, by: -1)
    }
    memory.countEntry(of: entry.frame, by: -1)
    // Locks are of huge pages, not of their parts: whether these have other holders is of no interest.
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
    splitEntries(cutBy: start, end)
    table.change(start, end, removing: [.present, .writable, .executable], inserting: flags)
    // Private pages that are dirty and the process's alone stay writable without a fault (`can_change_pte_writable`).
    guard area.flags.contains(.write), !area.flags.contains(.shared) else { return }
    var writable: [UInt64] = []
    table.forEach(start, end) { address, entry in
      // Huge pages wait for their fault all the same.
      guard entry.flags.contains(.dirty), entry.level == 0, entry.frame != memory.zeroFrame else { return }
      if area.watchesWrites, entry.flags.contains(UserMemory.unwrittenMark) { return }
      // SAFETY: a frame of this machine.
      if unsafe memory.records[entry.frame].pointee.flags.isSuperset(of: [.anonymous, .exclusive]) {
        writable.append(address)
      }
    }
    for address in writable { table.change(address, address + pageSize, removing: [], inserting: .writable) }
  }

  /// MADV_FREE (`madvise_free_pte_range`): entries become clean, so that their pages can be dropped instead of kept. Huge pages that others
  /// hold as well are left alone, and what lies behind such a page's part is (`madvise_free_huge_pmd`).
  func markLazilyFree(_ area: Area, _ start: UInt64, _ end: UInt64) {
    var position = start
    while position < end {
      let next = min(end, (position & ~hugeMask) + hugeSize)
      defer { position = next }
      if hugeEntries > 0, let entry = table.entry(at: position), entry.level > 0, !entry.showsFrames {
        if !memory.isZero(entry) { markHugeLazilyFree(entry, position, next) }
        continue
      }
      markPagesLazilyFree(position, splitParts(position, next))
    }
  }

  private func markPagesLazilyFree(_ start: UInt64, _ end: UInt64) {
    if start >= end { return }
    table.change(start, end, removing: [.dirty, .accessed], inserting: []) { _, entry in
      guard entry.frame != memory.zeroFrame else { return }
      // SAFETY: a frame of this machine.
      let record = unsafe memory.records[entry.frame]
      // A page that is dirty itself and others' as well stays as it is, and so does a part of a huge page.
      if unsafe record.pointee.flags.contains(.anonymous),
        unsafe record.pointee.mapCount == 1 || !record.pointee.flags.contains(.dirty),
        memory.hugeHead(of: entry.frame) == nil
      {
        free(lazily: entry.frame)
      }
    }
  }

  /// `madvise_free_huge_pmd`.
  private func markHugeLazilyFree(_ entry: UserTable.Entry, _ start: UInt64, _ end: UInt64) {
    guard let head = memory.hugeHead(of: entry.frame), let showing = memory.mappings(of: head), showing.count == 1
    else { return }
    if end - start < hugeSize {
      if memory.splitPage(head) { markPagesLazilyFree(start, end) }
      return
    }
    table.change(start, end, removing: [.dirty, .accessed], inserting: [])
    free(lazily: head)
  }

  /// `mark_page_lazyfree`.
  private func free(lazily frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[frame]
    unsafe record.pointee.flags.insert(.lazilyFree)
    unsafe record.pointee.flags.remove(.dirty)
    unsafe record.pointee.flags.remove(.referenced)
    memory.reclaimCounts.markedLazilyFree += unsafe UInt64(memory.size(of: record.pointee))
    if unsafe record.pointee.list != .unevictable { memory.relist(frame, .inactiveFile) }
  }

  /// Splits the huge pages of which entries of the range show parts; where that ends before the range does: at the first part of one that others
  /// show as well, which is asked of its first frame (`folio_estimated_sharers`), or that somebody works on.
  private func splitParts(_ start: UInt64, _ end: UInt64) -> UInt64 {
    var parts: [(address: UInt64, head: FrameNumber)] = []
    table.forEach(start, end) { address, entry in
      guard entry.level == 0, memory.isOrdinary(entry), let head = memory.hugeHead(of: entry.frame),
        parts.last?.head != head
      else { return }
      parts.append((address, head))
    }
    for part in parts where memory.hugeHead(of: part.head) != nil {
      if memory.mapCount(of: part.head) != 1 || !memory.splitPage(part.head) { return part.address }
    }
    return end
  }
}
