internal import MemoryTypes
internal import Translation

/// madvise(2) (mm/madvise.c).
extension AddressSpace {
  func advise(_ process: Process, _ askedStart: UInt64, _ askedLength: UInt64, advice raw: UInt64) throws(CallError) {
    // The kernel takes the advice as an int.
    guard let advice = Advice(rawValue: UInt64(UInt32(truncatingIfNeeded: raw))) else { throw .invalid }
    if !isAligned(askedStart) { throw .invalid }
    let length = roundedUp(askedLength)
    if askedLength != 0, length == 0 { throw .invalid }
    let end = askedStart &+ length
    if end < askedStart { throw .invalid }
    if end == askedStart { return }

    // `madvise_walk_vmas`: holes are passed over, and make the call fail at its end.
    var start = askedStart
    var sawHole = false
    var previous: Area?
    var current = areas.first(endingAbove: start)
    if let area = current { previous = start > area.start ? area : areas.before(area) }
    while true {
      guard let area = current else { throw .outOfMemory }
      if start < area.start {
        sawHole = true
        start = area.start
        if start >= end { break }
      }
      let stop = min(area.end, end)
      previous = try advise(process, area, previous, start, stop, advice)
      start = stop
      if let previous, start < previous.end { start = previous.end }
      if start >= end { break }
      current = areas.first(endingAbove: previous?.end ?? start)
    }
    if sawHole { throw .outOfMemory }
  }

  /// `madvise_vma_behavior`: answers the area to go on from.
  private func advise(
    _ process: Process, _ area: Area, _ previous: Area?, _ start: UInt64, _ end: UInt64, _ advice: Advice
  ) throws(CallError) -> Area? {
    var flags = area.flags
    switch advice {
    case .remove:
      try removePages(area, start, end)
      return nil
    case .willNeed:
      memory.readAhead(area, start, end, for: process)
      return area
    case .cold, .pageOut:
      if !area.flags.isDisjoint(with: [.locked, .hugeTLB, .frameMap]) { throw .invalid }
      age(area, start, end, pagesOut: advice == .pageOut)
      return area
    case .free, .dontNeed, .dontNeedLocked:
      try discard(area, start, end, advice)
      return area
    case .populateRead, .populateWrite:
      try populateAll(process, area, start, end, write: advice == .populateWrite)
      return area
    case .normal: flags.subtract([.randomRead, .sequentialRead])
    case .sequential:
      flags.remove(.randomRead)
      flags.insert(.sequentialRead)
    case .random:
      flags.remove(.sequentialRead)
      flags.insert(.randomRead)
    case .dontFork: flags.insert(.dontFork)
    case .doFork:
      if flags.contains(.io) { throw .invalid }
      flags.remove(.dontFork)
    case .wipeOnFork:
      if area.file != nil || flags.contains(.shared) { throw .invalid }
      flags.insert(.wipeOnFork)
    case .keepOnFork: flags.remove(.wipeOnFork)
    case .dontDump: flags.insert(.dontDump)
    case .doDump:
      if !flags.contains(.hugeTLB), flags.contains(.dontExpand) { throw .invalid }
      flags.remove(.dontDump)
    case .mergeable, .unmergeable:
      // `ksm_madvise` leaves shared and special areas alone.
      if flags.isDisjoint(with: [.shared, .mayShare, .dontExpand, .hugeTLB]) {
        if advice == .mergeable { flags.insert(.mergeable) } else { flags.remove(.mergeable) }
      }
    case .hugePage:
      flags.remove(.noHugePage)
      flags.insert(.hugePage)
    case .noHugePage:
      flags.remove(.hugePage)
      flags.insert(.noHugePage)
    case .collapse:
      try collapse(process, area, start, end)
      return area
    }
    if flags == area.flags { return area }
    // `madvise_update_vma`: the kernel answers EAGAIN where it ran out of areas.
    do throws(CallError) {
      let target = try isolate(area, previous: previous, start, end, flags: flags, policy: area.policy).area
      target.flags = flags
      return target
    } catch { throw error == .outOfMemory ? .tryAgain : error }
  }

  /// MADV_COLD and MADV_PAGEOUT (`madvise_cold_or_pageout_pte_range`, `shrink_folio_list`): pages that nobody else maps become old, and
  /// with PAGEOUT go where they can. Private memory has no swap to go to, unless it was freed lazily; a file's pages leave the table, and
  /// the cache as well where they are clean.
  private func age(_ area: Area, _ start: UInt64, _ end: UInt64, pagesOut: Bool) {
    var position = start
    while position < end {
      let next = min(end, (position & ~hugeMask) + hugeSize)
      if let head = wholeHead(at: position) {
        ageWhole(area, position, next, head, pagesOut: pagesOut)
      } else if table.hasTable(at: position) {
        agePages(area, position, next, pagesOut: pagesOut)
      }
      position = next
    }
  }

  /// The huge page that an entry at an address shows as a whole, if it is a page like any other.
  private func wholeHead(at address: UInt64) -> FrameNumber? {
    guard hugeEntries > 0, let entry = table.entry(at: address), entry.level > 0, memory.isOrdinary(entry) else {
      return nil
    }
    return memory.hugeHead(of: entry.frame)
  }

