public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Taking pages back from files and processes (mm/vmscan.c).
extension UserMemory {
  /// What a run of reclaim may do, and for whom.
  public struct ReclaimOrder: Sendable {
    public var node: NodeID
    /// The highest kind of zone whose pages are of use.
    public var highest: ZoneKind
    /// Pages wanted.
    public var wanted: Int
    /// For kswapd, or for the one who allocates.
    public var isKswapd: Bool
    /// Pages that processes map may be taken: not while a table is being changed.
    public var mayUnmap: Bool
    public init(node: NodeID, highest: ZoneKind, wanted: Int, isKswapd: Bool, mayUnmap: Bool) {
      self.node = node
      self.highest = highest
      self.wanted = wanted
      self.isKswapd = isKswapd
      self.mayUnmap = mayUnmap
    }
  }

  /// Frees pages of a node (`shrink_lruvec`): files' pages, and what was freed lazily. Other private and shared memory stays, as there is no
  /// disk to swap to. How many were freed: possibly none, where all that could go has been looked at twice.
  public func reclaim(_ order: ReclaimOrder) -> Int {
    settle()
    guard order.node.rawValue < lists.count else { return 0 }
    let node = order.node.rawValue
    var freed = 0
    // Each page is looked at twice at most: the first look at one that was used lately lets it stay.
    var left = 2 * (lists[node].count(.inactiveFile) + lists[node].count(.activeFile))
    while freed < order.wanted, left > 0 {
      balance(node, batch: 32)
      guard let frame = oldest(node, .inactiveFile) else { break }
      left -= 1
      freed += shrink(frame, order)
    }
    return freed
  }

  /// Moves the oldest active pages to the inactive list where that is short of them (`shrink_active_list`).
  private func balance(_ node: Int, batch: Int) {
    var left = batch
    while left > 0, inactiveIsLow(node), let frame = oldest(node, .activeFile) {
      left -= 1
      reclaimCounts.refilled += 1
      let showing = areasShowing(frame)
      let used = forgetUse(showing)
      // Code that is in use stays.
      if used > 0, showing.contains(where: { $0.area.flags.contains(.execute) }) {
        relist(frame, .activeFile)
        continue
      }
      reclaimCounts.deactivated += 1
      // SAFETY: a frame of this machine.
      unsafe records[frame].pointee.flags.insert(.workingSet)
      relist(frame, .inactiveFile)
    }
  }

  /// `inactive_is_low`: the larger the lists, the smaller the share that has to be inactive.
  private func inactiveIsLow(_ node: Int) -> Bool {
    let inactive = lists[node].count(.inactiveFile)
    let active = lists[node].count(.activeFile)
    let gibibytes = (inactive + active) >> (30 - Int(pageShift))
    var ratio = 1
    if gibibytes > 0 { while (ratio + 1) * (ratio + 1) <= 10 * gibibytes { ratio += 1 } }
    return inactive * ratio < active
  }

  /// Takes the accessed bits of entries away; how many had one (`folio_referenced`). No flush: a CPU that holds the translation may only do
  /// what it could before, as on x86 (`ptep_clear_flush_young`).
  private func forgetUse(_ showing: [PageMapping]) -> Int {
    var used = 0
    for mapping in showing where mapping.entry.flags.contains(.accessed) {
      used += 1
      mapping.space.table.forgetUse(mapping.address, level: mapping.entry.level)
    }
    return used
  }

  /// One page of the inactive list: freed, or put elsewhere (`shrink_folio_list`). How many frames came free.
  private func shrink(_ frame: FrameNumber, _ order: ReclaimOrder) -> Int {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    let size = unsafe self.size(of: record.pointee)
    if unsafe record.pointee.zone > order.highest.rawValue {
      reclaimCounts.skipped[unsafe Int(record.pointee.zone)] += UInt64(size)
      relist(frame, .inactiveFile)
      return 0
    }
    if order.isKswapd {
      reclaimCounts.scannedByKswapd += UInt64(size)
    } else {
      reclaimCounts.scannedDirectly += UInt64(size)
    }
    guard let showing = mappings(of: frame) else {
      // Somebody works on it.
      reclaimCounts.rotated += UInt64(size)
      relist(frame, .inactiveFile)
      return 0
    }
    if showing.contains(where: { $0.area.flags.contains(.locked) }) {
      relist(frame, .unevictable)
      return 0
    }
    let used = forgetUse(showing)
    let isAnonymous = unsafe record.pointee.flags.contains(.anonymous)
    if used > 0, !isAnonymous {
      // `folio_check_references`: used again, or by several, or code: active. Else it gets another round.
      let again = unsafe record.pointee.flags.contains(.referenced)
      unsafe record.pointee.flags.insert(.referenced)
      let isCode = showing.contains { $0.area.flags.contains(.execute) }
      if again || used > 1 || isCode { activate(frame) } else { relist(frame, .inactiveFile) }
      return 0
    }
    if !showing.isEmpty, !order.mayUnmap {
      relist(frame, .inactiveFile)
      return 0
    }
    let wasWritten =
      unsafe record.pointee.flags.contains(.dirty) || showing.contains { $0.entry.flags.contains(.dirty) }
    if isAnonymous {
      if wasWritten {
        // Written since it was freed lazily: ordinary memory again.
        unsafe record.pointee.flags.remove(.lazilyFree)
        relist(frame, list(for: frame, isActive: true))
        return 0
      }
      for mapping in showing {
        mapping.space.zap(
          mapping.area, mapping.address, mapping.address + format.pageSize(level: mapping.entry.level).rawValue)
      }
      reclaimCounts.lazilyFreed += UInt64(size)
      count(stolen: order, size)
      return size
    }
    guard let file = unsafe record.pointee.owner as? MemoryFile else { return 0 }
    let index = unsafe record.pointee.index
    for mapping in showing { mapping.space.zap(mapping.area, mapping.address, mapping.address + 1 << pageShift) }
    if unsafe record.pointee.flags.contains(.dirty) {
      note(frame) { $0.writtenByReclaim += 1 }
      writeBack(file, index)
    }
    evict(file, index)
    count(stolen: order, 1)
    return 1
  }

