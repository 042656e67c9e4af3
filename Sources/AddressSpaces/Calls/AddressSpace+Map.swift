internal import MemoryTypes
internal import Translation

/// mmap(2), as `ksys_mmap_pgoff`, `do_mmap` and `__mmap_region` carry it out (mm/mmap.c).
extension AddressSpace {
  /// Answers the address of the new area. `file` is what the descriptor stood for, nil with MAP_ANONYMOUS.
  func map(
    _ process: Process, _ hint: UInt64, _ askedLength: UInt64, protection: UInt64, flags rawFlags: UInt64,
    file askedFile: MemoryFile?,
    offset: UInt64
  ) throws(CallError) -> UInt64 {
    var flags = MapFlags(rawValue: rawFlags)
    var length = askedLength
    if !isAligned(offset) { throw .invalid }
    var file = askedFile
    if flags.contains(.hugeTLB), flags.contains(.anonymous) {
      // `hstate_sizelog`
      let size = flags.hugeShift == 0 ? memory.hugePools.defaultSize : ByteCount(1 << flags.hugeShift)
      guard memory.hugePools.sizes.contains(size), let level = memory.format.level(ofPageSize: size) else {
        throw .invalid
      }
      length = (length &+ size.rawValue &- 1) & ~(size.rawValue &- 1)
      file = memory.makeHugeFile(size: length, level: level)
    } else if !flags.contains(.anonymous) {
      guard let file else { throw .badDescriptor }
      if flags.contains(.hugeTLB), file.kind != .hugePages { throw .invalid }
    }
    // The descriptor of a file made here is closed when the call ends, and so are files that only what the call unmaps has held.
    memory.holdsFiles = true
    defer {
      if askedFile == nil, let file { memory.drop(file) }
      memory.dropHeldFiles()
    }
    var pageOffset = offset >> pageShift
    if length == 0 { throw .invalid }
    if flags.contains(.fixedNoReplace) { flags.insert(.fixed) }
    var address = hint
    if !flags.contains(.fixed) {
      address &= ~pageMask
      if address != 0, address < memory.limits.lowestAddress { address = roundedUp(memory.limits.lowestAddress) }
    }
    length = roundedUp(length)
    if length == 0 { throw .outOfMemory }
    if pageOffset &+ (length >> pageShift) < pageOffset { throw .overflow }
    if areas.count > memory.limits.mapCount { throw .outOfMemory }

    // What is about to be made for shared memory begins at 0.
    let isShared = file == nil && (flags.kind == .shared || flags.kind == .sharedValidate)
    address = try unmappedRange(
      address, length, fixed: flags.contains(.fixed), low: flags.contains(.low), level: file?.pageLevel ?? 0,
      sharedOffset: isShared ? 0 : nil)
    if flags.contains(.fixedNoReplace), areas.first(overlapping: address, address + length) != nil { throw .exists }

    var areaFlags = Protection(rawValue: protection).areaFlags.union(defaultFlags).union(.mayAccess)
    if flags.contains(.growsDown) { areaFlags.insert(.growsDown) }
    if flags.contains(.locked) { areaFlags.insert(.locked) }
    if flags.contains(.sync) { areaFlags.insert(.sync) }
    try memory.checkWriteXorExecute(areaFlags)
    try checkLockLimit(areaFlags, length: length)

    if file != nil {
      switch flags.kind {
      case .shared, .sharedValidate:
        if flags.kind == .sharedValidate, !flags.subtracting(.legacy).isEmpty { throw .notSupported }
        areaFlags.formUnion([.shared, .mayShare])
      case .private: break
      case nil: throw .invalid
      }
      if areaFlags.contains(.growsDown) { throw .invalid }
    } else {
      switch flags.kind {
      case .shared:
        if areaFlags.contains(.growsDown) { throw .invalid }
        pageOffset = 0
        areaFlags.formUnion([.shared, .mayShare])
      case .private: pageOffset = address >> pageShift
      case .sharedValidate, nil: throw .invalid
      }
    }
    if flags.contains(.noReserve), memory.limits.overcommit != .never || file?.kind == .hugePages {
      areaFlags.insert(.noReserve)
    }

    try place(process, address, length, areaFlags, pageOffset, file)
    if areaFlags.contains(.locked) || flags.intersection([.populate, .nonBlocking]) == .populate {
      // What the OOM killer ends meanwhile gives its files back at once.
      memory.holdsFiles = false
      populate(process, address, length)
    }
    return address
  }

