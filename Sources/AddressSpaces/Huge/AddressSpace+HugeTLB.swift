public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// The pages of a private mapping of huge pages that have used up what was reserved for them (`struct resv_map` of a VMA with
/// HPAGE_RESV_OWNER). Areas that were one mapping share it.
final class HugeReserves {
  /// By the number of the page's first base page in the file.
  var used: Set<UInt64> = []
}

/// Mappings of huge pages from the pools (mm/hugetlb.c).
extension AddressSpace {
  func hugePageBytes(_ area: Area) -> ByteCount { memory.format.pageSize(level: area.pageLevel) }

  /// Reserves pages for a new mapping of a file that was made for it (`hugetlbfs_file_mmap`, `hugetlb_reserve_pages`); ENOMEM where there are
  /// too few, EINVAL where it does not begin with a page of the file.
  func reserve(_ area: Area, _ file: MemoryFile, _ process: Process) throws(CallError) {
    let size = hugePageBytes(area)
    let step = size.rawValue >> pageShift
    let (end, overflows) = (area.pageOffset << pageShift).addingReportingOverflow(area.size)
    if area.pageOffset & (step - 1) != 0 || area.pageOffset >> (63 - pageShift) != 0 || overflows { throw .invalid }
    if area.flags.contains(.write) { file.size = max(file.size, end) }
    if area.flags.contains(.noReserve) { return }
    let count = Int(area.size / size.rawValue)
    guard memory.reserveHugePages(size, count, for: process) else { throw .outOfMemory }
    if area.flags.contains(.mayShare) {
      file.reservedPages = Set(stride(from: area.pageOffset, to: area.pageOffset + pages(area), by: Int(step)))
    } else {
      area.reserves = HugeReserves()
    }
  }

  /// What is still reserved for an area that goes is given back (`hugetlb_vm_op_close`).
  func unreserve(_ area: Area) {
    guard let reserves = area.reserves else { return }
    area.reserves = nil
    let size = hugePageBytes(area)
    let used = reserves.used.count { $0 >= area.pageOffset && $0 < area.pageOffset + pages(area) }
    _ = memory.reserveHugePages(size, used - Int(area.size / size.rawValue), for: nil)
  }

  /// Whether a page that is to be made has been reserved (`vma_needs_reservation`, `vma_has_reserves`).
  private func isPromised(_ area: Area, _ index: UInt64) -> Bool {
    if area.flags.contains(.mayShare) { return area.file?.reservedPages.contains(index) ?? false }
    return area.reserves.map { !$0.used.contains(index) } ?? false
  }

  /// Takes a page from the pool for an address, by a reservation where there is one, and notes that it is used up (`alloc_huge_page`); nil where
  /// there is none. `avoidsReserve`: what was reserved is left to the rest of the mapping.
  private func takePage(_ process: Process, _ area: Area, _ start: UInt64, _ index: UInt64, avoidsReserve: Bool = false)
    -> FrameRange?
  {
    let isPromised = !avoidsReserve && isPromised(area, index)
    guard let frames = memory.takeHugePage(process, area, start, hugePageBytes(area), isPromised: isPromised) else {
      return nil
    }
    if area.flags.contains(.mayShare) {
      area.file?.reservedPages.insert(index)
    } else {
      area.reserves?.used.insert(index)
    }
    return frames
  }

  /// `hugetlb_fault`.
  func poolFault(_ process: Process, _ area: Area, _ page: UInt64, write: Bool) -> FaultOutcome {
    let size = hugePageBytes(area).rawValue
    let start = page & ~(size - 1)
    // A debugger's write to what the process may not write is none (FOLL_FORCE).
    if write, !area.flags.contains(.write) { return .signal(.segmentation(.accessError)) }
    if let entry = table.entry(at: start) {
      if write, !entry.flags.contains(.writable) { return writePoolPage(process, area, start, entry) }
      table.change(start, start + size, removing: [], inserting: write ? [.accessed, .dirty] : .accessed)
      return .minor
    }
    // `hugetlb_no_page`. What was taken from the process for its parent's sake is not made anew.
    guard let file = area.file, !area.hasLostPages else { return .signal(.bus) }
    let index = area.pageIndex(at: start, shift: pageShift)
    let isShared = area.flags.contains(.mayShare)
    var flags = entryFlags(area).union(.accessed)
    if isShared {
      if area.flags.contains(.write) { flags.insert(.dirty) }
    } else if write {
      flags.formUnion([.writable, .dirty])
    }
    if isShared, let cached = file.page(index) { return enterPoolPage(process, area, start, cached, flags) }
    guard index << pageShift < file.size, let frames = takePage(process, area, start, index) else {
      return .signal(.bus)
    }
    memory.zero(frames)
    if isShared {
      memory.beginPoolPage(frames.start, file, index: index, isCached: true)
      file.setPage(index, frames.start)
    } else {
      prepareGroup(area)
      memory.beginPoolPage(frames.start, area.links.group, index: index, isCached: false)
    }
    return enterPoolPage(process, area, start, frames.start, flags)
  }

