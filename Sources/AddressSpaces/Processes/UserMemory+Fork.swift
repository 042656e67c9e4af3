internal import MemoryTypes
internal import Translation

/// fork(2) and exit(2) (kernel/fork.c: `dup_mmap`; mm/memory.c: `copy_page_range`; mm/mmap.c: `exit_mmap`).
extension UserMemory {
  /// A child that shares the parent's pages until either writes to them. ENOMEM where there is no memory for its tables, EAGAIN where there are
  /// as many processes as there may be.
  public func fork(_ parent: Process) throws(CallError) -> Process {
    if !hasRoomForProcess { throw .tryAgain }
    var retried = false
    while true {
      var ranOut = false
      do throws(CallError) { return try fork(parent, ranOut: &ranOut) } catch {
        guard ranOut else { throw error }
        refusedNodes = nil
        if case .killed = relieve(parent, retried: &retried) { throw error }
      }
    }
  }

  /// `ranOut`: it was frames that were missing, not what may be promised.
  private func fork(_ parent: Process, ranOut: inout Bool) throws(CallError) -> Process {
    currentCPU = parent.cpu
    forking = parent
    defer { forking = nil }
    // As it is before the child's tables take turns of the parent's (`dup_task_struct`).
    let lastInterleaved = parent.lastInterleaved
    guard let pid = nextPID else { throw .tryAgain }
    guard let stack = try? makeKernelStack(parent.cpu) else {
      ranOut = true
      throw .outOfMemory
    }
    let space: AddressSpace
    do throws(MemoryError) {
      space = try makeSpace(pid, parent.space.layout, parent.cpu)
    } catch {
      freeKernelStack(stack, parent.cpu)
      ranOut = true
      throw .outOfMemory
    }
    let child = Process(
      pid: pid, parent: parent.pid, name: parent.name, space: space, kernelStack: stack, cpu: parent.cpu,
      allowedCPUs: parent.allowedCPUs)
    child.policy = parent.policy
    child.lastInterleaved = lastInterleaved
    child.oomScoreAdjustment = parent.oomScoreAdjustment
    do throws(CallError) {
      try copyAreas(of: parent.space, to: space, child, ranOut: &ranOut)
    } catch {
      tearDown(space)
      freeKernelStack(stack, parent.cpu)
      throw error
    }
    space.resetPeaks()
    add(child)
    return child
  }

  private func copyAreas(
    of parent: AddressSpace, to child: AddressSpace, _ process: Process, ranOut: inout Bool
  ) throws(CallError) {
    child.breakEnd = parent.breakEnd
    child.counts.total = parent.counts.total
    child.counts.data = parent.counts.data
    child.counts.executable = parent.counts.executable
    child.counts.stack = parent.counts.stack
    settle(parent)
    let deferred = mayDefer(parent) ? DeferredFork(parent: parent, child: child) : nil
    var next = parent.areas.lowest
    while let area = next {
      next = parent.areas.after(area)
      if area.flags.contains(.dontFork) {
        child.account(area.flags, pages: -Int64(parent.pages(area)))
        continue
      }
      if area.flags.contains(.accounted) { try commit(pages: parent.pages(area), by: parent) }
      let copy = Area(
        start: area.start, end: area.end, flags: area.flags.subtracting(.lock), pageOffset: area.pageOffset,
        file: area.file,
        policy: area.policy)
      area.file?.users += 1
      copy.pageLevel = area.pageLevel
      let wiped = area.flags.contains(.wipeOnFork)
      if !wiped { copy.links = area.links.forked(for: copy) }
      child.insert(copy)
      // Where the parent has no private pages of its own, faults fill the child's table as they filled the parent's.
      if !wiped, area.links.group != nil || area.flags.contains(.frameMap) {
        // Where the parent has a table for such an area the child gets one, entries or not.
        let hasBasePagesOnly = parent.hugeEntries == 0 && area.flags.isDisjoint(with: [.frameMap, .hugeTLB])
        let lowest = hasBasePagesOnly ? min(1, format.rootLevel) : area.pageLevel
        guard copyTables(area, of: parent, to: child, process, lowest: lowest),
          hasBasePagesOnly
            ? copyPages(area, of: parent, to: child, process, deferred)
            : copyEntries(area, of: parent, to: child, process)
        else {
          ranOut = true
          throw .outOfMemory
        }
      }
    }
    if let deferred, child.deferredFork === deferred {
      // All of the parent's pages are the child's now, those that it has no entries for yet among them.
      child.counts.anonymousResident = parent.counts.anonymousResident
      deferred.isCounted = true
    }
  }