  /// `__mmap_region`: puts an area there, unmapping what is in its way, merged with its neighbours where they allow it.
  private func place(
    _ process: Process, _ address: UInt64, _ length: UInt64, _ asked: AreaFlags, _ pageOffset: UInt64,
    _ file: MemoryFile?
  ) throws(CallError) {
    let end = address + length
    let count = length >> pageShift
    var flags = asked
    if !mayGrow(flags, pages: count), !mayGrow(flags, pages: count &- mappedPages(address, end)) { throw .outOfMemory }
    do throws(CallError) { try unmapAligned(address, end) } catch { throw .outOfMemory }
    // Private writable memory counts against the commit limit (`accountable_mapping`).
    if file?.kind != .hugePages, flags.intersection([.noReserve, .shared, .write]) == .write {
      try memory.commit(pages: count, by: self)
      flags.insert(.accounted)
    }
    flags.insert(.softDirty)
    let next = areas.first(endingAbove: end)
    let previous = areas.last(endingAtOrBelow: address)
    var grown: Area?
    var start = address
    var grownEnd = end
    var grownOffset: UInt64 = 0
    // Without a file, shared memory gets one of its own: its areas never merge with a neighbour's.
    if let next, next.start == end, next.policy == nil,
      canMergeBefore(next, flags: flags, group: nil, file: file, pageOffset: pageOffset &+ count)
    {
      grown = next
      grownEnd = next.end
      grownOffset = next.pageOffset &- count
    }
    if let previous, previous.end == address, previous.policy == nil,
      canMergeAfter(previous, flags: flags, group: grown?.links.group, file: file, pageOffset: pageOffset)
    {
      grown = previous
      start = previous.start
      grownOffset = previous.pageOffset
    }
    if let grown {
      expand(grown, start, grownEnd, grownOffset, next: next)
      grown.flags.insert(.softDirty)
    } else {
      let area = Area(start: address, end: end, flags: flags, pageOffset: pageOffset, file: file)
      if let file, file.kind == .hugePages {
        area.flags.formUnion([.hugeTLB, .dontExpand])
        area.flags.subtract(.lock)
        area.pageLevel = file.pageLevel
        flags = area.flags
        try reserve(area, file, process)
      }
      if let file {
        file.users += 1
      } else if flags.contains(.shared) {
        area.file = try memory.makeSharedFile(size: length, promised: flags.contains(.noReserve) ? 0 : count, to: self)
      }
      areasChanged()
      insert(area)
    }
    account(flags, pages: Int64(count))
    if flags.contains(.locked) { counts.locked += count }
  }

  /// `count_vma_pages_range`: pages of areas in `start ..< end`.
  private func mappedPages(_ start: UInt64, _ end: UInt64) -> UInt64 {
    var total: UInt64 = 0
    var area = areas.first(overlapping: start, end)
    while let found = area, found.start < end {
      total += (min(end, found.end) - max(start, found.start)) >> pageShift
      area = areas.after(found)
    }
    return total
  }

  // MARK: Choice of an address

  /// `get_unmapped_area`: checks a fixed address, else takes the hint where it is free, else the highest free range below the base.
  /// `low`: MAP_32BIT. `sharedOffset`: where the range begins in a file of shared memory, in pages; nil for all else.
  func unmappedRange(
    _ hint: UInt64, _ length: UInt64, fixed: Bool, low: Bool = false, level: Int = 0, sharedOffset: UInt64? = nil
  ) throws(CallError) -> UInt64 {
    if length > layout.userEnd { throw .outOfMemory }
    let unit = memory.format.pageSize(level: level).rawValue
    let isLow = low && level == 0 && memory.format.architecture == .x86_64
    var address = try chooseRange(hint, length, fixed: fixed, low: isLow, alignment: unit)
    if let sharedOffset, !fixed, address != hint, let better = fitted(address, hint, length, low: isLow, sharedOffset) {
      address = better
    }
    // The last 4095 addresses are what the kernel takes for an error (`IS_ERR_VALUE`).
    if address > .max - 4095 { throw CallError(rawValue: Int32(0 &- address)) ?? .outOfMemory }
    if address > layout.userEnd - length { throw .outOfMemory }
    if !isAligned(address) { throw .invalid }
    if address & (unit - 1) != 0 { throw .invalid }
    if address < memory.limits.lowestAddress, !memory.limits.isPrivileged { throw .notPermitted }
    return address
  }

