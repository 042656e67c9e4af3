public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Transparent huge pages as pages: their records, who shows them, and when they go or come apart (mm/huge_memory.c, mm/rmap.c).
extension UserMemory {
  /// Frames of a huge page.
  var hugeFrames: UInt64 { format.basePages(level: 1) }

  /// The first frame of the transparent huge page that a frame is part of; nil where it is part of none.
  @inline(__always) func hugeHead(of frame: FrameNumber) -> FrameNumber? {
    // SAFETY: frames of this machine; a huge page begins at a multiple of its size.
    let record = unsafe records[frame]
    if unsafe record.pointee.references != 0 { return unsafe record.pointee.flags.contains(.huge) ? frame : nil }
    let head = FrameNumber(frame.rawValue & ~(hugeFrames - 1))
    return unsafe records[head].pointee.flags.contains(.huge) ? head : nil
  }

  /// The frame by which the page that a frame is part of goes (`compound_head`).
  @inline(__always) func head(of frame: FrameNumber) -> FrameNumber { hugeHead(of: frame) ?? frame }

  /// Frames that a page with this record has.
  @inline(__always) func size(of record: PageRecord) -> Int { record.flags.contains(.huge) ? Int(hugeFrames) : 1 }

  /// How many entries show a frame, by itself or as part of a huge page (`page_mapcount`).
  func mapCount(of frame: FrameNumber) -> UInt32 {
    // SAFETY: frames of this machine.
    let own = unsafe records[frame].pointee.mapCount
    guard let head = hugeHead(of: frame) else { return unsafe own + records[frame].pointee.wholeMaps }
    return unsafe own + records[head].pointee.wholeMaps
  }

  /// Whether an entry shows zeros that belong to nobody: the frame, or the huge page, of zeros.
  @inline(__always) func isZero(_ entry: UserTable.Entry) -> Bool {
    entry.frame == zeroFrame
      || entry.level > 0 && hugeZero.map { entry.frame >= $0.start && entry.frame < $0.end } ?? false
  }

  // MARK: The huge page of zeros

  /// The huge page of zeros for a space, which holds it until it ends (`mm_get_huge_zero_page`); nil where there is no memory for it.
  func hugeZeroPage(for space: AddressSpace) -> FrameRange? {
    if hugeZero == nil {
      let count = FrameCount(hugeFrames)
      guard
        let frames = try? physical.allocate(FrameRequest(count: count, alignment: count, cpu: currentCPU, zeroed: true))
      else {
        hugeEvents.zeroPagesFailed += 1
        return nil
      }
      hugeEvents.zeroPages += 1
      hugeZero = frames
    }
    if !space.holdsHugeZero {
      space.holdsHugeZero = true
      hugeZeroUsers += 1
    }
    return hugeZero
  }

  /// `mm_put_huge_zero_page`: the page itself stays until memory runs short.
  func releaseHugeZero(of space: AddressSpace) {
    if !space.holdsHugeZero { return }
    space.holdsHugeZero = false
    hugeZeroUsers -= 1
  }

  /// Gives the huge page of zeros back where nobody holds it (`shrink_huge_zero_page_scan`); how many frames came free.
  func shrinkHugeZero() -> Int {
    guard hugeZeroUsers == 0, let frames = hugeZero else { return 0 }
    hugeZero = nil
    giveBack(frames, currentCPU)
    return Int(frames.count.rawValue)
  }

  func giveBack(_ frames: FrameRange, _ cpu: CPUID) {
    do throws(MemoryError) { try physical.free(frames, cpu: cpu) } catch {
      preconditionFailure("frames that the kernel holds could not be given back: \(error)")
    }
  }

  // MARK: Allocating

  /// A huge page for an area, zeroed or not; nil where none is to be had (`vma_alloc_folio` with `vma_thp_gfp_mask`).
  func allocateHuge(_ process: Process, _ area: Area, _ address: UInt64, zeroed: Bool) -> FrameRange? {
    let (wakes, reclaims) = effort(for: area)
    return allocateHuge(process, area, address, zeroed: zeroed, wakes: wakes, reclaims: reclaims)
  }

  /// How far an area's fault goes to get a huge page (`vma_thp_gfp_mask`).
  func effort(for area: Area) -> (wakes: Bool, reclaims: Bool) {
    let isAdvised = area.flags.contains(.hugePage)
    let reclaims =
      switch transparent.defrag {
      case .always: true
      case .deferMadvise, .madvise: isAdvised
      case .defer, .never: false
      }
    return (transparent.defrag == .defer || transparent.defrag == .deferMadvise, reclaims)
  }

