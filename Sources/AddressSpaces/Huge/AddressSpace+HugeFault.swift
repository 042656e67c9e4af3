internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Faults on transparent huge pages (mm/huge_memory.c).
extension AddressSpace {
  var hugeSize: UInt64 { memory.hugePageSize }
  var hugeMask: UInt64 { memory.hugePageSize - 1 }

  /// Whether the huge page at `start` lies in the area, and of a file's area is one of the file's (`transhuge_vma_suitable`).
  func hasRoom(_ area: Area, forHugePageAt start: UInt64) -> Bool {
    if !area.isAnonymous, (area.start >> pageShift &- area.pageOffset) & (memory.hugeFrames - 1) != 0 { return false }
    return start >= area.start && start < area.end && area.end - start >= hugeSize
  }

  /// Why somebody asks whether an area may have huge pages.
  enum HugePageAsker { case fault, smaps, khugepaged, collapse }

  /// `hugepage_vma_check`: private anonymous and shared memory, and not where the settings or advice say otherwise; madvise(MADV_COLLAPSE)
  /// does not ask the settings. Shared memory's faults ask for themselves.
  func mayHaveHugePages(_ area: Area, for asker: HugePageAsker) -> Bool {
    if !area.flags.isDisjoint(with: [.noHugePage, .io, .dontExpand, .frameMap, .hugeTLB]) { return false }
    if asker != .fault, area.size < hugeSize || !hasRoom(area, forHugePageAt: (area.end - hugeSize) & ~hugeMask) {
      return false
    }
    if let file = area.file {
      return asker != .fault && file.kind == .sharedMemory
        && memory.isSharedHuge(area, file, index: area.pageOffset, forced: asker == .collapse)
    }
    if asker != .collapse {
      switch memory.transparent.enabled {
      case .never: return false
      case .madvise: if !area.flags.contains(.hugePage) { return false }
      case .always: break
      }
    }
    return area.links.group != nil || asker == .fault || asker == .smaps
  }

  /// There is no table, not even one without entries, for the huge page around an address where no page is (`pmd_none`).
  func hasNoTable(at address: UInt64) -> Bool { !settledTable.hasTable(at: address) }

