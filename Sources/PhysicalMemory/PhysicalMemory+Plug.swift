public import MemoryTypes
internal import Synchronization
internal import Topology

/// Where memory goes that is set online (`mhp_online_type_from_str`).
public enum OnlinePlace: Sendable, Equatable {
  /// The zone that the frames are beside, the kernel's where that says nothing (`default_zone_for_pfn`).
  case automatic
  /// The zones that anybody may use.
  case kernel
  /// The Movable zone.
  case movable
}

extension PhysicalMemory {
  // MARK: Taking away

  /// Takes whole hot-plug blocks out of use: isolates them, leads what they hold elsewhere, and takes them from their zone (`offline_pages`).
  /// They stay their node's memory, which `online` brings back.
  ///
  /// - Throws: `notPluggable` for a range that is not of whole hot-plug blocks, has holes, lies in several zones or is not in use; `busy`
  ///   where it holds what cannot be moved, or where there is no room for it elsewhere. Everything is as it was then.
  /// - Complexity: O(frames of blocks that are taken apart + zones * CPUs + what is moved).
  public func offline(_ range: FrameRange) throws(MemoryError) {
    let frames = try pluggable(range)
    let isolation = try isolate(range)
    var moved: [Relocation] = []
    if let obstacle = evacuate(frames, isolation.zone, &moved) {
      endIsolation(isolation)
      for relocation in moved.reversed() { moveBack(relocation) }
      throw .busy(range, reason: "\(obstacle.range) is held by \(obstacle.owner), and cannot be moved now")
    }
    takeAway(isolation)
  }

  /// The frames of a range of whole hot-plug blocks.
  private func pluggable(_ range: FrameRange) throws(MemoryError) -> Range<Int> {
    let size = UInt64(layout.blockFrames)
    guard range.count.rawValue > 0, range.start.rawValue % size == 0, range.count.rawValue % size == 0,
      range.end.rawValue <= UInt64(layout.reachLimit)
    else { throw .notPluggable(range, reason: "it is not of whole hot-plug blocks") }
    return Int(range.start.rawValue)..<Int(range.end.rawValue)
  }

  /// Takes isolated frames, all of which are free or poisoned, from their zone, and gives the host back what it holds of them.
  private func takeAway(_ isolation: consuming Isolation) {
    let zone = isolation.zone
    let frames = Int(isolation.range.start.rawValue)..<Int(isolation.range.end.rawValue)
    _ = isolation.settle()
    tuning.withLock {
      withEverythingLocked {
        forEachPoisoned(in: frames, zone) { takeBackIntoZone($0, table.word($0), zone) }
        assert(unsafe zones[zone].isFree(frames), "frames that somebody holds are taken away")
        let first = unsafe zones[zone].firstBlock
        unsafe zones[zone].remove(frames.lowerBound >> 9 - first..<frames.upperBound >> 9 - first)
        router.move(frames, to: nil)
        store.discard(blocks: frames.lowerBound >> 9..<frames.upperBound >> 9)
        table.forget(frames, tableMapping)
        followZones(unsafe zones[zone].presentFrames == 0)
      }
    }
    isolations.subtract(1, ordering: .releasing)
  }

  // MARK: Bringing back

  /// Puts whole hot-plug blocks into use that are not: their frames become free frames of a zone of their node (`online_pages`).
  ///
  /// - Throws: `notPluggable` for a range that is not of whole hot-plug blocks or not of one node's memory, that is in use already, or for
  ///   whose place this machine has no zone.
  /// - Complexity: O(blocks + zones * CPUs).
  public func online(_ range: FrameRange, as place: OnlinePlace = .automatic) throws(MemoryError) {
    let frames = try pluggable(range)
    let result: Result<Void, MemoryError> = tuning.withLock {
      let nodes = plugged.nodes(of: frames)
      guard nodes.count == 1 else {
        return .failure(.notPluggable(range, reason: nodes.isEmpty ? "it is no memory" : "it is of several nodes"))
      }
      if router.parts.contains(where: { $0.frames.overlaps(frames) }) {
        return .failure(.notPluggable(range, reason: "it is in use already"))
      }
      guard let zone = zone(for: frames, nodes[0], place) else {
        return .failure(.notPluggable(range, reason: "this machine has no zone for it"))
      }
      withEverythingLocked {
        let wasEmpty = unsafe zones[zone].presentFrames == 0
        unsafe zones[zone].add(frames)
        router.move(frames, to: zone)
        followZones(wasEmpty)
      }
      return .success(())
    }
    try result.get()
  }

  /// The zone of a node that frames would go to (`zone_for_pfn_range`); nil where the machine has none for them.
  private func zone(for frames: Range<Int>, _ nodeIndex: Int, _ place: OnlinePlace) -> Int? {
    let candidates = zones(at: nodeIndex)
    func intersects(_ zone: Int) -> Bool {
      unsafe zoneLocks[zone].lock()
      defer { unsafe zoneLocks[zone].unlock() }
      return unsafe zones[zone].start < frames.upperBound && frames.lowerBound < zones[zone].end
    }
    func fits(_ zone: Int) -> Bool { layout.zones[zone].reach.clamped(to: frames) == frames }
    let movable = candidates.first { layout.zones[$0].kind == .movable }
    let kernels = candidates.filter { layout.zones[$0].kind < .movable }
    // Where memory lies inside a zone of the kernel's it belongs to that, else to Normal (`default_kernel_zone_for_pfn`).
    let kernel =
      kernels.first(where: intersects) ?? kernels.first { layout.zones[$0].kind == .normal && fits($0) }
      ?? kernels.first(where: fits)
    let chosen: Int? =
      switch place {
      case .movable: movable
      case .kernel: kernel
      case .automatic:
        if let movable, intersects(movable), kernel.map({ !intersects($0) }) ?? true { movable } else { kernel }
      }
    return chosen.flatMap { fits($0) ? $0 : nil }
  }

