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

  /// Moves a page to where `allocate` finds a frame for it, and gives the old one back. False, with nothing changed, where there is none,
  /// and where the page cannot be moved.
  func migrate(_ frame: FrameNumber, _ allocate: () -> FrameNumber?) -> Bool {
    // Finding a frame must neither move the page nor reclaim it.
    pin(frame)
    let found = allocate()
    unpin(frame)
    guard let target = found else { return false }
    let moved = migrate(frame, to: target)
    if moved {
      let one = FrameCount(1)
      physical.noteMove(
        FrameRange(start: frame, count: one), to: FrameRange(start: target, count: one), .systemCall)
    }
    free(moved ? frame : target, cpu: currentCPU)
    return moved
  }

  /// Copies `frame` to `target` and leads every entry and the cache to the copy; the frame that is not used then is the caller's to
  /// free. False, with nothing changed, where somebody else holds the page: whoever works on it, or entries that are about to be made.
  public func migrate(_ frame: FrameNumber, to target: FrameNumber) -> Bool {
    // SAFETY: frames of this machine.
    let record = unsafe records[frame].pointee
    guard let mappings = mappings(of: frame) else {
      events.migrationsFailed += 1
      return false
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
    for mapping in mappings { mapping.space.table.replace(mapping.address, target, mapping.entry.flags) }
    if let file = unsafe record.owner as? MemoryFile { file.setPage(record.index, target) }
    unsafe records[frame].pointee = PageRecord()
    events.migrated += 1
    return true
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
    return found.count == record.mapCount && record.references == record.mapCount + cached ? found : nil
  }

  /// The entries that show a page, as far as they are made.
  func areasShowing(_ frame: FrameNumber) -> [PageMapping] {
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
}
