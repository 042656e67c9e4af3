internal import MemoryTypes
internal import Synchronization
internal import Topology

/// An allocation that lies elsewhere now.
struct Relocation {
  var source: Allocation
  var target: FrameRange
}

extension PhysicalMemory {
  /// Leads what lies in isolated frames elsewhere, to other nodes by preference (`do_migrate_range`).
  ///
  /// - Parameter moved: what was moved, also where not all could be.
  /// - Returns: the first that cannot be moved; nil when the frames are empty.
  func evacuate(_ frames: Range<Int>, _ zone: Int, _ moved: inout [Relocation]) -> Allocation? {
    let own = nodeIndex(ofZone: zone)
    let others = router.orders[own].dropFirst()
    while true {
      // Whoever gives frames back meanwhile is not waited for: again, until there is nothing.
      let held = held(in: frames, zone)
      if held.isEmpty { return nil }
      for allocation in held {
        // Pools of huge pages are their node's.
        let nodes = allocation.owner.kind == .hugePage ? [own] : others + [own]
        switch moveAway(allocation, to: nodes, .memoryHotplug) {
        case .moved(let target): moved.append(Relocation(source: allocation, target: target))
        case .gone: break
        case .refused: return allocation
        }
      }
    }
  }

  enum MoveResult {
    case moved(FrameRange)
    /// It is not what it was: it may have been given back meanwhile.
    case gone
    case refused
  }

  /// Leads an allocation to the first of the nodes that has room, and gives its frames back.
  func moveAway(_ allocation: Allocation, to nodes: [Int], _ reason: MigrationReason) -> MoveResult {
    guard let mover, allocation.isMovable, allocation.references == 1 else { return .refused }
    guard let target = room(for: allocation, on: nodes) else {
      // Its frames may find room one by one; balancing is not worth that.
      return reason != .balancing && mover.split(allocation) ? .gone : .refused
    }
    // Finding room may have reclaimed it.
    guard self.allocation(containing: allocation.range.start) == allocation else {
      giveBack(target, CPUID(0))
      return .gone
    }
    guard mover.move(allocation, to: target) else {
      giveBack(target, CPUID(0))
      return .refused
    }
    noteMove(allocation.range, to: target, reason)
    giveBack(allocation.range, CPUID(0))
    return .moved(target)
  }

  /// Frames for what is to be moved, aligned to their count where that is a power of two, as they may have been asked for.
  private func room(for allocation: Allocation, on nodes: [Int]) -> FrameRange? {
    let count = allocation.range.count
    let from = zone(of: Int(allocation.range.start.rawValue))
    guard from >= 0 else { return nil }
    var request = FrameRequest(
      count: count, alignment: count.rawValue.nonzeroBitCount == 1 ? count : FrameCount(1), onlyNode: true,
      mobility: allocation.mobility, owner: allocation.owner)
    // What was not in the Movable zone was never said to be for it (`alloc_migration_target`).
    let highest = max(layout.zones[from].kind, .normal)
    for node in nodes {
      let id = description.nodes[node].id
      request.node = id
      request.zone = zones(of: id).last { $0 <= highest }
      if request.zone == nil { continue }
      if let target = try? allocate(request) { return target }
    }
    return nil
  }

  /// Leads an allocation back to where it was, if that is free still and the mover agrees.
  func moveBack(_ relocation: Relocation) {
    let source = relocation.source
    let frame = Int(source.range.start.rawValue)
    let count = Int(source.range.count.rawValue)
    let zone = zone(of: frame)
    guard let mover, zone >= 0, let moved = allocation(containing: relocation.target.start),
      moved.range == relocation.target
    else { return }
    let taken = withLocked(zone..<zone + 1) {
      guard unsafe zones[zone].isFree(frame..<frame + count) else { return false }
      unsafe zones[zone].takeExactly(frame, count)
      table.setWord(
        frame, EntryWord(zoneAllocation: count, mobility: source.mobility, owner: source.owner), count: count)
      unsafe zones[zone].countAllocation(count, kind: Int(source.owner.kind.rawValue))
      for block in frame >> 9...(frame + count - 1) >> 9 { store.touched.insertWhole(block) }
      return true
    }
    guard taken else { return }
    let isBack = mover.move(moved, to: source.range)
    if isBack { noteMove(relocation.target, to: source.range, .memoryHotplug) }
    giveBack(isBack ? relocation.target : source.range, CPUID(0))
  }

  /// What is allocated in isolated frames.
  private func held(in frames: Range<Int>, _ zone: Int) -> [Allocation] {
    var held: [Allocation] = []
    unsafe zoneLocks[zone].lock()
    forEachHeld(in: frames, zone) { _, allocation in
      if let allocation { held.append(allocation) }
      return true
    }
    unsafe zoneLocks[zone].unlock()
    return held
  }
}
