internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// What became of a fault.
enum FaultOutcome {
  case minor
  case major
  case signal(Signal)
  case outOfMemory
}

/// Page faults, as `do_user_addr_fault` (arch/x86/mm/fault.c) and `handle_mm_fault` (mm/memory.c) resolve them.
extension AddressSpace {
  /// Resolves a user's access that the page table refused. `wasPresent`: the entry was there but did not allow it.
  func fault(_ process: Process, _ address: UInt64, write: Bool, wasPresent: Bool) -> FaultOutcome {
    guard let area = unsafe faultingArea(process, address) else { return .signal(.segmentation(.mapError)) }
    // SAFETY: areas stay while a fault is taken.
    return unsafe area._withUnsafeGuaranteedRef { area in
      if write ? !area.flags.contains(.write) : wasPresent || !area.flags.isAccessible {
        return .signal(.segmentation(.accessError))
      }
      memory.refusedNodes = nil
      let outcome = handle(process, area, roundedDown(address), write: write)
      count(outcome, process)
      return outcome
    }
  }

  private func faultingArea(_ process: Process, _ address: UInt64) -> Unmanaged<Area>? {
    if let area = unsafe findUnretained(address) { return unsafe area }
    return unsafe growStack(process, to: address).map { unsafe .passUnretained($0) }
  }

  func count(_ outcome: FaultOutcome, _ process: Process) {
    switch outcome {
    case .minor:
      process.minorFaults += 1
      memory.events.faults += 1
    case .major:
      process.majorFaults += 1
      memory.events.faults += 1
      memory.events.majorFaults += 1
    case .signal, .outOfMemory: break
    }
  }

  /// `expand_downwards`: the stack above `address`, grown to hold it; nil where there is none or it may not grow.
  func growStack(_ process: Process, to rawAddress: UInt64) -> Area? {
    let address = roundedDown(rawAddress)
    guard let area = areas.first(endingAbove: address), area.flags.contains(.growsDown),
      address >= memory.limits.lowestAddress
    else {
      return nil
    }
    if let previous = areas.before(area), !previous.flags.contains(.growsDown), previous.flags.isAccessible,
      address - previous.end < memory.limits.stackGuardGap
    {
      return nil
    }
    prepareGroup(area)
    let size = area.end - address
    let growth = (area.start - address) >> pageShift
    guard growth <= area.pageOffset, mayGrow(area.flags, pages: growth), size <= layout.stackLimit else { return nil }
    do throws(CallError) {
      try checkLockLimit(area.flags, length: growth << pageShift)
      try memory.commit(pages: growth, by: self)
    } catch { return nil }
    if area.flags.contains(.locked) { counts.locked += growth }
    account(area.flags, pages: Int64(growth))
    areasChanged()
    areas.resize(area, start: address, end: area.end)
    area.pageOffset -= growth
    memory.events.stackGrowth += 1
    return area
  }

