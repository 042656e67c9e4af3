internal import MemoryTypes
internal import Translation

/// What became of an attempt to make a page accessible for the kernel (`faultin_page`).
enum PopulateOutcome {
  case done
  /// The area does not allow it, or the file ends before it.
  case bad
  case outOfMemory
}

/// Faults that the kernel takes for a process, ahead of its accesses (mm/gup.c: `populate_vma_page_range`, `__mm_populate`).
extension AddressSpace {
  /// Makes one page of `area` accessible (`follow_page_mask`, `faultin_page`). `force`: any right of the area will do for a read.
  func faultIn(_ process: Process, _ area: Area, _ page: UInt64, write: Bool, force: Bool) -> PopulateOutcome {
    while true {
      if let entry = table.entry(at: page), !write || entry.flags.contains(.writable) {
        memory.touch(entry, write: write)
        return .done
      }
      let outcome = faultOnce(process, area, page, write: write)
      guard case .done = outcome else { return outcome }
    }
  }

  /// One fault of the kernel's own on a page (`faultin_page`), counted for the process.
  func faultOnce(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> PopulateOutcome {
    var retried = false
    memory.settle(self)
    while true {
      memory.refusedNodes = nil
      let outcome = handle(process, area, page, write: write)
      count(outcome, process)
      switch outcome {
      case .minor, .major: return .done
      case .signal: return .bad
      case .outOfMemory:
        if case .killed = memory.relieve(process, retried: &retried) { return .outOfMemory }
      }
    }
  }

  /// Makes the pages of `start ..< end` of `area` accessible as mlock and MAP_POPULATE want them; how it ended, and where.
  func populateArea(_ process: Process, _ area: Area, _ start: UInt64, _ end: UInt64) -> (
    outcome: PopulateOutcome, reached: UInt64
  ) {
    if area.flags.contains(.lockOnFault) { return (.done, end) }
    // A write where that breaks copy-on-write; not where it would dirty shared pages for nothing.
    let write = area.flags.intersection([.write, .shared]) == .write
    if !area.flags.isAccessible { return (.bad, start) }
    var page = start
    while page < end {
      // Rather than to be ended by the host, with all that is here.
      if (page >> pageShift) & (HostMemory.interval - 1) == 0, HostMemory.isShort { return (.outOfMemory, page) }
      if !write, end - page >= hugeSize, enterZeros(process, area, page) {
        page += hugeSize
        continue
      }
      let outcome = faultIn(process, area, page, write: write, force: true)
      guard case .done = outcome else { return (outcome, page) }
      page = endOfEntry(at: page, of: area)
    }
    return (.done, end)
  }

  /// What reads of every page that a table of base pages covers leave behind, where there is none yet: entries for the frame of zeros. False
  /// where faults have to decide, page by page.
  private func enterZeros(_ process: Process, _ area: Area, _ start: UInt64) -> Bool {
    guard area.isAnonymous, start & hugeMask == 0, area.pageLevel == 0, hasNoTable(at: start),
      table.entry(at: start) == nil, !mayHaveHugePages(area, for: .fault)
    else { return false }
    let flags = entryFlags(area).union(.accessed).subtracting(.writable).union(area.readMark)
    for index in 0..<memory.hugeFrames {
      do throws(MemoryError) {
        try table.set(start + index << pageShift, memory.zeroFrame, flags, cpu: process.cpu)
      } catch {
        // Only the first can need a table.
        return false
      }
    }
    process.minorFaults += memory.hugeFrames
    memory.events.faults += memory.hugeFrames
    return true
  }

  /// Where what the entry at `page` shows ends, also where that is a large page (`follow_page_mask`).
  func endOfEntry(at page: UInt64, of area: Area) -> UInt64 {
    guard hugeEntries > 0 || area.pageLevel > 0, let entry = table.entry(at: page), entry.level > 0 else {
      return page + pageSize
    }
    let size = memory.format.pageSize(level: entry.level).rawValue
    return page & ~(size - 1) + size
  }

  /// `__mm_populate`: what cannot be is passed over, or ends it.
  @discardableResult
  func populate(_ process: Process, _ start: UInt64, _ length: UInt64, stopsAtError: Bool = false) -> PopulateOutcome {
    let end = start &+ length
    var position = start
    while position < end {
      guard let area = areas.first(overlapping: position, end) else { break }
      let stop = min(end, area.end)
      let (outcome, reached) = populateArea(process, area, max(position, area.start), stop)
      switch outcome {
      case .done: position = stop
      case .bad, .outOfMemory:
        if stopsAtError { return outcome }
        _ = reached
        position = stop
      }
    }
    return .done
  }
}

extension UserMemory {
  /// The kernel looks at a page for somebody: it is as good as used, or written (`follow_page_pte` with FOLL_TOUCH).
  func touch(_ entry: UserTable.Entry, write: Bool) {
    guard isOrdinary(entry) else { return }
    if write, !entry.flags.contains(.dirty) { markDirty(entry.frame) }
    // Of a huge page the entry says that it is used.
    if entry.level == 0 { markAccessed(head(of: entry.frame)) }
  }
}