  func allocateHuge(
    _ process: Process, _ area: Area, _ address: UInt64, zeroed: Bool, wakes: Bool, reclaims: Bool,
    owner: FrameOwner? = nil
  ) -> FrameRange? {
    let shift = UInt64(hugePageSize.trailingZeroBitCount)
    let index = area.pageOffset >> (shift - pageShift) &+ (address - area.start) >> shift
    return allocateHuge(
      process, policy(of: area, at: address) ?? process.policy, index: index, zeroed: zeroed,
      owner ?? FrameOwner(.anonymous, id: UInt32(process.pid.rawValue)), wakes: wakes, reclaims: reclaims)
  }

  /// A huge page as a policy wants it, the `index`th of what it belongs to; nil where none is to be had (`vma_alloc_folio`).
  func allocateHuge(
    _ process: Process, _ policy: MemoryPolicy?, index: UInt64, zeroed: Bool, _ owner: FrameOwner, wakes: Bool,
    reclaims: Bool
  ) -> FrameRange? {
    let home = home(of: process)
    func take(_ node: NodeID, _ mask: NodeMask?, reclaims: Bool) -> FrameRange? {
      allocateHuge(process, from: node, only: mask, zeroed, owner, wakes: wakes, reclaims: reclaims)
    }
    switch policy?.mode {
    case .interleave:
      let node = policy?.interleaved(index) ?? home
      let frames = take(node, nil, reclaims: reclaims)
      if let frames { physical.countInterleaved(frames.start, on: node) }
      return frames
    case .preferredMany:
      return take(home, policy?.nodes, reclaims: false) ?? take(home, nil, reclaims: reclaims)
    case .bind where policy?.nodes.contains(home) == false: return take(home, policy?.nodes, reclaims: reclaims)
    default:
      // A huge page elsewhere is no gain: this node, and others only where it may cost something.
      let node = policy?.mode == .preferred ? policy?.nodes.first ?? home : home
      if let frames = take(node, NodeMask([node]), reclaims: reclaims) { return frames }
      return reclaims ? take(node, policy?.mode == .bind ? policy?.nodes : nil, reclaims: true) : nil
    }
  }

  /// A huge page from `node` or, as its fallback order goes, another; from those in `mask` alone where there is one.
  func allocateHuge(
    _ process: Process, from node: NodeID, only mask: NodeMask?, _ zeroed: Bool, _ owner: FrameOwner, wakes: Bool,
    reclaims: Bool
  ) -> FrameRange? {
    let count = FrameCount(hugeFrames)
    var request = FrameRequest(
      count: count, alignment: count, cpu: process.cpu, node: node, mobility: .movable, zeroed: zeroed, owner: owner)
    func take() -> FrameRange? {
      reclaims ? try? physical.allocate(request) : physical.allocateAtOnce(request, wakes: wakes)
    }
    guard let mask else { return take() }
    request.onlyNode = true
    for candidate in fallbackOrder(of: node) where mask.contains(candidate) {
      request.node = candidate
      if let frames = take() { return frames }
    }
    return nil
  }

  /// Begins the record of a huge page that one entry is about to show (`page_add_new_anon_rmap`).
  func beginHuge(_ head: FrameNumber, _ group: AnonymousGroup?, index: UInt64) {
    begin(
      head,
      PageRecord(references: 1, owner: group, index: index, flags: [.anonymous, .exclusive, .huge], wholeMaps: 1))
    count(head) { $0.huge += Int(hugeFrames) }
    enlist(head, .inactiveAnonymous)
  }

  // MARK: Entries

  /// One entry less shows all of a huge page, which goes with the last (`page_remove_rmap` of a compound page).
  func dropWhole(_ head: FrameNumber) {
    countWhole(head, by: -1)
    putPage(head, cpu: currentCPU)
  }