  private func count(stolen order: ReclaimOrder, _ frames: Int) {
    if order.isKswapd {
      reclaimCounts.stolenByKswapd += UInt64(frames)
    } else {
      reclaimCounts.stolenDirectly += UInt64(frames)
    }
  }

  func activate(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    unsafe record.pointee.flags.remove(.referenced)
    relist(frame, list(for: frame, isActive: true))
    unsafe lists[Int(record.pointee.node)].age += 1
    reclaimCounts.activated += 1
  }

  /// A page was used otherwise than through an entry, or through one that goes (`mark_page_accessed`): twice while it is inactive makes it
  /// active.
  func markAccessed(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    if unsafe !record.pointee.flags.contains(.referenced) {
      unsafe record.pointee.flags.insert(.referenced)
    } else if unsafe record.pointee.list == .inactiveFile || record.pointee.list == .inactiveAnonymous {
      activate(frame)
    }
  }

  func markReferenced(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    unsafe records[frame].pointee.flags.insert(.referenced)
  }

  func forgetReference(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    unsafe records[frame].pointee.flags.remove(.referenced)
  }

  // MARK: Pages that went

  /// Drops a page of a file that nobody else shows, or keeps it among the active ones where it was written to and has to stay
  /// (`shrink_folio_list`'s `activate_locked`).
  func pageOut(_ file: MemoryFile, _ index: UInt64) {
    guard let frame = file.page(index) else { return }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame].pointee
    if !record.flags.contains(.dirty) { return removeFromCache(file, index) }
    if record.list == .unevictable { return }
    relist(frame, list(for: frame, isActive: true))
    reclaimCounts.activated += 1
  }

  /// Takes a clean page that nobody maps out of its file, which remembers when (`workingset_eviction`).
  private func evict(_ file: MemoryFile, _ index: UInt64) {
    guard let frame = file.page(index) else { return }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    let node = unsafe Int(record.pointee.node)
    lists[node].age += 1
    let wasWorking = unsafe record.pointee.flags.contains(.workingSet)
    if file.shadows.count >= file.shadowLimit {
      // What was evicted longer ago than there are pages in memory would come back as if it were new.
      for (index, shadow) in file.shadows {
        let pages = lists[shadow.node].count(.activeFile) + lists[shadow.node].count(.inactiveFile)
        if lists[shadow.node].age &- shadow.age > UInt64(pages) { file.setShadow(index, nil) }
      }
      file.shadowLimit = max(4096, 2 * file.shadows.count)
    }
    removeFromCache(file, index)
    file.setShadow(index, MemoryFile.Shadow(node: node, age: lists[node].age, wasWorking: wasWorking))
  }

  /// A page is back: one that would have stayed, had the inactive list been as large as the active one is, becomes active at once
  /// (`workingset_refault`).
  func refault(_ file: MemoryFile, _ index: UInt64, _ frame: FrameNumber) {
    guard let shadow = file.shadows[index] else { return }
    file.setShadow(index, nil)
    note(frame) { $0.refaults += 1 }
    let distance = lists[shadow.node].age &- shadow.age
    guard distance <= UInt64(lists[shadow.node].count(.activeFile)) else { return }
    note(frame) { $0.refaultsActivated += 1 }
    relist(frame, .activeFile)
    lists[shadow.node].age += 1
    guard shadow.wasWorking else { return }
    // SAFETY: a frame of this machine.
    unsafe records[frame].pointee.flags.insert(.workingSet)
    note(frame) { $0.refaultsRestored += 1 }
  }

  /// Nodes of files' page caches in the memory of a node that hold nothing but what was evicted (`WORKINGSET_NODES`). O(files).
  public func shadowNodes(on node: NodeID) -> Int { regularFiles.reduce(0) { $0 + $1.shadowNodes(on: node.rawValue) } }

  /// Drops every clean page of files that nobody maps or works on (`drop_pagecache_sb`).
  public func dropCleanPages() {
    settle()
    for node in lists.indices {
      for list in [PageList.inactiveFile, .activeFile] {
        var next = lists[node].heads[Int(list.rawValue)]
        while next != 0 {
          let frame = FrameNumber(next - 1)
          // SAFETY: a frame of this machine: those on lists are.
          let record = unsafe records[frame].pointee
          next = record.older
          if record.flags.contains(.fileCache), !record.flags.contains(.dirty), record.references == 1,
            let file = unsafe record.owner as? MemoryFile
          {
            removeFromCache(file, record.index)
          }
        }
      }
    }
  }
}
