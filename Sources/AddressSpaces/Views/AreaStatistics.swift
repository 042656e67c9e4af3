public import MemoryTypes
internal import Translation

/// What smaps and numa_maps add up over an area's pages (`struct mem_size_stats`, `struct numa_maps`). In bytes, proportional shares
/// with 12 more bits.
public struct AreaStatistics: Sendable {
  public init() {}
  public internal(set) var resident: UInt64 = 0
  var proportional: UInt64 = 0
  var proportionalDirty: UInt64 = 0
  var proportionalAnonymous: UInt64 = 0
  var proportionalFile: UInt64 = 0
  var proportionalShared: UInt64 = 0
  var proportionalLocked: UInt64 = 0
  var sharedClean: UInt64 = 0
  var sharedDirty: UInt64 = 0
  var privateClean: UInt64 = 0
  var privateDirty: UInt64 = 0
  var referenced: UInt64 = 0
  var anonymous: UInt64 = 0
  var lazilyFree: UInt64 = 0
  var anonymousHuge: UInt64 = 0
  var sharedHuge: UInt64 = 0
  var sharedPool: UInt64 = 0
  var privatePool: UInt64 = 0
  /// Pages by node.
  public internal(set) var nodes: [NodeID: UInt64] = [:]
  var dirtyPages: UInt64 = 0
  var anonymousPages: UInt64 = 0
  /// On the lists of pages that are used often, or cannot be evicted.
  var activePages: UInt64 = 0
  var pages: UInt64 = 0
  var highestMapCount: UInt32 = 0

  static let shareShift: UInt64 = 12

  /// smaps' fields below Size, in its order, with their values in kB. `rolledUp` adds the three that smaps_rollup alone has.
  func fields(rolledUp: Bool) -> [(name: String, kilobytes: UInt64)] {
    func kb(_ bytes: UInt64) -> UInt64 { bytes >> 10 }
    func share(_ bytes: UInt64) -> UInt64 { bytes >> (10 + Self.shareShift) }
    var fields: [(String, UInt64)] = [
      ("Rss", kb(resident)), ("Pss", share(proportional)), ("Pss_Dirty", share(proportionalDirty)),
    ]
    if rolledUp {
      fields += [
        ("Pss_Anon", share(proportionalAnonymous)), ("Pss_File", share(proportionalFile)),
        ("Pss_Shmem", share(proportionalShared)),
      ]
    }
    fields += [
      ("Shared_Clean", kb(sharedClean)), ("Shared_Dirty", kb(sharedDirty)), ("Private_Clean", kb(privateClean)),
      ("Private_Dirty", kb(privateDirty)), ("Referenced", kb(referenced)), ("Anonymous", kb(anonymous)),
      ("LazyFree", kb(lazilyFree)),
      ("AnonHugePages", kb(anonymousHuge)), ("ShmemPmdMapped", kb(sharedHuge)), ("FilePmdMapped", 0),
      ("Shared_Hugetlb", kb(sharedPool)),
      ("Private_Hugetlb", kb(privatePool)),
      ("Swap", 0), ("SwapPss", 0), ("Locked", share(proportionalLocked)),
    ]
    return fields
  }
}

extension AreaStatistics {
  /// Counts what depends on an entry alone, which shows `pages` base pages.
  mutating func count(
    _ entry: UserTable.Entry, pages: UInt64, anonymous isAnonymous: Bool, dirty: Bool, node: NodeID, _ shift: UInt64
  ) {
    let size = pages << shift
    self.pages += pages
    resident += size
    if isAnonymous {
      anonymous += size
      anonymousPages += pages
      if pages > 1 { anonymousHuge += size }
    } else if pages > 1 {
      sharedHuge += size
    }
    if entry.flags.contains(.accessed) { referenced += size }
    if dirty { dirtyPages += pages }
    nodes[node, default: 0] += pages
  }

  /// Counts what depends on how many entries show a page (`smaps_page_accumulate`). `kind`: of the file that it is of, nil for private memory.
  mutating func share(_ size: UInt64, _ mapCount: UInt32, _ kind: MemoryFile.Kind?, _ dirty: Bool, _ locked: Bool) {
    let share = (size << Self.shareShift) / UInt64(max(mapCount, 1))
    proportional += share
    switch kind {
    case nil: proportionalAnonymous += share
    case .sharedMemory: proportionalShared += share
    default: proportionalFile += share
    }
    if locked { proportionalLocked += share }
    switch (dirty, mapCount < 2) {
    case (true, true): privateDirty += size
    case (true, false): sharedDirty += size
    case (false, true): privateClean += size
    case (false, false): sharedClean += size
    }
    if dirty { proportionalDirty += share }
  }
}

