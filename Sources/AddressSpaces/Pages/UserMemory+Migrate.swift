public import MemoryTypes
public import PhysicalMemory
internal import Translation

/// Moving a page to another frame without its holders noticing (mm/migrate.c).
extension UserMemory {
  /// The node whose memory a frame is.
  func node(of frame: FrameNumber) -> NodeID {
    guard let node = physical.node(of: frame) else { preconditionFailure("a page outside of memory") }
    return node
  }

  func owner(of frame: FrameNumber) -> FrameOwner {
    physical.allocation(containing: frame)?.owner ?? FrameOwner(.anonymous)
  }

  /// Moves a page to where `allocate` finds as many frames for it, and gives the old ones back; a huge page for which there are none is split,
  /// and its frames are moved one by one. False where there is no frame, with nothing changed, and where the page cannot be moved.
  func migrate(_ part: FrameNumber, _ allocate: (_ isHuge: Bool) -> FrameNumber?) -> Bool {
    let head = hugeHead(of: part)
    let frame = head ?? part
    let count = FrameCount(head == nil ? 1 : hugeFrames)
    // Finding a frame must neither move the page nor reclaim it.
    pin(frame)
    let found = allocate(head != nil)
    unpin(frame)
    guard let target = found else { return head.map { migrateParts(of: $0, allocate) } ?? false }
    let (source, place) = (FrameRange(start: frame, count: count), FrameRange(start: target, count: count))
    let moved = migrate(frame, to: target)
    if moved { physical.noteMove(source, to: place, .systemCall) }
    giveBack(moved ? source : place, currentCPU)
    return moved
  }

  /// `try_split_thp`, and what becomes of the parts.
  private func migrateParts(of head: FrameNumber, _ allocate: (_ isHuge: Bool) -> FrameNumber?) -> Bool {
    hugeEvents.migrationsFailed += 1
    guard splitPage(head) else { return false }
    hugeEvents.migrationsSplit += 1
    var moved = true
    for index in 0..<hugeFrames {
      let frame = FrameNumber(head.rawValue + index)
      // SAFETY: a frame of this machine. What nobody showed is free now.
      if unsafe records[frame].pointee.references > 0, !migrate(frame, allocate) { moved = false }
    }
    return moved
  }

