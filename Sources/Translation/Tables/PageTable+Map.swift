public import MemoryTypes

extension PageTable {
  /// Maps frames that follow one another at pages that follow one another.
  ///
  /// Tables are made near `cpu`. Throws `notCanonical`, `misaligned`, `misalignedFrame`, `invalidSize`, `invalidFlags`,
  /// `writableAndExecutable`, `unsupportedPageSize`, `noSuchFrame` (beyond what the format can address), `alreadyMapped`
  /// with the first such page, and `outOfMemory`.
  ///
  /// - Complexity: O(pages of the sizes used).
  @inlinable @inline(__always)
  public func map(
    _ start: VirtualAddress, to target: FrameRange, flags: PageFlags, sizes: PageSizes = .largest, cpu: CPUID = CPUID(0)
  ) throws(MemoryError) {
    if target.count.rawValue == 1, sizes == .largest || sizes == .base, mapBase(start, target.start.rawValue, flags) {
      return
    }
    try mapInGeneral(start, to: target, flags: flags, sizes: sizes, cpu: cpu)
  }

  @usableFromInline @inline(never)
  func mapInGeneral(
    _ start: VirtualAddress, to target: FrameRange, flags: PageFlags, sizes: PageSizes, cpu: CPUID
  ) throws(MemoryError) {
    let first = try check(PageRange(start, pageCount: target.count.rawValue))
    try check(flags, at: start)
    let shift = format.pageShift
    let frameLimit: UInt64 = 1 << (format.physicalBits - shift)
    guard target.start.rawValue < frameLimit, target.count.rawValue <= frameLimit - target.start.rawValue else {
      throw .noSuchFrame(target.start)
    }
    let (lowest, highest) = try levels(of: sizes, at: start, for: target)
    var done: UInt64 = 0
    var needsUser = false
    do throws(MemoryError) {
      while done < target.count.rawValue {
        try fill(
          position: first + done &<< shift, physical: (target.start.rawValue + done) &<< shift,
          pages: target.count.rawValue - done, flags: flags, lowest: lowest, highest: highest, cpu: cpu, done: &done,
          needsUser: &needsUser)
      }
    } catch {
      // no CPU can have seen what was made: tables go back at once
      var nothing = FlushObligation(frames: frames, context: context, start: start)
      if done > 0 { clear(position: first, pages: done, into: &nothing) { _, _, _ in } }
      nothing.withoutCPUs(on: cpu)
      prune(position: first + done &<< shift, cpu: cpu)
      if rootChanged { syncFollowers() }
      throw error
    }
    if needsUser { admitUsers(position: first, pages: target.count.rawValue) }
    if rootChanged { syncFollowers() }
  }

  @inline(__always)
  private func levels(
    of sizes: PageSizes, at start: VirtualAddress, for target: FrameRange
  ) throws(MemoryError) -> (lowest: Int, highest: Int) {
    switch sizes {
    case .exactly(level: 0): return (0, 0)
    case .largest: return (0, target.count.rawValue == 1 ? 0 : format.rootLevel)
    case .upTo(let level): return (0, min(max(level, 0), format.rootLevel))
    case .exactly(let level):
      guard level > 0, level < format.levels else { throw .unsupportedPageSize(ByteCount(0)) }
      let size = format.pageSize(level: level)
      guard format.hasLeaves(level: level) else { throw .unsupportedPageSize(size) }
      let pages = format.basePages(level: level)
      guard start.rawValue & (size.rawValue - 1) == 0 else { throw .misaligned(start, size) }
      guard target.start.rawValue & (pages - 1) == 0 else { throw .misalignedFrame(target.start, size) }
      guard target.count.rawValue & (pages - 1) == 0 else { throw .invalidSize(target.count) }
      return (level, level)
    }
  }

