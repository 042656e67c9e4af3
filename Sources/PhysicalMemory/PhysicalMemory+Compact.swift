public import MemoryTypes

/// What a run of compaction came to, in frames (vmstat's `compact_*`) and blocks.
public struct CompactionResult: Equatable, Sendable {
  /// Blocks that became whole.
  public var emptied = 0
  public var migrateScanned = 0
  public var freeScanned = 0
  /// Frames taken aside to move from, and to move to.
  public var isolated = 0

  public static func += (a: inout Self, b: Self) {
    a.emptied += b.emptied
    a.migrateScanned += b.migrateScanned
    a.freeScanned += b.freeScanned
    a.isolated += b.isolated
  }
}

/// Compaction (what mm/compaction.c is for): movable frames leave the sparsest of the blocks that are taken apart for the fullest, so that
/// those become whole. Where Linux lets two scanners meet, blocks are found by how much is free in them.
extension PhysicalMemory {
  /// Compacts a zone until `isDone`, `limit` blocks became whole, or nothing more can.
  ///
  /// A block is left as it is where anything in it is unmovable, held by more than its owner, or refused by `mayMove`.
  /// - Complexity: O(512) a block looked at, and a copy of what is moved: less than a block for each that becomes whole.
  public func compact(
    _ node: NodeID, _ kind: ZoneKind, cpu: CPUID = CPUID(0), blocks limit: Int = .max, isDone: () -> Bool = { false },
    mayMove: (Allocation) -> Bool = { _ in true }
  ) -> CompactionResult {
    var result = CompactionResult()
    guard let mover, let zone = index(of: node, kind) else { return result }
    drainLists(of: zone)
    // Blocks only become fuller, or whole: each is looked at once.
    for size in (0..<Zone.classes).reversed() {
      var next = 0
      while result.emptied < limit, !isDone() {
        unsafe zoneLocks[zone].lock()
        let room = unsafe zones[zone].looseMovableFrames
        let block = unsafe zones[zone].nextMovable(withClass: size, from: next)
        unsafe zoneLocks[zone].unlock()
        // What the block holds needs room in the others, which have all that is loose but its own.
        guard room >= Zone.blockFrames else { return result }
        guard let block else { break }
        next = block + 1
        result.migrateScanned += Zone.blockFrames
        guard let contents = movableContents(zone, block, mayMove) else { continue }
        if !empty(zone, block, of: contents, mover, cpu, &result) { return result }
      }
    }
    return result
  }

  /// The allocations of a block, if they are all that keeps it from being whole, and all can be moved.
  private func movableContents(_ zone: Int, _ block: Int, _ mayMove: (Allocation) -> Bool) -> [Allocation]? {
    let start = unsafe (block + zones[zone].firstBlock) << 9
    let contents = allocations(
      in: FrameRange(start: FrameNumber(UInt64(start)), count: FrameCount(UInt64(Zone.blockFrames))))
    var frames = 0
    for allocation in contents {
      guard allocation.mobility == .movable, allocation.references == 1, mayMove(allocation),
        Int(allocation.range.start.rawValue) >= start
      else { return nil }
      frames += Int(allocation.range.count.rawValue)
    }
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    return unsafe Int(zones[zone].used[block]) == frames ? contents : nil
  }

  /// Moves a block's contents into others. False where these have no room left that suits.
  private func empty(
    _ zone: Int, _ block: Int, of contents: [Allocation], _ mover: any FrameMover, _ cpu: CPUID,
    _ result: inout CompactionResult
  ) -> Bool {
    unsafe zoneLocks[zone].lock()
    let held = unsafe zones[zone].holdFree(block)
    unsafe zoneLocks[zone].unlock()
    // Kept until all is moved, so that nothing is moved into the block.
    var vacated: [FrameRange] = []
    var hasRoom = true
    var lastTarget = -1
    for allocation in contents {
      let count = Int(allocation.range.count.rawValue)
      guard let target = looseTarget(zone, for: allocation) else {
        hasRoom = false
        break
      }
      if lastTarget != Int(target.start.rawValue) >> 9 { result.freeScanned += Zone.blockFrames }
      lastTarget = Int(target.start.rawValue) >> 9
      result.isolated += 2 * count
      guard mover.move(allocation, to: target) else {
        giveBack(target, cpu)
        break
      }
      noteMove(allocation.range, to: target, .compaction)
      vacated.append(allocation.range)
    }
    for range in vacated { giveBack(range, cpu) }
    let list = unsafe list(zone, cpu.rawValue)
    unsafe CPUList.lock(of: list).pointee.lock()
    unsafe zoneLocks[zone].lock()
    unsafe zones[zone].release(block, held)
    unsafe drain(list, zone, slots: 0..<4, frames: .max)
    unsafe zoneLocks[zone].unlock()
    unsafe CPUList.lock(of: list).pointee.unlock()
    if vacated.count == contents.count { result.emptied += 1 }
    return hasRoom
  }