extension UserMemory {
  /// Adds an area's pages to `statistics` (`smap_gather_stats`). O(entries in use).
  public func gather(
    _ area: Area, of space: AddressSpace, into statistics: inout AreaStatistics, forSmaps: Bool = false
  ) {
    settle()
    let locked = area.flags.contains(.locked)
    var sum = statistics
    space.table.forEach(area.start, area.end) { _, entry in
      if area.flags.contains(.hugeTLB) { return gather(poolPage: entry, forSmaps: forSmaps, into: &sum) }
      if !isOrdinary(entry) { return }
      // What the process may not see of huge pages is passed over (`follow_trans_huge_pmd`).
      if forSmaps, entry.level > 0, !entry.flags.contains(.present) { return }
      let page = head(of: entry.frame)
      // SAFETY: frames of this machine.
      let record = unsafe records[page].pointee
      let count = format.basePages(level: entry.level)
      let isAnonymous = record.flags.contains(.anonymous)
      let dirty = entry.flags.contains(.dirty) || record.flags.contains(.dirty)
      sum.count(entry, pages: count, anonymous: isAnonymous, dirty: dirty, node: node(of: entry.frame), pageShift)
      if !entry.flags.contains(.accessed), record.flags.contains(.referenced) { sum.referenced += count << pageShift }
      if [.activeAnonymous, .activeFile, .unevictable].contains(record.list) { sum.activePages += count }
      sum.highestMapCount = max(sum.highestMapCount, mapCount(of: entry.frame))
      if isAnonymous, record.flags.contains(.lazilyFree), !dirty { sum.lazilyFree += count << pageShift }
      let kind = isAnonymous ? nil : area.file?.kind ?? .regular
      // One holder has all of it; else each of its pages is shared as often as it is shown.
      if record.references == 1 || count == 1 {
        sum.share(count << pageShift, record.references == 1 ? 1 : mapCount(of: entry.frame), kind, dirty, locked)
      } else {
        for index in 0..<count {
          sum.share(1 << pageShift, mapCount(of: FrameNumber(page.rawValue + index)), kind, dirty, locked)
        }
      }
    }
    statistics = sum
  }

  /// `smaps_hugetlb_range`, `gather_hugetlb_stats`: pages of pools are no resident memory, and numa_maps counts each as one.
  private func gather(poolPage entry: UserTable.Entry, forSmaps: Bool, into sum: inout AreaStatistics) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[entry.frame].pointee
    let size = format.pageSize(level: entry.level).rawValue
    if forSmaps {
      if record.wholeMaps >= 2 { sum.sharedPool += size } else { sum.privatePool += size }
      return
    }
    sum.pages += 1
    if record.flags.contains(.anonymous) { sum.anonymousPages += 1 }
    if entry.flags.contains(.dirty) { sum.dirtyPages += 1 }
    sum.highestMapCount = max(sum.highestMapCount, record.wholeMaps)
    sum.nodes[node(of: entry.frame), default: 0] += 1
  }

  /// A field of smaps in kB for the area at `address`; nil where there is no area or no such field.
  public func smapsField(_ process: Process, _ address: UInt64, _ field: String) -> UInt64? {
    guard let area = process.space.areas.area(at: address) else { return nil }
    if field == "Size" { return area.size >> 10 }
    if field == "THPeligible" { return process.space.mayHaveHugePages(area, for: .smaps) ? 1 : 0 }
    if field == "KernelPageSize" || field == "MMUPageSize" { return pageSize(of: area) >> 10 }
    var statistics = AreaStatistics()
    gather(area, of: process.space, into: &statistics, forSmaps: true)
    return statistics.fields(rolledUp: false).first { $0.name == field }?.kilobytes
  }

  func pageSize(of area: Area) -> UInt64 {
    area.flags.contains(.hugeTLB) ? format.pageSize(level: area.pageLevel).rawValue : 1 << pageShift
  }

  /// The policy that numa_maps shows for an area: the one in effect at its start.
  public func shownPolicy(_ process: Process, of area: Area) -> String {
    (policy(of: area, at: area.start) ?? process.policy)?.text ?? "default"
  }

  /// A letter a page of pagemap: P where something is entered, `.` else.
  public func isEntered(_ process: Process, page address: UInt64) -> Bool {
    format.isCanonical(VirtualAddress(address)) && address < process.space.layout.userEnd
      && process.space.table.entry(at: address) != nil
  }

  /// The last area that begins at or below `address`: what a reader of numa_maps takes for the area of an address.
  public func lastArea(_ process: Process, from address: UInt64) -> Area? {
    let areas = process.space.areas
    return areas.area(at: address) ?? areas.last(endingAtOrBelow: address)
  }
}