  /// `do_huge_pmd_anonymous_page`: nil where the fault is one of a base page.
  func hugeFault(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> FaultOutcome? {
    let start = page & ~hugeMask
    guard mayHaveHugePages(area, for: .fault), hasRoom(area, forHugePageAt: start), hasNoTable(at: start) else {
      return nil
    }
    prepareGroup(area)
    if !write, memory.transparent.usesZeroPage {
      guard deposit(process) else { return .outOfMemory }
      guard let zero = memory.hugeZeroPage(for: self) else {
        table.pages.withdraw()
        memory.hugeEvents.faultFallbacks += 1
        return nil
      }
      let flags = entryFlags(area).union(.accessed).subtracting(.writable).union(area.readMark)
      return enterHuge(start, zero, flags, process)
    }
    guard let frames = memory.allocateHuge(process, area, start, zeroed: true) else {
      memory.hugeEvents.faultFallbacks += 1
      return nil
    }
    guard deposit(process) else {
      memory.giveBack(frames, process.cpu)
      return .outOfMemory
    }
    memory.beginHuge(frames.start, area.links.group, index: area.pageIndex(at: start, shift: pageShift))
    let outcome = enterHuge(start, frames, entryFlags(area).union(writtenFlags(area)), process)
    guard case .minor = outcome else {
      memory.dropWhole(frames.start)
      return outcome
    }
    counts.anonymousResident += memory.hugeFrames
    memory.events.demandZero += 1
    memory.hugeEvents.faultAllocations += 1
    if area.flags.contains(.locked) { memory.lockPage(frames.start, asPart: false) }
    return .minor
  }

  private func deposit(_ process: Process) -> Bool { (try? table.pages.deposit(cpu: process.cpu)) != nil }

  /// Enters a huge page for which a table was put aside.
  private func enterHuge(_ start: UInt64, _ frames: FrameRange, _ flags: PageFlags, _ process: Process) -> FaultOutcome
  {
    do throws(MemoryError) {
      try table.setHuge(start, frames, flags, level: 1, cpu: process.cpu)
    } catch {
      table.pages.withdraw()
      switch error {
      case .outOfMemory: return .outOfMemory
      default: preconditionFailure("a huge page's entry was refused: \(error)")
      }
    }
    hugeEntries += 1
    return .minor
  }

  /// `do_set_pmd`: shows all of the huge page of a file that `frame` is part of; nil where the frame has to be shown by itself.
  func showWhole(_ process: Process, _ area: Area, _ page: UInt64, _ frame: FrameNumber, write: Bool) -> FaultOutcome? {
    let start = page & ~hugeMask
    guard let head = memory.hugeHead(of: frame), hasRoom(area, forHugePageAt: start), hasNoTable(at: start) else {
      return nil
    }
    let flags = entryFlags(area).union(.accessed).union(write ? [.writable, .dirty] : area.readMark)
    do throws(MemoryError) {
      let frames = FrameRange(start: head, count: FrameCount(memory.hugeFrames))
      try settledTable.setHuge(start, frames, flags, level: 1, cpu: process.cpu)
    } catch {
      switch error {
      case .outOfMemory: return .outOfMemory
      default: preconditionFailure("a huge page's entry was refused: \(error)")
      }
    }
    hugeEntries += 1
    memory.pin(head)
    memory.countWhole(head, by: 1)
    countFilePage(area, by: Int64(memory.hugeFrames))
    if area.flags.contains(.locked) { memory.lockPage(head, asPart: false) }
    memory.hugeEvents.fileMapped += 1
    return .minor
  }

  /// `do_huge_pmd_wp_page`: a write to a huge page whose entry does not allow it; nil where the entry has been split, and the write is one to
  /// a base page.
  func hugeWriteFault(_ area: Area, _ page: UInt64, _ entry: UserTable.Entry) -> FaultOutcome? {
    let start = page & ~hugeMask
    if area.isAnonymous, !memory.isZero(entry) {
      // SAFETY: a frame of this machine.
      let record = unsafe memory.records[FrameNumber(entry.frame.rawValue & ~(memory.hugeFrames - 1))]
      if unsafe record.pointee.flags.contains(.exclusive) || record.pointee.references == 1 {
        unsafe record.pointee.flags.insert(.exclusive)
        table.change(start, start + hugeSize, removing: UserMemory.unwrittenMark, inserting: writtenFlags(area))
        memory.events.reusedOnWrite += 1
        return .minor
      }
    }
    splitEntry(at: start)
    return nil
  }

  // MARK: Splitting entries

  /// Splits the entry of a huge page that holds `address`: each of its frames is shown by an entry of its own then, and the frames of zeros
  /// by entries for the one frame of zeros; that of a file's page goes, and faults bring its frames back (`__split_huge_pmd`). Nothing happens
  /// where there is no such entry.
  func splitEntry(at address: UInt64) {
    guard hugeEntries > 0, let entry = table.entry(at: address), entry.level == 1, !entry.showsFrames,
      let area = areas.area(at: address), !area.flags.contains(.hugeTLB)
    else { return }
    let start = address & ~hugeMask
    memory.hugeEvents.entrySplits += 1
    if !area.isAnonymous {
      if entry.flags.contains(.accessed) { memory.markReferenced(memory.head(of: entry.frame)) }
      return takeOut(area, start, start + hugeSize)
    }
    hugeEntries -= 1
    if memory.isZero(entry) {
      table.splitHuge(start, onto: memory.zeroFrame)
      return
    }
    let head = FrameNumber(entry.frame.rawValue & ~(memory.hugeFrames - 1))
    if entry.flags.contains(.dirty) {
      // What was written is known of the page alone from here on.
      memory.markDirty(head)
      table.change(start, start + hugeSize, removing: .dirty, inserting: [])
    }
    table.splitHuge(start)
    memory.splitWhole(head)
    if area.flags.contains(.locked) { memory.unlockPage(head, asPart: false) }
  }

  /// Splits the huge pages' entries that an edge of the range cuts.
  @inline(__always) func splitEntries(cutBy start: UInt64, _ end: UInt64) {
    if hugeEntries == 0 { return }
    if start & hugeMask != 0 { splitEntry(at: start) }
    if end & hugeMask != 0 { splitEntry(at: end) }
  }

  /// `split_huge_pmd_if_needed`: an edge of an area is about to lie at `address`.
  @inline(__always) func splitEntry(cutBy address: UInt64) {
    if hugeEntries > 0, address & hugeMask != 0 { splitEntry(at: address) }
  }
}
