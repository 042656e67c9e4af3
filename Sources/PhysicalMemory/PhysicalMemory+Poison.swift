public import MemoryTypes
internal import Synchronization

/// Frames that are taken out of service (mm/memory-failure.c). They stay managed and are held by `FrameOwner.poison` from then on, until
/// their block is set offline.
extension PhysicalMemory {
  /// How many frames were taken out of service, those counted that no longer were anybody's to take (`num_poisoned_pages`).
  public var poisonedFrames: Int { poisoned.load(ordering: .relaxed) }

  /// Whether the frame is out of service.
  public func isPoisoned(_ frame: FrameNumber) -> Bool { allocation(containing: frame)?.owner == .poison }

  /// Takes a frame out of service, what lies in it led elsewhere first; without effect where it is out of service (`soft_offline_page`).
  ///
  /// - Throws: `noSuchFrame` where there is no memory in use; `unhandlable` for frames that are reserved or the kernel's; `busy` where what
  ///   lies in it cannot be moved now.
  public func softOffline(_ frame: FrameNumber) throws(MemoryError) {
    while true {
      guard try !poison(free: frame) else { return }
      guard let allocation = allocation(containing: frame) else {
        let number = Int(frame.rawValue)
        // Reserved, unless it was freed just now.
        guard let reservation = layout.reservation(at: number) else { continue }
        throw .unhandlable(frame, owner: reservation.description)
      }
      if allocation.owner == .poison { return }
      guard allocation.isMovable else { throw .unhandlable(frame, owner: allocation.owner.description) }
      // Of a huge page of a process's the one frame is meant (`soft_offline_in_use_page`); it may be free then.
      if allocation.owner.kind == .anonymous, allocation.range.count > FrameCount(1) {
        guard let mover, mover.split(allocation) else {
          throw .busy(FrameRange(start: frame, count: FrameCount(1)), reason: "\(allocation.owner) holds it")
        }
        continue
      }
      guard let node = node(of: frame).flatMap({ router.nodeIndex($0) }) else { throw .noSuchFrame(frame) }
      if case .refused = moveAway(allocation, to: router.orders[node], .memoryFailure) {
        throw .busy(FrameRange(start: frame, count: FrameCount(1)), reason: "\(allocation.owner) holds it")
      }
    }
  }

  /// Takes a frame out of service whose contents are lost (`memory_failure`): one that is free.
  ///
  /// - Throws: `noSuchFrame` where there is no memory in use; `poisonedAlready`; `busy` for frames that are reserved or the kernel's, which
  ///   are counted as broken all the same, and `frameInUse` for others that are held, which are not: no process is killed for them.
  public func hardOffline(_ frame: FrameNumber) throws(MemoryError) {
    guard try !poison(free: frame) else { return }
    let allocation = allocation(containing: frame)
    if allocation?.owner == .poison { throw .poisonedAlready(frame) }
    if let allocation, allocation.isMovable { throw .frameInUse(frame, owner: allocation.owner.description) }
    let isNew = tuning.withLock { brokenFrames.insert(frame).inserted }
    guard isNew else { throw .poisonedAlready(frame) }
    poisoned.add(1, ordering: .relaxed)
    let owner = allocation?.owner.description ?? layout.reservation(at: Int(frame.rawValue))?.description ?? "nobody"
    throw .busy(FrameRange(start: frame, count: FrameCount(1)), reason: "it is held by \(owner)")
  }

  /// Takes a free frame out of service; false, and nothing done, where it is not free.
  ///
  /// - Throws: `noSuchFrame` where there is no memory in use.
  func poison(free frame: FrameNumber) throws(MemoryError) -> Bool {
    guard frame.rawValue < UInt64(layout.reachLimit) else { throw .noSuchFrame(frame) }
    let number = Int(frame.rawValue)
    let zone = zone(of: number)
    if zone < 0 {
      // Firmware's part of memory in use is reserved rather than absent.
      guard layout.reservation(at: number) != nil else { throw .noSuchFrame(frame) }
      return false
    }
    return withLocked(zone..<zone + 1) {
      guard unsafe zones[zone].isFree(number..<number + 1) || isListed(number, zone) else { return false }
      pull(number..<number + 1, zone)
      guard unsafe !zones[zone].isIsolated(number >> 9 - zones[zone].firstBlock) else { return false }
      unsafe zones[zone].takeExactly(number, 1)
      table.setWord(number, EntryWord(zoneAllocation: 1, mobility: .unmovable, owner: .poison))
      unsafe zones[zone].kinds[Int(FrameOwner.Kind.kernel.rawValue)] += 1
      poisoned.add(1, ordering: .relaxed)
      return true
    }
  }

  /// Calls `body` with every frame in the range that is out of service. Everything is locked.
  func forEachPoisoned(in frames: Range<Int>, _ zone: Int, _ body: (Int) -> Void) {
    for block in frames.lowerBound >> 9..<frames.upperBound >> 9 where unsafe zones[zone].usesBitmap(block) {
      for frame in block << 9..<(block + 1) << 9 where table.word(frame).isAllocated {
        if table.word(frame).owner == .poison { body(frame) }
      }
    }
  }
}