  private func chooseRange(
    _ hint: UInt64, _ length: UInt64, fixed: Bool, low: Bool, alignment: UInt64
  ) throws(CallError) -> UInt64 {
    if fixed { return hint }
    if low { return try chooseLowRange(hint, length) }
    // What lies above the window is for those who name an address there.
    let isHigh = hint > layout.windowEnd
    let end = isHigh ? layout.userEnd : layout.windowEnd
    let lowest = min(memory.limits.lowestAddress, end)
    if length > end - lowest { throw .outOfMemory }
    if hint != 0 {
      let address = (hint &+ alignment &- 1) & ~(alignment &- 1)
      let next = areas.first(endingAbove: address)
      // `mmap_address_hint_valid`: not across the window's end.
      if end - length >= address, isHigh == (address > layout.windowEnd),
        next.map({ address + length <= $0.startWithGap(memory.limits.stackGuardGap) }) ?? true
      {
        return address
      }
    }
    let base = layout.mapBase + (end - layout.windowEnd)
    guard
      let found = topDown(length, below: base, alignment)
        ?? bottomUp(length, from: layout.bottomUpBase, below: end, alignment)
    else { throw .outOfMemory }
    return found
  }

  /// `find_start_end` and what `arch_get_unmapped_area` makes of it: the hint where it is free, else the lowest free range of the second GiB, of
  /// which up to 32 MiB are left out by chance.
  private func chooseLowRange(_ hint: UInt64, _ length: UInt64) throws(CallError) -> UInt64 {
    let end: UInt64 = 1 << 31
    var start: UInt64 = 1 << 30
    if memory.settings.randomizesLayout { start += memory.random.next() % (32 << 20) & ~pageMask }
    if length > end { throw .outOfMemory }
    if hint != 0 {
      let address = roundedUp(hint)
      let next = areas.first(endingAbove: address)
      if end - length >= address,
        next.map({ address + length <= $0.startWithGap(memory.limits.stackGuardGap) }) ?? true
      {
        return address
      }
    }
    guard let found = bottomUp(length, from: start, below: end, pageSize) else { throw .outOfMemory }
    return found
  }

  /// The rest of `shmem_get_unmapped_area`: where a range of shared memory that may have huge pages fits them; nil where it lies well already,
  /// and where there is no such place.
  private func fitted(_ address: UInt64, _ hint: UInt64, _ length: UInt64, low: Bool, _ pageOffset: UInt64) -> UInt64? {
    let setting = memory.transparent.shared
    if setting == .never || setting == .deny || length < hugeSize || !isAligned(address) { return nil }
    let offset = pageOffset << pageShift & hugeMask
    if offset != 0, offset &+ length < 2 * hugeSize { return nil }
    if address & hugeMask == offset { return nil }
    let inflated = length &+ hugeSize &- pageSize
    guard inflated >= length, inflated <= layout.userEnd,
      let found = try? chooseRange(hint, inflated, fixed: false, low: low, alignment: pageSize), isAligned(found)
    else { return nil }
    let fitting = (found & ~hugeMask) &+ offset &+ (found & hugeMask > offset ? hugeSize : 0)
    return fitting > layout.userEnd - length ? nil : fitting
  }

  /// `unmapped_area_topdown`.
  private func topDown(_ length: UInt64, below base: UInt64, _ alignment: UInt64) -> UInt64? {
    let low = max(pageSize, memory.limits.lowestAddress)
    let padded = length + alignment - pageSize
    var high = base
    while let gap = areas.highestGap(from: low, to: high, length: padded) {
      let address = (gap.upperBound - length) & ~(alignment - 1)
      if let next = areas.first(endingAbove: gap.upperBound - 1), next.flags.contains(.growsDown) {
        let limit = next.startWithGap(memory.limits.stackGuardGap)
        if limit < gap.upperBound {
          high = limit
          continue
        }
      }
      return address
    }
    return nil
  }

  /// `unmapped_area`.
  private func bottomUp(_ length: UInt64, from start: UInt64, below end: UInt64, _ alignment: UInt64) -> UInt64? {
    let padded = length + alignment - pageSize
    var low = start
    while let gap = areas.lowestGap(from: low, to: end, length: padded) {
      let address = (gap.lowerBound + alignment - 1) & ~(alignment - 1)
      if let next = areas.first(endingAbove: gap.lowerBound), next.flags.contains(.growsDown),
        next.startWithGap(memory.limits.stackGuardGap) < address + padded - 1
      {
        low = next.end
        continue
      }
      return address
    }
    return nil
  }
}