  /// `handle_pte_fault`: makes the page at `page` accessible. The area allows the access.
  func handle(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> FaultOutcome {
    if area.flags.contains(.hugeTLB) { return poolFault(process, area, page, write: write) }
    guard let entry = settledTable.entry(at: page) else {
      if !area.isAnonymous { return fileFault(process, area, page, write: write) }
      if memory.transparent.enabled != .never, let outcome = hugeFault(process, area, page, write: write) {
        return outcome
      }
      return zeroFault(process, area, page, write: write)
    }
    if write, !entry.flags.contains(.writable) {
      if entry.level == 0 || entry.showsFrames { return writeFault(process, area, page, entry) }
      return hugeWriteFault(area, page, entry) ?? handle(process, area, page, write: true)
    }
    let start = page & ~(memory.format.pageSize(level: entry.level).rawValue - 1)
    let end = start + memory.format.pageSize(level: entry.level).rawValue
    settledTable.change(
      start, end, removing: write ? UserMemory.unwrittenMark : [], inserting: write ? [.accessed, .dirty] : .accessed)
    return .minor
  }

  /// `do_anonymous_page`: the frame of zeros for a read, one of the process's own for a write.
  private func zeroFault(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> FaultOutcome {
    var flags = entryFlags(area).union(.accessed)
    if !write { return enter(page, memory.zeroFrame, flags.subtracting(.writable).union(area.readMark), process) }
    prepareGroup(area)
    guard let frame = memory.allocateAnonymous(process, area, page, zeroed: true) else { return .outOfMemory }
    if area.flags.contains(.write) { flags.formUnion([.writable, .dirty]) }
    return enterAnonymous(process, area, page, frame, flags)
  }

  private func enterAnonymous(
    _ process: Process, _ area: Area, _ page: UInt64, _ frame: FrameNumber, _ flags: PageFlags
  ) -> FaultOutcome {
    memory.beginAnonymous(frame, area, index: area.pageIndex(at: page, shift: pageShift))
    let outcome = enter(page, frame, flags, process)
    if case .minor = outcome {
      counts.anonymousResident += 1
      memory.events.demandZero += 1
      if area.flags.contains(.locked) { memory.lockPage(frame) }
    } else {
      memory.putPage(frame, cpu: process.cpu)
    }
    return outcome
  }

  private func enter(_ page: UInt64, _ frame: FrameNumber, _ flags: PageFlags, _ process: Process) -> FaultOutcome {
    do throws(MemoryError) {
      try settledTable.set(page, frame, flags, cpu: process.cpu)
      return .minor
    } catch {
      switch error {
      case .outOfMemory: return .outOfMemory
      default: preconditionFailure("a fault's entry was refused: \(error)")
      }
    }
  }

  // MARK: Writes to what is there

  /// What a write leaves in an entry (`maybe_mkwrite`). A debugger's write to an area that the process may only read leaves it unwritable.
  func writtenFlags(_ area: Area) -> PageFlags {
    area.flags.contains(.write) ? [.writable, .dirty, .accessed] : [.dirty, .accessed]
  }

  /// `do_wp_page`: a write to a page whose entry does not allow it, in an area that does.
  private func writeFault(_ process: Process, _ area: Area, _ page: UInt64, _ entry: UserTable.Entry) -> FaultOutcome {
    let isZero = entry.frame == memory.zeroFrame
    if !isZero {
      // SAFETY: a frame of this machine.
      let record = unsafe memory.records[entry.frame]
      if unsafe record.pointee.flags.contains(.anonymous) {
        let head = memory.head(of: entry.frame)
        let whole = unsafe memory.records[head]
        // The last owner writes without a copy.
        if unsafe record.pointee.flags.contains(.exclusive) || whole.pointee.references == 1 {
          unsafe record.pointee.flags.insert(.exclusive)
          if unsafe whole.pointee.flags.contains(.lazilyFree) {
            unsafe whole.pointee.flags.remove(.lazilyFree)
            if unsafe whole.pointee.list != .unevictable { memory.relist(head, .inactiveAnonymous) }
          }
          settledTable.change(page, page + pageSize, removing: UserMemory.unwrittenMark, inserting: writtenFlags(area))
          memory.events.reusedOnWrite += 1
          return .minor
        }
      } else if area.flags.contains(.shared) {
        memory.markDirty(entry.frame)
        settledTable.change(
          page, page + pageSize, removing: UserMemory.unwrittenMark, inserting: [.writable, .dirty, .accessed])
        return .minor
      }
    }
    return copyFault(process, area, page, entry, isZero: isZero)
  }

  /// `wp_page_copy`.
  private func copyFault(
    _ process: Process, _ area: Area, _ page: UInt64, _ entry: UserTable.Entry, isZero: Bool
  ) -> FaultOutcome {
    prepareGroup(area)
    // The page stays what the entry leads to until it is copied.
    memory.pin(entry.frame)
    guard let frame = memory.allocateAnonymous(process, area, page, zeroed: isZero) else {
      memory.unpin(entry.frame)
      return .outOfMemory
    }
    if !isZero { memory.copyPage(entry.frame, to: frame) }
    memory.beginAnonymous(frame, area, index: area.pageIndex(at: page, shift: pageShift))
    settledTable.replace(page, frame, entryFlags(area).union(writtenFlags(area)))
    if area.flags.contains(.locked) { memory.lockPage(frame) }
    if isZero {
      memory.unpin(entry.frame)
      counts.anonymousResident += 1
      memory.events.demandZero += 1
      return .minor
    }
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[entry.frame]
    if unsafe !record.pointee.flags.contains(.anonymous) {
      countFilePage(area, by: -1)
      counts.anonymousResident += 1
    }
    memory.countEntry(of: entry.frame, by: -1)
    if area.flags.contains(.locked) { memory.unlockPage(entry.frame) }
    memory.putPage(entry.frame, holds: 2, cpu: process.cpu)
    memory.events.copyOnWrite += 1
    return .minor
  }

  // MARK: Files

  /// `do_fault`: a page of a file that has no entry yet.
  private func fileFault(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> FaultOutcome {
    let file = area.file!
    // Frames as they are have no fault operation: what is not there cannot be brought.
    if file.kind == .physicalMemory { return .signal(.bus) }
    let index = area.pageIndex(at: page, shift: pageShift)
    let pageCount = (file.size + pageMask) >> pageShift
    if !write, faultAround(process, area, page, index, pageCount) { return .minor }
    if index >= pageCount { return .signal(.bus) }
    // Pages that nobody was promised are counted as they come (`shmem_acct_block`).
    if file.countsPages, file.page(index) == nil, !memory.mayCommit(pages: 1, by: self) { return .signal(.bus) }
    let copies = write && !area.flags.contains(.shared)
    var own: FrameNumber?
    if copies {
      prepareGroup(area)
      own = memory.allocateAnonymous(process, area, page, zeroed: false)
      if own == nil { return .outOfMemory }
    }
    guard let (frame, isNew) = memory.cachePage(process, file, index, for: area) else {
      if let own { memory.free(own, cpu: process.cpu) }
      return .outOfMemory
    }
    // Only what is read from a disk is a major fault; shared memory is made of zeros.
    let resolved: FaultOutcome = isNew && file.kind == .regular ? .major : .minor
    if let own {
      memory.copyPage(frame, to: own)
      let outcome = enterAnonymous(process, area, page, own, entryFlags(area).union(writtenFlags(area)))
      if case .minor = outcome { return resolved }
      return outcome
    }
    var flags = entryFlags(area).union(.accessed)
    flags.formUnion(write ? [.writable, .dirty] : area.readMark)
    memory.pin(frame)
    defer { memory.unpin(frame) }
    if let outcome = showWhole(process, area, page, frame, write: write) {
      if write, case .minor = outcome { memory.markDirty(frame) }
      return outcome
    }
    let outcome = enter(page, frame, flags, process)
    guard case .minor = outcome else { return outcome }
    hold(area, frame)
    if write { memory.markDirty(frame) }
    return resolved
  }

  /// Counts an entry for a page of the cache (`page_add_file_rmap`).
  private func hold(_ area: Area, _ frame: FrameNumber) {
    memory.countEntry(of: frame, by: 1)
    memory.pin(frame)
    if area.flags.contains(.locked) { memory.lockPage(frame) }
    countFilePage(area, by: 1)
  }

  /// `do_fault_around`, `filemap_map_pages`: enters the pages near `page` that are in memory. Answers whether `page` was among them.
  private func faultAround(_ process: Process, _ area: Area, _ page: UInt64, _ index: UInt64, _ filePages: UInt64)
    -> Bool
  {
    let window = memory.faultAroundBytes >> pageShift
    if window <= 1 { return false }
    let tableEntries = memory.format.indexMasks[0] + 1
    let first = max(page & ~(window << pageShift - 1), area.start)
    let firstIndex = index - (page - first) >> pageShift
    let slot = first >> pageShift & (tableEntries - 1)
    let last = min(
      firstIndex + (tableEntries - 1 - slot), area.pageOffset + pages(area) - 1, firstIndex + window - 1, filePages &- 1
    )
    if filePages == 0 || last < firstIndex { return false }
    var found = false
    var isFirst = true
    for candidate in firstIndex...last {
      let address = first + (candidate - firstIndex) << pageShift
      guard let frame = area.file!.page(candidate) else { continue }
      // `filemap_map_pmd`: the first page decides.
      if isFirst, case .minor = showWhole(process, area, page, frame, write: false) { return true }
      isFirst = false
      guard settledTable.entry(at: address) == nil else { continue }
      memory.pin(frame)
      defer { memory.unpin(frame) }
      let flags = entryFlags(area).union(.accessed).union(area.readMark)
      guard case .minor = enter(address, frame, flags, process) else { return found }
      hold(area, frame)
      if address == page { found = true }
    }
    return found
  }
}
