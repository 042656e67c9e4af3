public import MemoryTypes
internal import PhysicalMemory

/// The lists on which pages wait to be reclaimed (`enum lru_list`), by how soon: the tail first.
public enum PageList: UInt8, CaseIterable, Sendable {
  case none, inactiveAnonymous, activeAnonymous, inactiveFile, activeFile, unevictable
}

/// A node's lists, chained through the pages' records (`struct lruvec`).
struct NodeLists {
  /// The newest page of each list plus 1, and the oldest plus 1; 0: none. Index: `PageList.rawValue`.
  var heads = InlineArray<6, UInt64>(repeating: 0)
  var tails = InlineArray<6, UInt64>(repeating: 0)
  /// What `PageUse` counts, by kind of zone.
  var uses = InlineArray<6, PageUse>(repeating: PageUse())
  /// Pages that were evicted or became active: by it a page that comes back knows how long it was away (`nonresident_age`).
  var age: UInt64 = 0
  var events = NodeEvents()

  func count(_ list: PageList) -> Int {
    var sum = 0
    for kind in 0..<6 { sum += uses[kind].listed[Int(list.rawValue)] }
    return sum
  }
}

/// Every node's lists, in memory of their own: reached without a look at who else does, as one call is carried out at a time.
@safe struct NodeTable: ~Copyable {
  let count: Int
  /// SAFETY: `count` of them, made by init and freed by deinit.
  private let nodes: UnsafeMutablePointer<NodeLists>

  init(count: Int) {
    self.count = count
    unsafe nodes = .allocate(capacity: count)
    unsafe nodes.initialize(repeating: NodeLists(), count: count)
  }

  deinit {
    unsafe nodes.deinitialize(count: count)
    unsafe nodes.deallocate()
  }

  var indices: Range<Int> { 0..<count }

  /// Traps for a node that is not there.
  subscript(_ node: Int) -> NodeLists {
    @inline(__always) unsafeAddress { unsafe UnsafePointer(place(node)) }
    @inline(__always) nonmutating unsafeMutableAddress { unsafe place(node) }
  }

  @inline(__always) func place(_ node: Int) -> UnsafeMutablePointer<NodeLists> {
    precondition(UInt(bitPattern: node) < UInt(bitPattern: count), "no such node")
    return unsafe nodes + node
  }
}

/// How many pages of processes and files are what, at this instant, in one zone of a node or in several.
public struct PageUse: Sendable {
  /// Index: `PageList.rawValue`.
  var listed = InlineArray<6, Int>(repeating: 0)
  /// Pages of the cache that some process maps.
  public internal(set) var mapped = 0
  /// Pages of shared memory.
  public internal(set) var shared = 0
  /// Pages of files that their disks do not have yet.
  public internal(set) var dirty = 0
  /// Frames of private huge pages that an entry shows as a whole (NR_ANON_THPS).
  public internal(set) var huge = 0
  /// Frames of private huge pages that no entry shows: they come free when the page is split.
  public internal(set) var unmapped = 0
  /// Frames of huge pages of shared memory (NR_SHMEM_THPS), and of those that an entry shows as a whole (NR_SHMEM_PMDMAPPED).
  public internal(set) var sharedHuge = 0
  public internal(set) var sharedWhole = 0

  public subscript(_ list: PageList) -> Int { listed[Int(list.rawValue)] }

  static func += (a: inout Self, b: Self) {
    for index in 0..<6 { a.listed[index] += b.listed[index] }
    a.mapped += b.mapped
    a.shared += b.shared
    a.dirty += b.dirty
    a.huge += b.huge
    a.unmapped += b.unmapped
    a.sharedHuge += b.sharedHuge
    a.sharedWhole += b.sharedWhole
  }
}

/// What a node's vmstat counts of its pages' ways, in pages.
public struct NodeEvents: Equatable, Sendable {
  public var refaults: UInt64 = 0
  public var refaultsActivated: UInt64 = 0
  public var refaultsRestored: UInt64 = 0
  public var dirtied: UInt64 = 0
  public var written: UInt64 = 0
  public var writtenByReclaim: UInt64 = 0
}