  private func enterPoolPage(
    _ process: Process, _ area: Area, _ start: UInt64, _ head: FrameNumber, _ flags: PageFlags
  ) -> FaultOutcome {
    let frames = FrameRange(start: head, count: FrameCount(memory.format.basePages(level: area.pageLevel)))
    do throws(MemoryError) {
      try table.setHuge(start, frames, flags, level: area.pageLevel, cpu: process.cpu)
    } catch {
      memory.dropUnusedPoolPage(frames)
      return .outOfMemory
    }
    memory.countPoolEntry(frames, by: 1)
    counts.hugeTLB += frames.count.rawValue
    return .minor
  }

  /// `hugetlb_wp`: a write to a page whose entry does not allow it.
  private func writePoolPage(_ process: Process, _ area: Area, _ start: UInt64, _ entry: UserTable.Entry)
    -> FaultOutcome
  {
    let size = hugePageBytes(area).rawValue
    // SAFETY: a frame of this machine.
    let record = unsafe memory.records[entry.frame]
    if unsafe area.flags.contains(.mayShare)
      || record.pointee.wholeMaps == 1 && record.pointee.flags.contains(.anonymous)
    {
      table.change(start, start + size, removing: [], inserting: [.writable, .dirty, .accessed])
      return .minor
    }
    let index = area.pageIndex(at: start, shift: pageShift)
    let old = FrameRange(start: entry.frame, count: FrameCount(size >> pageShift))
    // The mapping's maker does not use up its reservation for a copy: the page that it has did.
    let isOwner = area.reserves != nil
    guard let frames = takePage(process, area, start, index, avoidsReserve: isOwner) else {
      if !isOwner { return .signal(.bus) }
      // Those who got the page by a fork lose it (`unmap_ref_private`).
      takeFromOthers(area, index, entry.frame)
      guard unsafe record.pointee.wholeMaps == 1 else { return .signal(.bus) }
      return writePoolPage(process, area, start, entry)
    }
    prepareGroup(area)
    memory.copyFrames(old, to: frames)
    memory.beginPoolPage(frames.start, area.links.group, index: index, isCached: false)
    table.replace(start, frames.start, entryFlags(area).union([.writable, .dirty, .accessed]), level: area.pageLevel)
    memory.countPoolEntry(frames, by: 1)
    memory.countPoolEntry(old, by: -1)
    memory.events.copyOnWrite += 1
    return .minor
  }

  private func takeFromOthers(_ area: Area, _ index: UInt64, _ head: FrameNumber) {
    guard let file = area.file else { return }
    for other in file.areas where other !== area && !other.flags.contains(.mayShare) && other.reserves == nil {
      let space = other.space!
      guard index >= other.pageOffset, index < other.pageOffset + space.pages(other) else { continue }
      let start = other.start + (index - other.pageOffset) << pageShift
      guard space.table.entry(at: start)?.frame == head else { continue }
      other.hasLostPages = true
      space.zap(other, start, start + hugePageBytes(other).rawValue)
    }
  }

  /// Lets go of an entry of the area that was taken out.
  func letGo(ofPoolPage entry: UserTable.Entry) {
    let frames = FrameRange(start: entry.frame, count: FrameCount(memory.format.basePages(level: entry.level)))
    counts.hugeTLB -= frames.count.rawValue
    memory.countPoolEntry(frames, by: -1)
  }
}

/// Pages of pools that processes use.
extension UserMemory {
  /// Begins the record of a page that was just taken from its pool.
  func beginPoolPage(_ head: FrameNumber, _ owner: PageOwner?, index: UInt64, isCached: Bool) {
    begin(
      head,
      PageRecord(
        references: isCached ? 1 : 0, owner: owner, index: index,
        flags: isCached ? .pool : [.pool, .anonymous, .exclusive]))
  }