  private func ageWhole(_ area: Area, _ start: UInt64, _ end: UInt64, _ head: FrameNumber, pagesOut: Bool) {
    if memory.mapCount(of: head) != 1 { return }
    if end - start < hugeSize {
      // Of a huge page that is meant in part the part becomes pages of their own.
      if memory.splitPage(head) { agePages(area, start, end, pagesOut: pagesOut) }
      return
    }
    table.change(start, end, removing: .accessed, inserting: [])
    memory.forgetReference(head)
    // Shared memory goes page by page.
    guard pagesOut, let file = area.file, memory.splitPage(head) else { return }
    let first = area.pageIndex(at: start, shift: pageShift)
    for index in first..<first + memory.hugeFrames { memory.pageOut(file, index) }
  }

  private func agePages(_ area: Area, _ start: UInt64, _ end: UInt64, pagesOut: Bool) {
    for address in stride(from: start, to: end, by: Int(pageSize)) {
      guard var entry = table.entry(at: address), memory.isOrdinary(entry) else { continue }
      if let head = memory.hugeHead(of: entry.frame) {
        // Parts that others show as well end it (`madvise_cold_or_pageout_pte_range`).
        if memory.mapCount(of: entry.frame) != 1 || !memory.splitPage(head) { return }
        guard let part = table.entry(at: address) else { continue }
        entry = part
      }
      if memory.mapCount(of: entry.frame) != 1 { continue }
      table.change(address, address + pageSize, removing: .accessed, inserting: [])
      memory.forgetReference(entry.frame)
      if !pagesOut { continue }
      // SAFETY: a frame of this machine.
      let flags = unsafe memory.records[entry.frame].pointee.flags
      if flags.contains(.anonymous) {
        let isDirty = entry.flags.contains(.dirty) || flags.contains(.dirty)
        if flags.contains(.lazilyFree), !isDirty { zap(area, address, address + pageSize) }
      } else if let file = area.file {
        zap(area, address, address + pageSize)
        memory.pageOut(file, area.pageIndex(at: address, shift: pageShift))
      }
    }
  }

  /// `madvise_dontneed_free`.
  private func discard(_ area: Area, _ start: UInt64, _ askedEnd: UInt64, _ advice: Advice) throws(CallError) {
    var end = askedEnd
    if area.flags.contains(.hugeTLB) {
      let size = entrySize(of: area)
      if advice == .free || start & (size - 1) != 0 { throw .invalid }
      end &= ~(size - 1)
    } else if area.flags.contains(.frameMap) || (advice != .dontNeedLocked && area.flags.contains(.locked)) {
      throw .invalid
    }
    if start >= end { return }
    if advice == .free {
      // MADV_FREE is for private anonymous memory alone (`madvise_free_single_vma`).
      if !area.isAnonymous { throw .invalid }
      markLazilyFree(area, start, end)
    } else {
      zap(area, start, end)
    }
  }

  /// `madvise_remove`: takes the pages out of the file, for every process that maps it.
  private func removePages(_ area: Area, _ start: UInt64, _ end: UInt64) throws(CallError) {
    if area.flags.contains(.locked) { throw .invalid }
    guard let file = area.file else { throw .invalid }
    if !area.flags.isSuperset(of: [.shared, .mayWrite]) { throw .accessDenied }
    if file.kind == .regular { throw .notSupported }
    if file.kind == .physicalMemory { throw .noDevice }
    // Of larger pages those that lie in the range as a whole; what it has of others is zeroed (`hugetlbfs_punch_hole`).
    let size = entrySize(of: area)
    let (wholeStart, wholeEnd) = ((start + size - 1) & ~(size - 1), end & ~(size - 1))
    if start < wholeStart { zeroPart(area, file, start, min(end, wholeStart)) }
    if end > wholeEnd, end > wholeStart { zeroPart(area, file, wholeEnd, end) }
    if wholeStart >= wholeEnd { return }
    let first = area.pageIndex(at: wholeStart, shift: pageShift)
    memory.punchHole(file, first..<first + (wholeEnd - wholeStart) >> pageShift)
  }

  /// `hugetlbfs_zero_partial_page`: zeroes base pages of a larger page, where there is one.
  private func zeroPart(_ area: Area, _ file: MemoryFile, _ start: UInt64, _ end: UInt64) {
    let head = start & ~(entrySize(of: area) - 1)
    guard let frame = file.page(area.pageIndex(at: head, shift: pageShift)) else { return }
    memory.zero(
      FrameRange(
        start: FrameNumber(frame.rawValue + (start - head) >> pageShift),
        count: FrameCount((end - start) >> pageShift)))
  }

  /// `madvise_populate`, over areas from `area` on.
  private func populateAll(_ process: Process, _ area: Area, _ start: UInt64, _ end: UInt64, write: Bool)
    throws(CallError)
  {
    let needed: AreaFlags = write ? .write : .read
    if !area.flags.contains(needed) || area.flags.contains(.io) { throw .invalid }
    var address = start
    while address < end {
      if (address >> pageShift) & (HostMemory.interval - 1) == 0, HostMemory.isShort { throw .outOfMemory }
      switch faultIn(process, area, address, write: write, force: false) {
      case .done: address = endOfEntry(at: address, of: area)
      case .outOfMemory: throw .outOfMemory
      case .bad: throw .badAddress
      }
    }
  }
}