  /// Copies `frame` to `target` and leads every entry and the cache to the copy; the frame that is not used then is the caller's to
  /// free. False, with nothing changed, where somebody else holds the page: whoever works on it, or entries that are about to be made.
  public func migrate(_ frame: FrameNumber, to target: FrameNumber) -> Bool {
    settle()
    guard let mappings = mappings(of: frame) else {
      // SAFETY: a frame of this machine.
      let record = unsafe records[frame].pointee
      events.migrationsFailed += UInt64(size(of: record))
      if record.flags.contains(.huge) { hugeEvents.migrationsFailed += 1 }
      return false
    }
    // What entries know of writes the page knows from now on (`try_to_migrate_one`).
    if mappings.contains(where: { $0.entry.flags.contains(.dirty) }) { markDirty(frame) }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame].pointee
    if record.flags.contains(.huge) {
      migrateHuge(record, frame, to: target, mappings)
      return true
    }
    physical.copyFrames(
      FrameRange(start: frame, count: FrameCount(1)), to: FrameRange(start: target, count: FrameCount(1)))
    let list = record.list
    let isFile = record.flags.contains(.fileCache)
    let isCached = !record.flags.contains(.anonymous)
    func countAll(_ page: FrameNumber, by change: Int) {
      count(page) {
        if isCached, record.mapCount > 0 { $0.mapped += change }
        if isFile, record.flags.contains(.dirty) { $0.dirty += change }
        if isCached, !isFile { $0.shared += change }
      }
    }
    delist(frame)
    countAll(frame, by: -1)
    var moved = record
    moved.list = .none
    moved.newer = 0
    moved.older = 0
    begin(target, moved)
    countAll(target, by: 1)
    enlist(target, list)
    for mapping in mappings { mapping.space.table.replace(mapping.address, target, mapping.entry.flagsWhenMigrated) }
    if let file = unsafe record.owner as? MemoryFile { file.setPage(record.index, target) }
    unsafe records[frame].pointee = PageRecord()
    events.migrated += 1
    if list == .unevictable { events.lockedMoved += 1 }
    return true
  }

  /// The same of a huge page, its parts as they are.
  private func migrateHuge(_ record: PageRecord, _ head: FrameNumber, to target: FrameNumber, _ mappings: [PageMapping])
  {
    let frames = Int(hugeFrames)
    physical.copyFrames(
      FrameRange(start: head, count: FrameCount(hugeFrames)),
      to: FrameRange(start: target, count: FrameCount(hugeFrames)))
    let list = record.list
    let unmapped = unmappedParts.removeValue(forKey: head)
    // Entries for parts go one by one, and with the first the page waits to be split (`try_to_migrate_one`).
    if unmapped == nil, record.flags.contains(.anonymous), mappings.contains(where: { $0.entry.level == 0 }) {
      hugeEvents.deferredSplits += 1
    }
    let isCached = !record.flags.contains(.anonymous)
    let mapped = record.wholeMaps > 0 ? frames : frames - framesWithoutEntry(head)
    func countAll(_ page: FrameNumber, by sign: Int) {
      count(page) {
        if isCached {
          $0.shared += sign * frames
          $0.sharedHuge += sign * frames
          $0.mapped += sign * mapped
          if record.wholeMaps > 0 { $0.sharedWhole += sign * frames }
          return
        }
        if record.wholeMaps > 0 { $0.huge += sign * frames }
        $0.unmapped += sign * (unmapped ?? 0)
      }
    }
    delist(head)
    countAll(head, by: -1)
    var moved = record
    moved.list = .none
    moved.newer = 0
    moved.older = 0
    begin(target, moved)
    for index in 1..<hugeFrames where record.flags.contains(.hasParts) {
      // SAFETY: frames of this machine.
      let part = unsafe records[FrameNumber(head.rawValue + index)]
      unsafe records[FrameNumber(target.rawValue + index)].pointee = unsafe part.pointee
      unsafe part.pointee = PageRecord()
    }
    // SAFETY: a frame of this machine.
    unsafe records[head].pointee = PageRecord()
    countAll(target, by: 1)
    enlist(target, list)
    if let unmapped {
      unmappedParts[target] = unmapped
      splitQueue.append(target)
    }
    if let file = unsafe record.owner as? MemoryFile { setPages(of: file, from: record.index, to: target) }
    for mapping in mappings {
      let frame = FrameNumber(target.rawValue + mapping.entry.frame.rawValue - head.rawValue)
      mapping.space.table.replace(
        mapping.address, frame, mapping.entry.flagsWhenMigrated, level: mapping.entry.level)
    }
    events.migrated += UInt64(frames)
    if list == .unevictable { events.lockedMoved += UInt64(frames) }
    hugeEvents.migrated += 1
  }

  /// Whether an allocation is a page that is locked in memory.
  public func isUnevictable(_ allocation: Allocation) -> Bool {
    guard allocation.owner.kind == .anonymous || allocation.owner.kind == .pageCache else { return false }
    return mappings(of: allocation.range.start)?.contains { $0.area.flags.contains(.locked) } ?? false
  }

  /// Whether nobody has said where a page shall lie: no area that shows it, and no process, has a policy but for local memory.
  ///
  /// - Complexity: that of `mappings`, and O(processes).
  public func isPlacedFreely(_ frame: FrameNumber) -> Bool {
    guard let mappings = mappings(of: frame) else { return false }
    return mappings.allSatisfy { mapping in
      let owner = processes.values.first { $0.space === mapping.space }
      let policy = policy(of: mapping.area, at: mapping.address) ?? owner?.policy
      return policy.map { $0.mode == .local } ?? true
    }
  }

  /// An entry that shows a page.
  struct PageMapping {
    var space: AddressSpace
    var area: Area
    var address: UInt64
    var entry: UserTable.Entry
  }

  /// Every entry that shows a page (`rmap_walk`); nil where these and the cache are not all who hold it.
  ///
  /// - Complexity: O(areas that are linked to the page's file or group): where an area's linear space has the page's index, its entry is
  ///   looked at.
  func mappings(of frame: FrameNumber) -> [PageMapping]? {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame].pointee
    guard unsafe record.owner != nil else { return nil }
    let found = areasShowing(frame)
    let cached: UInt32 = record.flags.contains(.anonymous) ? 0 : 1
    if record.flags.contains(.huge) { return found.count + Int(cached) == Int(record.references) ? found : nil }
    return found.count == record.mapCount && record.references == record.mapCount + cached ? found : nil
  }

  /// The entries that show a page, as far as they are made; of a huge page those that show any of it.
  func areasShowing(_ frame: FrameNumber) -> [PageMapping] {
    if let head = hugeHead(of: frame) { return areasShowing(huge: head) }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame].pointee
    var found: [PageMapping] = []
    if record.mapCount > 0, let owner = unsafe record.owner {
      for area in owner.areas {
        guard record.index >= area.pageOffset, record.index - area.pageOffset < area.size >> pageShift else { continue }
        let address = area.start + (record.index - area.pageOffset) << pageShift
        guard let entry = area.space.table.entry(at: address), entry.frame == frame, entry.level == 0 else { continue }
        found.append(PageMapping(space: area.space, area: area, address: address, entry: entry))
        if found.count == record.mapCount { break }
      }
    }
    return found
  }

  private func areasShowing(huge head: FrameNumber) -> [PageMapping] {
    // SAFETY: a frame of this machine.
    let record = unsafe records[head].pointee
    var found: [PageMapping] = []
    guard let owner = unsafe record.owner else { return [] }
    for area in owner.areas {
      let first = max(record.index, area.pageOffset)
      let end = min(record.index + hugeFrames, area.pageOffset &+ area.size >> pageShift)
      var index = first
      while index < end {
        let address = area.start + (index - area.pageOffset) << pageShift
        let entry = area.space.table.entry(at: address)
        index += 1
        guard var entry, entry.frame.rawValue == head.rawValue + (index - 1 - record.index) else { continue }
        if entry.level > 0 {
          entry.frame = head
          found.append(PageMapping(space: area.space, area: area, address: address & ~(hugePageSize - 1), entry: entry))
          break
        }
        found.append(PageMapping(space: area.space, area: area, address: address, entry: entry))
      }
    }
    return found
  }
}