  /// Whether all that the child is to have of its parent's pages are base pages of private memory without files, so that it has as many.
  private func mayDefer(_ parent: AddressSpace) -> Bool {
    if parent.hugeEntries > 0 { return false }
    var may = true
    parent.forEachArea { area in
      if area.links.group == nil, !area.flags.contains(.frameMap) { return }
      let isPlain = area.flags.isDisjoint(with: [.dontFork, .wipeOnFork, .frameMap, .hugeTLB])
      if !isPlain || !area.isAnonymous || !area.flags.copiesOnWrite { may = false }
    }
    return may
  }

  /// Makes the tables for an area that its parent has; false where no frame is left.
  private func copyTables(
    _ area: Area, of parent: AddressSpace, to child: AddressSpace, _ process: Process, lowest: Int
  ) -> Bool {
    let range = PageRange(VirtualAddress(area.start), pageCount: parent.pages(area))
    do throws(MemoryError) {
      try parent.settledTable.pages.copyTables(
        of: range, to: child.settledTable.pages, lowest: lowest, cpu: process.cpu)
      return true
    } catch { return false }
  }

  /// Copies the entries of an area, all of them base pages, a table at a time (`copy_pte_range`), or has `deferred` do it where the area has
  /// all of a table; false where no frame is left for a table.
  private func copyPages(
    _ area: Area, of parent: AddressSpace, to child: AddressSpace, _ process: Process, _ deferred: DeferredFork?
  ) -> Bool {
    var hasChanged = false
    // CPUs learn of it in the end, as what they may still write no child can read before.
    defer { if hasChanged { parent.settledTable.flushPages(area.start, area.end) } }
    let mask = hugePageSize - 1
    let whole = (start: min((area.start &+ mask) & ~mask, area.end), end: area.end & ~mask)
    var start = area.start
    while start < area.end {
      if let deferred, start == whole.start, start < whole.end {
        guard deferTables(whole.start, whole.end, deferred, process, &hasChanged) else { return false }
        start = whole.end
        continue
      }
      let end = min(area.end, (start & ~mask) &+ hugePageSize)
      guard copyPages(area, start, end, of: parent, to: child, process, &hasChanged) else { return false }
      start = end
    }
    return true
  }

  private func deferTables(
    _ start: UInt64, _ end: UInt64, _ fork: DeferredFork, _ process: Process, _ hasChanged: inout Bool
  ) -> Bool {
    var tables: [DeferredTable] = []
    var isDone = true
    do throws(MemoryError) {
      try fork.parent.settledTable.pages.deferCopies(
        of: PageRange(VirtualAddress(start), pageCount: (end - start) >> pageShift),
        to: fork.child.settledTable.pages, cpu: process.cpu, into: &tables)
    } catch { isDone = false }
    if tables.isEmpty { return isDone }
    if fork.child.deferredFork == nil {
      fork.parent.deferredFork = fork
      fork.parent.lastSettled = .max
      fork.child.deferredFork = fork
      deferringSpaces.append(fork.child)
    }
    fork.add(tables)
    hasChanged = true
    return isDone
  }