  /// The zones that a range which is not in use may go to: the default first (`valid_zones_show`).
  public func possibleZones(for range: FrameRange) -> [ZoneKind] {
    let frames = Int(range.start.rawValue)..<Int(range.end.rawValue)
    return tuning.withLock {
      guard let node = plugged.nodes(of: frames).first else { return [] }
      var zones: [Int] = []
      for place in [OnlinePlace.automatic, .kernel, .movable] {
        if let zone = zone(for: frames, node, place), !zones.contains(zone) { zones.append(zone) }
      }
      return zones.map { layout.zones[$0].kind }
    }
  }

  /// The zone that all of a range's memory in use is in; nil where that is several, or none.
  public func onlyZone(of range: FrameRange) -> ZoneKind? {
    let frames = Int(range.start.rawValue)..<Int(range.end.rawValue)
    let parts = router.parts.filter { $0.frames.overlaps(frames) }
    guard let first = parts.first, parts.allSatisfy({ $0.zone == first.zone }) else { return nil }
    return layout.zones[first.zone].kind
  }

  // MARK: Adding

  /// Makes whole hot-plug blocks memory of a node, not in use at first (`add_memory`).
  ///
  /// - Throws: `noSuchNode`; `notPluggable` for a range that is not of whole hot-plug blocks; `memoryExists`, `beyondReach`;
  ///   `hostRefusedMapping`.
  public func add(_ range: FrameRange, to node: NodeID) throws(MemoryError) {
    guard let index = router.nodeIndex(node) else { throw .noSuchNode(node) }
    let shift = UInt64(frameSize.shift)
    let bytes = PhysicalRange(start: frameSize.address(of: range.start), size: frameSize.bytes(range.count))
    guard range.end.rawValue <= UInt64(layout.reachLimit) else {
      throw .beyondReach(bytes, limit: PhysicalAddress(UInt64(layout.reachLimit) << shift))
    }
    let frames = try pluggable(range)
    let result: Result<Void, MemoryError> = tuning.withLock {
      if plugged.overlaps(frames) { return .failure(.memoryExists(bytes, what: "memory")) }
      do throws(MemoryError) {
        try store.add(UInt64(frames.lowerBound) << shift..<UInt64(frames.upperBound) << shift)
      } catch { return .failure(error) }
      plugged.add(frames, to: index)
      return .success(())
    }
    try result.get()
  }

  /// Takes back what `add` added and nobody has set online since.
  ///
  /// - Throws: `notPluggable` where that is not so.
  public func remove(_ range: FrameRange) throws(MemoryError) {
    let frames = try pluggable(range)
    let shift = UInt64(frameSize.shift)
    let removed = tuning.withLock {
      guard !router.parts.contains(where: { $0.frames.overlaps(frames) }),
        store.remove(UInt64(frames.lowerBound) << shift..<UInt64(frames.upperBound) << shift)
      else { return false }
      plugged.remove(frames)
      return true
    }
    if !removed { throw .notPluggable(range, reason: "it was not added") }
  }

  // MARK: What there is

  /// What memory a node has, in use or not, ascending.
  public func memory(of node: NodeID) -> [FrameRange] {
    guard let index = router.nodeIndex(node) else { return [] }
    return tuning.withLock { plugged.ranges.filter { $0.nodeIndex == index }.map { Self.range($0.frames) } }
  }

  /// The node whose memory a frame is, in use or not; nil where there is none.
  public func node(of frame: FrameNumber) -> NodeID? {
    guard frame.rawValue < UInt64(layout.reachLimit) else { return nil }
    let number = Int(frame.rawValue)
    let zone = zone(of: number)
    if zone >= 0 { return description.nodes[layout.zones[zone].nodeIndex].id }
    return tuning.withLock { plugged.nodes(of: number..<number + 1).first }.map { description.nodes[$0].id }
  }

  /// The first frame behind all memory, in use or not.
  public var memoryEnd: FrameNumber { FrameNumber(UInt64(tuning.withLock { plugged.end })) }

  /// The first frame that memory can never have.
  public var reachEnd: FrameNumber { FrameNumber(UInt64(layout.reachLimit)) }

  // MARK: What follows

  /// Brings lists of zones, watermarks and reserves up to what zones have now. `tuning` and everything else is locked.
  private func followZones(_ populationChanged: Bool) {
    if populationChanged {
      router.setLists(
        description, layout, populated: (0..<zoneCount).map { unsafe zones[$0].presentFrames > 0 }, cpusAreKnown: true)
    }
    followMinFree()
    applyTunables()
  }
}