/// What vmstat counts of reclaim, in pages, but for what says otherwise.
public struct ReclaimCounts: Equatable, Sendable {
  public var scannedByKswapd: UInt64 = 0
  public var scannedDirectly: UInt64 = 0
  public var stolenByKswapd: UInt64 = 0
  public var stolenDirectly: UInt64 = 0
  public var refilled: UInt64 = 0
  public var activated: UInt64 = 0
  public var deactivated: UInt64 = 0
  public var rotated: UInt64 = 0
  public var lazilyFreed: UInt64 = 0
  public var markedLazilyFree: UInt64 = 0
  /// KiB that came from disks, and that went there.
  public var pagedIn: UInt64 = 0
  public var pagedOut: UInt64 = 0
  /// Pages passed over as their zone was not short, by kind of zone.
  public var skipped = [UInt64](repeating: 0, count: 6)
}

extension UserMemory {
  /// What a node's pages are, or those of its zone of a kind.
  public func pageUse(of node: NodeID, zone: ZoneKind? = nil) -> PageUse {
    guard node.rawValue < lists.count else { return PageUse() }
    if let zone { return lists[node.rawValue].uses[Int(zone.rawValue)] }
    var sum = PageUse()
    for kind in 0..<6 { sum += lists[node.rawValue].uses[kind] }
    return sum
  }

  /// What has become of a node's pages.
  public func nodeEvents(of node: NodeID) -> NodeEvents {
    node.rawValue < lists.count ? lists[node.rawValue].events : NodeEvents()
  }

  /// The node's events that a page counts among.
  func note(_ frame: FrameNumber, _ change: (inout NodeEvents) -> Void) {
    // SAFETY: a frame of this machine.
    unsafe change(&lists[Int(records[frame].pointee.node)].events)
  }

