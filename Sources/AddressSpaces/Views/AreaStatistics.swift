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
      ("AnonHugePages", 0), ("ShmemPmdMapped", 0), ("FilePmdMapped", 0), ("Shared_Hugetlb", 0), ("Private_Hugetlb", 0),
      ("Swap", 0), ("SwapPss", 0), ("Locked", share(proportionalLocked)),
    ]
    return fields
  }
}

extension UserMemory {
  /// Adds an area's pages to `statistics` (`smap_gather_stats`). O(entries in use).
  public func gather(_ area: Area, of space: AddressSpace, into statistics: inout AreaStatistics) {
    let locked = area.flags.contains(.locked)
    var sum = statistics
    space.table.forEach(area.start, area.end) { _, entry in
      if !isOrdinary(entry) { return }
      // SAFETY: a frame of this machine.
      let record = unsafe records[entry.frame].pointee
      let size = format.pageSize(level: entry.level).rawValue
      let isAnonymous = record.flags.contains(.anonymous)
      let dirty = entry.flags.contains(.dirty) || record.flags.contains(.dirty)
      if isAnonymous {
        sum.anonymous += size
        sum.anonymousPages += 1
        if record.flags.contains(.lazilyFree), !dirty { sum.lazilyFree += size }
      }
      sum.resident += size
      sum.pages += 1
      if entry.flags.contains(.accessed) || record.flags.contains(.referenced) { sum.referenced += size }
      if [.activeAnonymous, .activeFile, .unevictable].contains(record.list) { sum.activePages += 1 }
      if dirty { sum.dirtyPages += 1 }
      sum.highestMapCount = max(sum.highestMapCount, record.mapCount)
      sum.nodes[node(of: entry.frame), default: 0] += 1
      let isPrivate = record.mapCount < 2
      let share = (size << AreaStatistics.shareShift) / UInt64(max(record.mapCount, 1))
      sum.proportional += share
      if isAnonymous {
        sum.proportionalAnonymous += share
      } else if area.file?.kind == .sharedMemory {
        sum.proportionalShared += share
      } else {
        sum.proportionalFile += share
      }
      if locked { sum.proportionalLocked += share }
      switch (dirty, isPrivate) {
      case (true, true): sum.privateDirty += size
      case (true, false): sum.sharedDirty += size
      case (false, true): sum.privateClean += size
      case (false, false): sum.sharedClean += size
      }
      if dirty { sum.proportionalDirty += share }
    }
    statistics = sum
  }

  /// A field of smaps in kB for the area at `address`; nil where there is no area or no such field.
  public func smapsField(_ process: Process, _ address: UInt64, _ field: String) -> UInt64? {
    guard let area = process.space.areas.area(at: address) else { return nil }
    if field == "Size" { return area.size >> 10 }
    if field == "KernelPageSize" || field == "MMUPageSize" { return pageSize(of: area) >> 10 }
    var statistics = AreaStatistics()
    gather(area, of: process.space, into: &statistics)
    return statistics.fields(rolledUp: false).first { $0.name == field }?.kilobytes
  }

  func pageSize(of area: Area) -> UInt64 { area.flags.contains(.hugeTLB) ? hugePageSize : 1 << pageShift }

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