  private func copyPages(
    _ area: Area, _ start: UInt64, _ end: UInt64, of parent: AddressSpace, to child: AddressSpace, _ process: Process,
    _ hasChanged: inout Bool
  ) -> Bool {
    var copied: (anonymous: UInt64, ofFiles: Int64) = (0, 0)
    let range = PageRange(VirtualAddress(start), pageCount: (end - start) >> pageShift)
    do throws(MemoryError) {
      let change = try parent.settledTable.pages.copyBasePages(
        range, to: child.settledTable.pages, removing: area.flags.copiesOnWrite ? .writable : [],
        forgetting: area.flags.contains(.shared) ? [.accessed, .dirty] : .accessed, cpu: process.cpu
      ) { frame, _ in
        switch share(frame) {
        case .zeros: break
        case .anonymous: copied.anonymous += 1
        case .ofFile: copied.ofFiles += 1
        }
      }
      if change { hasChanged = true }
    } catch { return false }
    child.counts.anonymousResident += copied.anonymous
    if copied.ofFiles > 0 { child.countFilePage(area, by: copied.ofFiles) }
    return true
  }

  /// The same for any entries, one at a time.
  private func copyEntries(_ area: Area, of parent: AddressSpace, to child: AddressSpace, _ process: Process) -> Bool {
    let protects = area.flags.copiesOnWrite
    let cleared: PageFlags = protects ? .writable : []
    var failed = false
    var copied: [UInt64] = []
    parent.table.change(area.start, area.end, removing: cleared, inserting: []) { address, _ in copied.append(address) }
    for address in copied {
      // What the tables of pages before this one took may have moved the page, or reclaimed it.
      guard let entry = parent.table.entry(at: address) else { continue }
      var flags = entry.flags.subtracting(.accessed)
      if area.flags.contains(.shared) { flags.remove(.dirty) }
      if area.flags.contains(.hugeTLB) {
        do throws(MemoryError) { try child.table.enter(address, entry, flags, process.cpu) } catch {
          failed = true
          break
        }
        countPoolEntry(FrameRange(start: entry.frame, count: FrameCount(format.basePages(level: entry.level))), by: 1)
        child.counts.hugeTLB += format.basePages(level: entry.level)
        continue
      }
      // What somebody else holds, and zeros, need no pin, and are not to be given back.
      let isOrdinary = isOrdinary(entry)
      let isHuge = entry.level > 0 && !entry.showsFrames
      if isOrdinary { pin(entry.frame) }
      do throws(MemoryError) {
        if isHuge { try child.table.pages.deposit(cpu: process.cpu) }
        do throws(MemoryError) {
          try child.table.enter(address, entry, flags, process.cpu)
        } catch {
          if isHuge { child.table.pages.withdraw() }
          throw error
        }
      } catch {
        if isOrdinary { unpin(entry.frame) }
        failed = true
        break
      }
      if entry.showsFrames {
        retainFrames(entry)
        continue
      }
      if isHuge { child.hugeEntries += 1 }
      if !isOrdinary {
        if isHuge { _ = hugeZeroPage(for: child) }
        continue
      }
      // SAFETY: a frame of this machine. The pin is the entry's reference from here on.
      let record = unsafe records[entry.frame]
      if isHuge {
        countWhole(entry.frame, by: 1)
        unsafe record.pointee.flags.remove(.exclusive)
        child.counts.anonymousResident += hugeFrames
        continue
      }
      countEntry(of: entry.frame, by: 1)
      if unsafe record.pointee.flags.contains(.anonymous) {
        unsafe record.pointee.flags.remove(.exclusive)
        child.counts.anonymousResident += 1
      } else {
        child.countFilePage(area, by: 1)
      }
    }
    return !failed
  }

  /// Ends a process: everything it held goes back.
  public func exit(_ process: Process) {
    currentCPU = process.cpu
    remove(process)
    tearDown(process.space)
    freeKernelStack(process.kernelStack, process.cpu)
  }

  func tearDown(_ space: AddressSpace) {
    releaseHugeZero(of: space)
    // CPUs that have the space loaded leave it first: what follows needs no flush.
    mmu.detach(space.table.pages, from: currentCPU)
    while let area = space.areas.lowest {
      // What lies in one area at a time: the call cannot fail, as nothing is split.
      do throws(CallError) { try space.unmapAligned(area.start, area.end) } catch { preconditionFailure("\(error)") }
    }
  }
}