  private func looseTarget(_ zone: Int, for allocation: Allocation) -> FrameRange? {
    let count = Int(allocation.range.count.rawValue)
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    let alignment = count.nonzeroBitCount == 1 ? count : 1
    guard let frame = unsafe zones[zone].takeLoose(count, alignment: alignment) else { return nil }
    table.setWord(
      frame, EntryWord(zoneAllocation: count, mobility: allocation.mobility, owner: allocation.owner), count: count)
    unsafe zones[zone].kinds[Int(allocation.owner.kind.rawValue)] += count
    for block in frame >> 9...(frame + count - 1) >> 9 { store.touched.insert(block) }
    return FrameRange(start: FrameNumber(UInt64(frame)), count: allocation.range.count)
  }

  /// Ends the boost of a zone's watermarks; how much it was (`balance_pgdat`'s end).
  @discardableResult
  func endBoost(of zone: Int) -> Int {
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    let boost = unsafe zones[zone].watermarks.boost
    unsafe zones[zone].watermarks.boost = 0
    return boost
  }

  /// The zone's index; nil where the node has none of that kind.
  func index(of node: NodeID, _ kind: ZoneKind) -> Int? {
    (0..<zoneCount).first { unsafe zones[$0].node == node && zones[$0].kind == kind }
  }

  /// Whether a zone could serve the request as it is: it keeps its minimum, and has a chunk large enough (`zone_watermark_ok`).
  public func hasRoom(for request: FrameRequest, _ node: NodeID, _ kind: ZoneKind) -> Bool {
    guard let zone = index(of: node, kind) else { return false }
    let count = Int(request.count.rawValue)
    let size = max(count, Int(request.alignment.rawValue))
    let order = size == 1 ? 0 : 64 - (size - 1).leadingZeroBitCount
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    guard unsafe zones[zone].mayGive(count, .min, highest: request.highestZone) else { return false }
    if order == 0 { return true }
    return order <= Zone.maximumOrder
      && (order...Zone.maximumOrder).contains { order in
        (0..<3).contains { unsafe zones[zone].count($0, order) > 0 }
      }
  }

  /// The zones that may serve a request, best first; none where it names what is not there.
  public func zones(serving request: FrameRequest) -> [(node: NodeID, kind: ZoneKind)] {
    var node = router.home(request.cpu)
    if let wanted = request.node { node = router.nodeIndex(wanted) ?? -1 }
    guard node >= 0 else { return [] }
    return router.zoneList(node, request.highestZone).compactMap { zone in
      let index = Int(zone)
      if request.onlyNode, nodeIndex(ofZone: index) != node { return nil }
      return unsafe (zones[index].node, zones[index].kind)
    }
  }

  /// Where a frame of memory in use lies; traps where there is none.
  public func place(of frame: FrameNumber) -> (node: NodeID, kind: ZoneKind) {
    let zone = zone(of: Int(frame.rawValue))
    precondition(zone >= 0, "a page outside of memory")
    return unsafe (zones[zone].node, zones[zone].kind)
  }

  /// Ends the boost of the watermarks of a node's zones, once kswapd has run; whether there was any.
  public func endBoosts(of node: NodeID) -> Bool {
    var ended = false
    for zone in 0..<zoneCount where unsafe zones[zone].node == node && endBoost(of: zone) > 0 { ended = true }
    return ended
  }
}