  /// One entry more or less shows all of a huge page.
  func countWhole(_ head: FrameNumber, by change: Int) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[head]
    let old = unsafe record.pointee.wholeMaps
    let new = UInt32(Int(old) + change)
    unsafe record.pointee.wholeMaps = new
    if unsafe !record.pointee.flags.contains(.anonymous) {
      if (old == 0) == (new == 0) { return }
      let mapped = framesWithoutEntry(head)
      return count(head) {
        $0.mapped += change * mapped
        $0.sharedWhole += change * Int(hugeFrames)
      }
    }
    if new > 0 { return }
    count(head) { $0.huge -= Int(hugeFrames) }
    // What no entry shows any more comes free when the page is split.
    guard unsafe record.pointee.flags.contains(.hasParts) else { return }
    let unmapped = framesWithoutEntry(head)
    if unmapped > 0, unmapped < Int(hugeFrames) { noteUnmapped(head, unmapped) }
  }

  /// Parts of a huge page are shown by no entry any more: it waits to be split (`deferred_split_huge_page`).
  func noteUnmapped(_ head: FrameNumber, _ parts: Int) {
    count(head) { $0.unmapped += parts }
    if let old = unmappedParts[head] {
      unmappedParts[head] = old + parts
      return
    }
    unmappedParts[head] = parts
    hugeEvents.deferredSplits += 1
    if splitQueue.count > 64 + 2 * unmappedParts.count {
      splitQueue.removeAll { $0 == head || unmappedParts[$0] == nil }
    }
    splitQueue.append(head)
  }

  private func forgetUnmapped(_ head: FrameNumber) {
    guard let parts = unmappedParts.removeValue(forKey: head) else { return }
    count(head) { $0.unmapped -= parts }
  }

  /// The last holder of a huge page is gone.
  func freeHuge(_ head: FrameNumber) {
    forgetUnmapped(head)
    // SAFETY: frames of this machine.
    if unsafe records[head].pointee.list == .unevictable { events.unlocked += hugeFrames }
    delist(head)
    if unsafe records[head].pointee.flags.contains(.hasParts) {
      for index in 1..<hugeFrames { unsafe records[FrameNumber(head.rawValue + index)].pointee = PageRecord() }
    }
    unsafe records[head].pointee = PageRecord()
    giveBack(FrameRange(start: head, count: FrameCount(hugeFrames)), currentCPU)
  }

  /// An entry that shows all of a huge page is one for each frame from here on: what the records make of it.
  func splitWhole(_ head: FrameNumber) {
    // SAFETY: frames of this machine.
    let record = unsafe records[head]
    unsafe record.pointee.references += UInt32(hugeFrames - 1)
    let own: PageRecord.Flags =
      unsafe record.pointee.flags.contains(.exclusive) ? [.anonymous, .exclusive] : .anonymous
    unsafe record.pointee.mapCount += 1
    for index in 1..<hugeFrames {
      let part = unsafe records[FrameNumber(head.rawValue + index)]
      unsafe part.pointee.mapCount += 1
      unsafe part.pointee.flags = own
    }
    unsafe record.pointee.flags.insert(.hasParts)
    countWhole(head, by: -1)
  }

  // MARK: Splitting

  /// Takes a huge page apart: its frames are pages of their own then, and those that no entry shows are free (`split_huge_page`). False,
  /// with nothing changed but entries, where somebody works on it.
  @discardableResult
  public func splitPage(_ head: FrameNumber) -> Bool {
    settle()
    guard let mappings = mappings(of: head) else {
      hugeEvents.splitsFailed += 1
      return false
    }
    // SAFETY: a frame of this machine.
    if let file = unsafe records[head].pointee.owner as? MemoryFile {
      splitShared(head, file, mappings)
      return true
    }
    for mapping in mappings where mapping.entry.level > 0 { mapping.space.splitEntry(at: mapping.address) }
    // Entries go one by one before the frames are taken apart, and with the first it waits to be split (`try_to_migrate_one`).
    if unmappedParts[head] == nil, !mappings.isEmpty { hugeEvents.deferredSplits += 1 }
    forgetUnmapped(head)
    // SAFETY: frames of this machine.
    let whole = unsafe records[head].pointee
    let list = whole.list
    delist(head)
    physical.split(FrameRange(start: head, count: FrameCount(hugeFrames)))
    var shared = whole.flags.subtracting([.huge, .hasParts, .exclusive])
    shared.insert(.anonymous)
    for index in 0..<hugeFrames {
      let frame = FrameNumber(head.rawValue + index)
      let part = unsafe records[frame].pointee
      if part.mapCount == 0 {
        unsafe records[frame].pointee = PageRecord()
        free(frame, cpu: currentCPU)
        continue
      }
      begin(
        frame,
        PageRecord(
          mapCount: part.mapCount, references: part.mapCount, owner: unsafe whole.owner, index: whole.index + index,
          flags: shared.union(part.flags.intersection(.exclusive))))
      enlist(frame, list)
    }
    hugeEvents.splits += 1
    return true
  }

  /// How many huge pages of a node wait to be split, and how many frames of zeros nobody uses (`deferred_split_count`,
  /// `shrink_huge_zero_page_count`).
  public func deferredSplits(on node: NodeID) -> Int {
    let isIdle = hugeZeroUsers == 0 && hugeZero.map { self.node(of: $0.start) == node } ?? false
    return unmappedParts.keys.count { self.node(of: $0) == node } + (isIdle ? Int(hugeFrames) : 0)
  }

  /// Splits up to that many of them, those that wait the longest first, and gives the huge page of zeros back where nobody uses it; how many
  /// frames came free (`deferred_split_scan`).
  public func splitDeferred(on node: NodeID, _ pages: Int) -> Int {
    settle()
    var freed = 0
    var left = pages
    for head in splitQueue where left > 0 {
      guard let parts = unmappedParts[head], self.node(of: head) == node else { continue }
      left -= 1
      if splitPage(head) { freed += parts }
    }
    splitQueue.removeAll { unmappedParts[$0] == nil }
    if let zero = hugeZero, self.node(of: zero.start) == node { freed += shrinkHugeZero() }
    return freed
  }
}
