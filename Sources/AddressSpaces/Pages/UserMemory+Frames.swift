public import MemoryTypes
public import Translation

/// Frames that somebody else holds, entered into a space as they are: what a driver's `remap_pfn_range` does for a process that maps
/// `/dev/mem` with MAP_SHARED and MAP_FIXED_NOREPLACE, and `vmap` for the kernel.
///
/// Every entry carries `frameMark`, and a frame's record counts the entries that show it. A process's lie in an area of their own, so that
/// faults, fork, munmap, mremap and exit know them.
extension UserMemory {
  /// Linux's `_PAGE_SPECIAL`, in the first of the bits that are software's.
  public static var frameMark: PageFlags { .software0 }

  /// Maps frames that follow one another by pages of `level`; `process` nil: for the kernel, in its own half.
  ///
  /// All or nothing. Throws `notCanonical`, `misaligned`, `outsideHalf`, `alreadyMapped`, `foreignMapping` where the kernel keeps the
  /// addresses for itself, what `PageTable.map` throws of frames and flags, and `outOfMemory`, also where the process may have no more
  /// areas. The caller sees to it that the frames stay where they are for as long as `isMapped` says so.
  ///
  /// - Complexity: O(frames).
  public func mapFrames(
    _ frames: FrameRange, at address: VirtualAddress, level: Int, flags: PageFlags, of process: Process?
  ) throws(MemoryError) {
    let size = frames.count.rawValue << pageShift
    guard format.isCanonical(address) else { throw .notCanonical(address) }
    let unit = format.pageSize(level: level)
    guard address.rawValue & (unit.rawValue - 1) == 0 else { throw .misaligned(address, unit) }
    let marked = flags.union(Self.frameMark)
    if let process {
      try mapFrames(frames, at: address.rawValue, size, level: level, flags: marked, in: process)
    } else {
      guard format.isKernel(address) else { throw .outsideHalf(address, isKernel: true) }
      // What is free there today is where the map of memory that comes later, and later stacks, will be.
      for span in [format.layout.physicalMap, format.layout.kernelStacks] where span.contains(address) {
        if kernelTable.mapping(at: address) != nil { throw .alreadyMapped(address) }
        throw .foreignMapping(address, owner: "nobody but the kernel, which keeps this part of its half")
      }
      try kernelTable.map(address, to: frames, flags: marked, sizes: .exactly(level: level))
    }
    countEntries(frames, by: 1)
  }

  private func mapFrames(
    _ frames: FrameRange, at start: UInt64, _ size: UInt64, level: Int, flags: PageFlags, in process: Process
  ) throws(MemoryError) {
    let space = process.space
    let end = space.layout.userEnd
    guard size <= end, start <= end - size else { throw .outsideHalf(VirtualAddress(start), isKernel: false) }
    if let area = space.areas.first(overlapping: start, start + size) {
      throw .alreadyMapped(VirtualAddress(max(area.start, start)))
    }
    let areaFlags = Self.areaFlags(flags).union(.frameArea)
    guard space.areas.count < limits.mapCount, space.mayGrow(areaFlags, pages: frames.count.rawValue) else {
      throw .outOfMemory(count: frames.count)
    }
    do throws(MemoryError) {
      try space.table.pages.map(
        VirtualAddress(start), to: frames, flags: flags, sizes: .exactly(level: level), cpu: process.cpu)
    } catch {
      space.table.freeTables(start, start + size, within: space.tableBounds(around: start, start + size))
      throw error
    }
    space.areasChanged()
    let area = Area(
      start: start, end: start + size, flags: areaFlags, pageOffset: frames.start.rawValue, file: physicalFile)
    area.pageLevel = level
    physicalFile.users += 1
    space.insert(area)
    space.account(areaFlags, pages: Int64(frames.count.rawValue))
  }

  /// What a process may do with pages of these flags: nothing where they are not its own.
  private static func areaFlags(_ flags: PageFlags) -> AreaFlags {
    guard flags.isSuperset(of: [.present, .user]) else { return [] }
    var rights: AreaFlags = .read
    if flags.contains(.writable) { rights.insert(.write) }
    if flags.contains(.executable) { rights.insert(.execute) }
    return rights
  }

  /// Takes out what `mapFrames` has entered: `pageCount` base pages, or nil for the page that begins at the address, whatever its size.
  /// Answers the range.
  ///
  /// All or nothing. Throws `notCanonical`, `misaligned`, `outsideHalf`, `notMapped`, `foreignMapping` where anything else is mapped
  /// there, `outOfMemory` where a larger page has to be split.
  public func unmapFrames(
    at address: VirtualAddress, pageCount: UInt64?, of process: Process?
  ) throws(MemoryError) -> PageRange {
    let range = try frameRange(at: address, pageCount: pageCount, of: process)
    guard let process else {
      let obligation = try kernelTable.unmap(range) { releaseFrames(UserTable.Entry($0, shift: pageShift)) }
      flush(obligation)
      return range
    }
    currentCPU = process.cpu
    try ends(of: range, fit: process.space)
    do throws(CallError) {
      try process.space.unmapAligned(address.rawValue, address.rawValue + range.pageCount << pageShift)
    } catch { throw .outOfMemory(count: FrameCount(1)) }
    return range
  }