  /// Fills entries of one table, from the one for `position` on, as far as the table and the pages go.
  ///
  /// `done` grows by the base pages that are mapped, whether it throws or not; tables made before a throw stay, empty.
  private func fill(
    position: UInt64, physical: UInt64, pages: UInt64, flags: PageFlags, lowest: Int, highest: Int, cpu: CPUID,
    done: inout UInt64, needsUser: inout Bool
  ) throws(MemoryError) {
    var level = highest
    while level > lowest {
      let size: UInt64 = 1 &<< format.shifts[level]
      if format.hasLeaves(level: level), (position | physical) & (size - 1) == 0,
        pages >= format.basePages(level: level)
      {
        break
      }
      level -= 1
    }
    let table = try makeTables(position: position, to: level, flags: flags, cpu: cpu, needsUser: &needsUser)
    let index = format.index(position, level: level)
    let covered = format.basePages(level: level)
    let count = min(UInt64(entryCount(level: level) - index), pages / covered)
    var raw = format.leaf(PhysicalAddress(physical), flags: flags, level: level)
    let step = (UInt64(1) &<< format.shifts[level]) &>> format.addressShift
    // SAFETY: `table` is ours, index + count at most its entries.
    let entries = unsafe frames.entries(table) + index
    var made = 0
    while made < Int(count), unsafe entries[made] == 0 {
      unsafe entries[made] = raw
      raw += step
      made += 1
    }
    frames.addLive(table, made)
    if level == format.rootLevel { rootChanged = true }
    done += UInt64(made) * covered
    if made < Int(count) {
      let obstacle = position + UInt64(made) &<< format.shifts[level]
      throw .alreadyMapped(firstMapping(position: obstacle, pages: covered)?.address ?? address(obstacle))
    }
  }

  /// The table of `level` on the way to `position`; what is missing of it is made.
  func makeTables(
    position: UInt64, to level: Int, flags: PageFlags, cpu: CPUID, needsUser: inout Bool
  ) throws(MemoryError) -> UInt64 {
    var table = rootFrame.rawValue
    var here = format.rootLevel
    while here > level {
      // SAFETY: `table` is ours, the index within it.
      let entry = unsafe frames.entries(table) + format.index(position, level: here)
      let raw = unsafe entry.pointee
      if let next = subtable(raw, level: here) {
        if flags.contains(.user), !format.admitsUsers(raw, level: here) { needsUser = true }
        table = next
      } else {
        guard raw == 0 else { throw .alreadyMapped(address(position)) }
        let made = try frames.allocate(owner: space, cpu: cpu, isCounted: isCounted(level: here - 1))
        tableCount += 1
        unsafe entry.pointee = tableEntry(made, level: here, user: flags.contains(.user))
        frames.addLive(table, 1)
        if here == format.rootLevel { rootChanged = true }
        table = made
      }
      here -= 1
    }
    return table
  }

  /// Whether Linux counts a table of that level (`pgtable_pte_page_ctor`, `pgtable_pmd_page_ctor`; 6.1 has none for those above).
  func isCounted(level: Int) -> Bool { !isKernel && level < min(2, format.rootLevel) }

  func tableEntry(_ frame: UInt64, level: Int, user: Bool) -> UInt64 {
    (frame &<< format.pageShift) &>> format.addressShift | format.tableBits[level]
      | (user ? format.tableUserBits[level] : 0)
  }

  /// A place in this table's half, as an address.
  @inlinable func address(_ position: UInt64) -> VirtualAddress { format.address(position: position, kernel: isKernel) }

  /// Gives back the tables on the way to `position` that are empty, unless they are kept.
  func prune(position: UInt64, cpu: CPUID) {
    if keepsTables { return }
    var path = InlineArray<5, UInt64>(repeating: 0)
    let level = descend(position, path: &path)
    if frames.live(path[level]) == 0 {
      var nothing = FlushObligation(frames: frames, context: context, start: address(position))
      release(position: position, level: level, path: path, into: &nothing)
      nothing.withoutCPUs(on: cpu)
    }
  }

  /// Lets users through every table on the way to the pages (x86: an access needs U at every level).
  func admitUsers(position: UInt64, pages: UInt64) {
    let end = position + pages &<< format.pageShift
    var here = position
    while here < end {
      var table = rootFrame.rawValue
      var level = format.rootLevel
      while level > 0 {
        // SAFETY: `table` is ours, the index within it.
        let entry = unsafe frames.entries(table) + format.index(here, level: level)
        let raw = unsafe entry.pointee
        guard let next = subtable(raw, level: level) else { break }
        unsafe entry.pointee = raw | format.tableUserBits[level]
        table = next
        level -= 1
      }
      // what lies below this entry is done: below the lowest table's parent, or where the way ends
      let shift = format.shifts[max(level, 1)]
      here = (here &>> shift + 1) &<< shift
    }
  }
}