  /// One entry more or less shows a page, which goes back to its pool with its last holder.
  func countPoolEntry(_ frames: FrameRange, by change: Int) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frames.start]
    unsafe record.pointee.wholeMaps = UInt32(Int(record.pointee.wholeMaps) + change)
    unsafe record.pointee.references = UInt32(Int(record.pointee.references) + change)
    dropUnusedPoolPage(frames)
  }

  func dropUnusedPoolPage(_ frames: FrameRange) {
    // SAFETY: a frame of this machine.
    if unsafe records[frames.start].pointee.references > 0 { return }
    unsafe records[frames.start].pointee = PageRecord()
    returnHugePage(frames)
  }

  /// Takes a page out of its file.
  func removePoolPage(_ file: MemoryFile, _ index: UInt64) {
    guard let head = file.page(index) else { return }
    file.setPage(index, nil)
    // SAFETY: a frame of this machine.
    unsafe records[head].pointee.references -= 1
    unsafe records[head].pointee.owner = nil
    dropUnusedPoolPage(FrameRange(start: head, count: FrameCount(format.basePages(level: file.pageLevel))))
  }

  /// The file's last holder is gone: so are its pages, and what was reserved for it and not used (`hugetlbfs_evict_inode`).
  func dropHugeFile(_ file: MemoryFile) {
    let pages = file.cachedIndices
    let unused = file.reservedPages.count - pages.count
    for index in pages { removePoolPage(file, index) }
    file.reservedPages = []
    _ = reserveHugePages(format.pageSize(level: file.pageLevel), -unused, for: nil)
  }

  func zero(_ frames: FrameRange) {
    physical.bytes.zero(
      PhysicalRange(start: address(frames.start), size: ByteCount(frames.count.rawValue << pageShift)))
  }

  func copyFrames(_ source: FrameRange, to target: FrameRange) { physical.copyFrames(source, to: target) }

  /// Leads whoever holds a page of a pool to other frames of the same node; false where it is none, and where that cannot be.
  public func moveHugePage(_ page: FrameRange, to target: FrameRange) -> Bool {
    guard node(of: page.start) == node(of: target.start) else { return false }
    if !hugePools.replace(page, with: target), !moveUsedPoolPage(page, to: target) { return false }
    physical.copyFrames(page, to: target)
    return true
  }

  /// The first frame of the page of a pool that an entry shows; nil where it shows none.
  func poolHead(_ entry: UserTable.Entry) -> FrameNumber? {
    if entry.level == 0 { return nil }
    let head = FrameNumber(entry.frame.rawValue & ~(format.basePages(level: entry.level) - 1))
    // SAFETY: a frame of this machine.
    return unsafe records[head].pointee.flags.contains(.pool) ? head : nil
  }

  /// Moves a page of a pool to the first of the nodes that can take it: into a free page of its pool, or one that is made, for which the old one goes
  /// (`alloc_huge_page_nodemask`, `move_hugetlb_state`). False where there is none, and where it cannot be moved.
  func migratePoolPage(_ head: FrameNumber, _ level: Int, to nodes: [NodeID]) -> Bool {
    let size = format.pageSize(level: level)
    let page = FrameRange(start: head, count: frames(of: size))
    let source = node(of: head)
    let sum = hugePools.total(size)
    var place: FrameRange?
    if sum.free > sum.reserved {
      for node in nodes where place == nil { hugePools.update(node, size) { place = $0.pages.popLast() } }
    }
    let isMade = place == nil
    if !isGigantic(size) { for node in nodes where place == nil { place = makeHugePage(node, size) } }
    guard let place else { return false }
    let target = node(of: place.start)
    guard moveUsedPoolPage(page, to: place) else {
      if isMade { giveBack(place, currentCPU) } else { hugePools.update(target, size) { $0.pages.append(place) } }
      return false
    }
    physical.copyFrames(page, to: place)
    physical.noteMove(page, to: place, .systemCall)
    events.migrated += page.count.rawValue
    if !isMade {
      returnHugePage(page)
      return true
    }
    let hasSurplus = hugePools.pool(source, size).surplus > 0
    hugePools.update(source, size) {
      $0.total -= 1
      if hasSurplus { $0.surplus -= 1 }
    }
    hugePools.update(target, size) {
      $0.total += 1
      if hasSurplus { $0.surplus += 1 }
    }
    giveBack(page, currentCPU)
    return true
  }

  private func moveUsedPoolPage(_ page: FrameRange, to target: FrameRange) -> Bool {
    // SAFETY: frames of this machine.
    let record = unsafe records[page.start].pointee
    guard record.references > 0, let owner = unsafe record.owner else { return false }
    var found: [(space: AddressSpace, address: UInt64, entry: UserTable.Entry)] = []
    for area in owner.areas where area.flags.contains(.hugeTLB) {
      guard record.index >= area.pageOffset, record.index - area.pageOffset < area.size >> pageShift else { continue }
      let address = area.start + (record.index - area.pageOffset) << pageShift
      guard let entry = area.space.table.entry(at: address), entry.frame == page.start else { continue }
      found.append((area.space, address, entry))
    }
    guard found.count == Int(record.wholeMaps) else { return false }
    begin(target.start, record)
    unsafe records[page.start].pointee = PageRecord()
    for (space, address, entry) in found { space.table.replace(address, target.start, entry.flags, level: entry.level) }
    if let file = unsafe record.owner as? MemoryFile { file.setPage(record.index, target.start) }
    return true
  }
}