  /// Gives pages other permissions: of the kernel any, of a process what `mapFrames` has entered. The rest is mprotect(2)'s.
  ///
  /// All or nothing. Throws as `unmapFrames` does, and `invalidFlags`, `writableAndExecutable`.
  public func protectFrames(
    at address: VirtualAddress, pageCount: UInt64?, flags: PageFlags, of process: Process?
  ) throws(MemoryError) -> PageRange {
    guard let process else {
      let range = try pageRange(at: address, pageCount: pageCount, of: kernelTable)
      let obligation = try kernelTable.protect(range, flags: flags)
      flush(obligation)
      return range
    }
    let range = try frameRange(at: address, pageCount: pageCount, of: process)
    let space = process.space
    try ends(of: range, fit: space)
    guard space.areas.count + 2 <= limits.mapCount else { throw .outOfMemory(count: FrameCount(1)) }
    currentCPU = process.cpu
    let obligation = try space.table.pages.protect(range, flags: flags, merging: false)
    flush(obligation)
    var position = address.rawValue
    let end = position + range.pageCount << pageShift
    while position < end, var area = space.areas.area(at: position) {
      let stop = min(end, area.end)
      do throws(CallError) {
        if position > area.start { area = try space.split(area, at: position, newBelow: false) }
        if stop < area.end { area = try space.split(area, at: stop, newBelow: true) }
      } catch { preconditionFailure("ends that fit cannot be refused: \(error)") }
      let pages = Int64(space.pages(area))
      space.account(area.flags, pages: -pages)
      area.flags = area.flags.subtracting(.access).union(Self.areaFlags(flags))
      space.account(area.flags, pages: pages)
      position = stop
    }
    return range
  }

  /// The first frame of the range that an entry shows; nil where none does.
  ///
  /// - Complexity: O(frames that were ever mapped, and a block of 512 that never were).
  public func mappedFrame(in range: FrameRange) -> FrameNumber? { records.firstMapped(in: range) }

  // MARK: Ranges

  /// The range of an order on one page or several, every one of which `mapFrames` has entered.
  private func frameRange(
    at address: VirtualAddress, pageCount: UInt64?, of process: Process?
  ) throws(MemoryError) -> PageRange {
    let table = process?.space.pageTable ?? kernelTable
    let range = try pageRange(at: address, pageCount: pageCount, of: table)
    var next = address
    var foreign: VirtualAddress?
    try table.forEachMapping(in: range) { mapping, _ in
      if mapping.address > next { return false }
      if !mapping.flags.contains(Self.frameMark) {
        foreign = max(mapping.address, address)
        return false
      }
      next = VirtualAddress(mapping.address.rawValue &+ format.pageSize(level: mapping.level).rawValue)
      return true
    }
    if let foreign { throw .foreignMapping(foreign, owner: process.map { "\($0.pid) itself" } ?? "the kernel itself") }
    let (size, start) = (range.pageCount << pageShift, address.rawValue)
    if next.rawValue &- start < size { throw .notMapped(next) }
    return range
  }

  private func pageRange(
    at address: VirtualAddress, pageCount: UInt64?, of table: PageTable
  ) throws(MemoryError) -> PageRange {
    guard format.isCanonical(address) else { throw .notCanonical(address) }
    guard format.isKernel(address) == table.isKernel else {
      throw .outsideHalf(address, isKernel: table.isKernel)
    }
    guard address.rawValue & (1 << pageShift - 1) == 0 else {
      throw .misaligned(address, format.pageSize(level: 0))
    }
    // A tag, which accesses may carry (AArch64's top byte), is no part of a range's address.
    let last = table.isKernel ? format.layout.kernel.last : format.layout.user.last
    guard address <= last else { throw .notCanonical(address) }
    if let pageCount {
      guard pageCount > 0, pageCount - 1 <= (last.rawValue - address.rawValue) >> pageShift else {
        throw .invalidSize(FrameCount(pageCount))
      }
      return PageRange(address, pageCount: pageCount)
    }
    guard let mapping = table.mapping(at: address) else { throw .notMapped(address) }
    guard mapping.address == address else { throw .misaligned(address, format.pageSize(level: mapping.level)) }
    return PageRange(address, pageCount: format.basePages(level: mapping.level))
  }

  /// Refuses a range whose ends would cut a larger page of a process's area.
  private func ends(of range: PageRange, fit space: AddressSpace) throws(MemoryError) {
    let start = range.start.rawValue
    for end in [start, start + range.pageCount << pageShift] {
      for area in [space.areas.area(at: end), space.areas.last(endingAtOrBelow: end)] {
        guard let area, end >= area.start, end <= area.end else { continue }
        let unit = space.entrySize(of: area)
        if end & (unit - 1) != 0 { throw .misaligned(VirtualAddress(end), ByteCount(unit)) }
      }
    }
  }

  // MARK: Counting entries

  func retainFrames(_ entry: UserTable.Entry) {
    countEntries(FrameRange(start: entry.frame, count: FrameCount(format.basePages(level: entry.level))), by: 1)
  }

  func releaseFrames(_ entry: UserTable.Entry) {
    countEntries(FrameRange(start: entry.frame, count: FrameCount(format.basePages(level: entry.level))), by: -1)
  }

  private func countEntries(_ frames: FrameRange, by change: Int32) {
    for frame in frames.start.rawValue..<frames.end.rawValue {
      // SAFETY: frames that are or were mapped are this machine's.
      let record = unsafe records[FrameNumber(frame)]
      let count = unsafe UInt32(bitPattern: Int32(bitPattern: record.pointee.mapCount) + change)
      unsafe record.pointee = PageRecord()
      unsafe record.pointee.mapCount = count
    }
  }
}

extension AreaFlags {
  /// A mapping of `/dev/mem` after `remap_pfn_range`.
  fileprivate static var frameArea: AreaFlags {
    [.shared, .mayRead, .mayWrite, .mayExecute, .mayShare, .frameMap, .io, .dontExpand, .dontDump, .softDirty]
  }
}