  /// Changes what is counted of the zone that a page lies in.
  @inline(__always) func count(_ frame: FrameNumber, _ change: (inout PageUse) -> Void) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    unsafe change(&lists[Int(record.pointee.node)].uses[Int(record.pointee.zone)])
  }

  /// Begins the record of a page: where it lies.
  func begin(_ frame: FrameNumber, _ fresh: PageRecord) {
    let place = physical.place(of: frame)
    var record = fresh
    record.node = UInt16(place.node.rawValue)
    record.zone = place.kind.rawValue
    // SAFETY: a frame of this machine.
    unsafe records[frame].pointee = record
  }

  /// Puts a page that lies on no list at the head of one (`lruvec_add_folio`), or at its tail.
  func enlist(_ frame: FrameNumber, _ list: PageList, atTail: Bool = false) {
    if list == .none { return }
    let index = Int(list.rawValue)
    let link = frame.rawValue + 1
    // SAFETY: frames of this machine: those on lists are.
    let record = unsafe records[frame]
    let node = unsafe Int(record.pointee.node)
    unsafe record.pointee.list = list
    let old = atTail ? lists[node].tails[index] : lists[node].heads[index]
    unsafe record.pointee.newer = atTail ? old : 0
    unsafe record.pointee.older = atTail ? 0 : old
    if old != 0 {
      let neighbour = unsafe records[FrameNumber(old - 1)]
      if atTail { unsafe neighbour.pointee.older = link } else { unsafe neighbour.pointee.newer = link }
    }
    if atTail || old == 0 { lists[node].tails[index] = link }
    if !atTail || old == 0 { lists[node].heads[index] = link }
    unsafe lists[node].uses[Int(record.pointee.zone)].listed[index] += size(of: record.pointee)
  }

  /// Takes a page off its list, if it is on one.
  func delist(_ frame: FrameNumber) {
    // SAFETY: frames of this machine: those on lists are.
    let record = unsafe records[frame]
    let list = unsafe record.pointee.list
    if list == .none { return }
    let index = Int(list.rawValue)
    let (node, newer, older) = unsafe (Int(record.pointee.node), record.pointee.newer, record.pointee.older)
    if newer == 0 {
      lists[node].heads[index] = older
    } else {
      unsafe records[FrameNumber(newer - 1)].pointee.older = older
    }
    if older == 0 {
      lists[node].tails[index] = newer
    } else {
      unsafe records[FrameNumber(older - 1)].pointee.newer = newer
    }
    unsafe lists[node].uses[Int(record.pointee.zone)].listed[index] -= size(of: record.pointee)
    unsafe record.pointee.list = .none
    unsafe record.pointee.newer = 0
    unsafe record.pointee.older = 0
  }

  func relist(_ frame: FrameNumber, _ list: PageList, atTail: Bool = false) {
    delist(frame)
    enlist(frame, list, atTail: atTail)
  }

  /// The oldest page of a list.
  func oldest(_ node: Int, _ list: PageList) -> FrameNumber? {
    let link = lists[node].tails[Int(list.rawValue)]
    return link == 0 ? nil : FrameNumber(link - 1)
  }

  /// The list that a page belongs to as long as nobody locks it.
  func list(for frame: FrameNumber, isActive: Bool) -> PageList {
    // SAFETY: a frame of this machine.
    let flags = unsafe records[frame].pointee.flags
    // Memory that was freed lazily waits among the files' pages, as both can go without a disk for swapping (`lru_lazyfree_fn`).
    let isFile = flags.contains(.fileCache) || flags.isSuperset(of: [.anonymous, .lazilyFree])
    if isFile { return isActive ? .activeFile : .inactiveFile }
    return isActive ? .activeAnonymous : .inactiveAnonymous
  }

  // MARK: Locked pages

  /// A page of an area that is locked in memory is not to be reclaimed (`mlock_folio`). `asPart`: one entry shows no more than the frame; where
  /// that is one of a huge page's, the page is left alone (`mlock_vma_page`).
  func lockPage(_ frame: FrameNumber, asPart: Bool = true) {
    if frame == zeroFrame || asPart && hugeHead(of: frame) != nil { return }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    if unsafe record.pointee.list == .unevictable { return }
    relist(frame, .unevictable)
    events.locked += unsafe UInt64(size(of: record.pointee))
  }

  /// An area that showed a page is no longer locked, or shows it no longer: unless another one holds it, the page can be reclaimed again
  /// (`munlock_folio`).
  func unlockPage(_ frame: FrameNumber, asPart: Bool = true) {
    if frame == zeroFrame || asPart && hugeHead(of: frame) != nil { return }
    // SAFETY: a frame of this machine.
    guard unsafe records[frame].pointee.list == .unevictable else { return }
    // Areas that show parts of a huge page do not lock it.
    let isLocked = areasShowing(frame).contains { $0.area.flags.contains(.locked) && (asPart || $0.entry.level > 0) }
    if isLocked { return }
    relist(frame, list(for: frame, isActive: false))
    events.unlocked += unsafe UInt64(size(of: records[frame].pointee))
  }

  // MARK: Dirty pages

  /// A page was written to (`folio_mark_dirty`): a file's waits for its disk from now on.
  @inline(__always) func markDirty(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    var record = unsafe records[frame]
    if unsafe record.pointee.references == 0, let head = hugeHead(of: frame) { unsafe record = records[head] }
    if unsafe record.pointee.flags.contains(.dirty) { return }
    unsafe record.pointee.flags.insert(.dirty)
    if unsafe record.pointee.flags.contains(.fileCache) {
      note(frame) { $0.dirtied += 1 }
      count(frame) { $0.dirty += 1 }
      if let file = unsafe record.pointee.owner as? MemoryFile {
        unsafe file.noteWritten(record.pointee.index) { unsafe records[$0].pointee.flags.contains(.dirty) }
      }
    }
  }

  func clearDirty(_ frame: FrameNumber) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    guard unsafe record.pointee.flags.contains(.dirty) else { return }
    unsafe record.pointee.flags.remove(.dirty)
    if unsafe record.pointee.flags.contains(.fileCache) { count(frame) { $0.dirty -= 1 } }
  }
}
