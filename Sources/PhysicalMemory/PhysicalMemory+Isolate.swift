public import MemoryTypes
internal import Synchronization

extension PhysicalMemory {
  /// Sees to it that nothing is allocated out of whole blocks of one zone, what is free in them and what is freed meanwhile
  /// (`start_isolate_page_range`).
  ///
  /// - Throws: `notPluggable` for a range that is not of whole blocks of 512 frames, has holes, or lies in several zones; `busy` where it
  ///   holds what cannot be moved, or is isolated already. Nothing is changed then.
  /// - Complexity: O(frames of blocks that are taken apart + frames in CPU lists).
  public func isolate(_ range: FrameRange) throws(MemoryError) -> Isolation {
    let frames = try wholeBlocks(range)
    let zone = try onlyZone(of: frames)
    // Whoever frees from now on sees this under the lock of its list, or puts its frames there before that list is looked at below.
    isolations.add(1 << 16 | 1, ordering: .sequentiallyConsistent)
    let result: Result<Isolation.Memory, MemoryError> = withLocked(zone..<zone + 1) {
      let first = unsafe zones[zone].firstBlock
      let blocks = frames.lowerBound >> 9 - first..<frames.upperBound >> 9 - first
      if blocks.contains(where: { unsafe zones[zone].isIsolated($0) }) {
        return .failure(.busy(range, reason: "it is isolated already"))
      }
      if let obstacle = obstacle(in: frames, zone) { return .failure(.busy(range, reason: obstacle)) }
      let pulled = pull(frames, zone)
      return unsafe .success(Isolation.Memory(mobilities: zones[zone].isolate(blocks), pulled: pulled))
    }
    switch result {
    case .success(let memory): return Isolation(range, zone: zone, memory)
    case .failure(let error):
      isolations.subtract(1, ordering: .relaxed)
      throw error
    }
  }

  /// Lets frames be allocated again, with the mobilities that their blocks had, and puts those that lay in CPUs' lists back there
  /// (`undo_isolate_page_range`).
  public func endIsolation(_ isolation: consuming Isolation) {
    let zone = isolation.zone
    let frames = Int(isolation.range.start.rawValue)..<Int(isolation.range.end.rawValue)
    let memory = isolation.settle()
    withLocked(zone..<zone + 1) {
      let first = unsafe zones[zone].firstBlock
      unsafe zones[zone].endIsolation(
        frames.lowerBound >> 9 - first..<frames.upperBound >> 9 - first, memory.mobilities)
      for frames in memory.pulled.reversed() { putBack(frames, zone) }
      discardIfMany(zone)
    }
    isolations.subtract(1, ordering: .relaxed)
  }

  /// The frames of a range of whole blocks.
  func wholeBlocks(_ range: FrameRange) throws(MemoryError) -> Range<Int> {
    guard range.count.rawValue > 0, range.end.rawValue <= UInt64(layout.reachLimit), range.start.rawValue & 511 == 0,
      range.count.rawValue & 511 == 0
    else { throw .notPluggable(range, reason: "it is not of whole blocks of memory") }
    return Int(range.start.rawValue)..<Int(range.end.rawValue)
  }

  /// The zone that all of the frames are in (`test_pages_in_a_zone`, and the check for holes of `offline_pages`).
  func onlyZone(of frames: Range<Int>) throws(MemoryError) -> Int {
    let parts = router.parts.filter { $0.frames.overlaps(frames) }
    guard let first = parts.first else { throw .notPluggable(Self.range(frames), reason: "it is no memory in use") }
    guard parts.allSatisfy({ $0.zone == first.zone }) else {
      throw .notPluggable(Self.range(frames), reason: "it lies in several zones")
    }
    guard parts.reduce(0, { $0 + $1.frames.clamped(to: frames).count }) == frames.count else {
      throw .notPluggable(Self.range(frames), reason: "it has holes")
    }
    return first.zone
  }

  static func range(_ frames: Range<Int>) -> FrameRange {
    FrameRange(start: FrameNumber(UInt64(frames.lowerBound)), count: FrameCount(UInt64(frames.count)))
  }

  /// Why frames cannot be emptied, whoever tries: the first that is reserved, or held for good (`has_unmovable_pages`). nil: nothing in them
  /// forbids it. The zone is locked.
  private func obstacle(in frames: Range<Int>, _ zone: Int) -> String? {
    var obstacle: String?
    forEachHeld(in: frames, zone) { frame, allocation in
      guard let allocation else {
        obstacle =
          layout.reservation(at: frame).map { "frame \(frame) is reserved (\($0.description))" }
          ?? "frame \(frame) is reserved"
        return false
      }
      if allocation.isMovable { return true }
      obstacle = "frame \(frame) is held by \(allocation.owner)"
      return false
    }
    return obstacle
  }

  /// Calls `body` with what is neither free nor in a CPU's list, ascending, until it returns false: the first frame in the range of every
  /// allocation, poisoned ones left out, and every other frame that is used. The zone is locked.
  func forEachHeld(in frames: Range<Int>, _ zone: Int, _ body: (Int, Allocation?) -> Bool) {
    var frame = frames.lowerBound
    while frame < frames.upperBound {
      let block = frame >> 9
      let blockEnd = min(frames.upperBound, (block + 1) << 9)
      if unsafe !zones[zone].usesBitmap(block), frame & 511 == 0, unsafe zones[zone].isInFreeChunk(frame) {
        frame = blockEnd
        continue
      }
      if unsafe zones[zone].usesBitmap(block), unsafe !zones[zone].isUsed(frame) {
        frame += 1
        continue
      }
      let word = table.word(frame)
      if word.state == .listed {
        frame += word.count
        continue
      }
      guard let head = head(of: frame, zone) else {
        if !body(frame, nil) { return }
        frame += 1
        continue
      }
      let allocation = allocation(at: head, table.word(head))
      if allocation.owner != .poison, !body(frame, allocation) { return }
      frame = Int(allocation.range.end.rawValue)
    }
  }

  // MARK: What lies in CPUs' lists

  /// Gives the zone what CPUs' lists hold of the frames. The zone and its lists are locked.
  @discardableResult
  func pull(_ frames: Range<Int>, _ zone: Int) -> [PulledFrames] {
    var pulled: [PulledFrames] = []
    for cpu in unsafe zones[zone].registered {
      for (slot, mobility) in CPUList.all {
        let all = listed(zone, cpu, slot, mobility)
        let count = CPUList.frames(ofSlot: slot)
        func touches(_ frame: Int) -> Bool { frame < frames.upperBound && frame + count > frames.lowerBound }
        guard all.contains(where: touches) else { continue }
        for (position, frame) in all.enumerated() where touches(frame) {
          pulled.append(PulledFrames(cpu: cpu, slot: slot, mobility: mobility, frame: frame, position: position))
          _ = table.unlist(frame, slot: slot)
          _ = unsafe list(zone, cpu).pointee.addHeld(slot, -count)
          unsafe zones[zone].give(frame, count)
        }
        chain(all.filter { !touches($0) }, zone, cpu, slot, mobility)
      }
    }
    return pulled
  }

  /// Whether a CPU's list holds the frame. The zone and its lists are locked.
  func isListed(_ frame: Int, _ zone: Int) -> Bool {
    for order in [0, 1, 2, 3, 9] {
      let word = table.word((frame >> order) << order)
      if word.state == .listed, word.count > frame & (1 << order - 1) { return true }
    }
    return false
  }

  /// Puts frames back into the list that they lay in, where they are free still. The zone and its lists are locked.
  private func putBack(_ pulled: PulledFrames, _ zone: Int) {
    let count = CPUList.frames(ofSlot: pulled.slot)
    guard unsafe zones[zone].isFree(pulled.frame..<pulled.frame + count) else { return }
    var all = listed(zone, pulled.cpu, pulled.slot, pulled.mobility)
    unsafe zones[zone].takeExactly(pulled.frame, count)
    all.insert(pulled.frame, at: min(pulled.position, all.count))
    _ = unsafe list(zone, pulled.cpu).pointee.addHeld(pulled.slot, count)
    chain(all, zone, pulled.cpu, pulled.slot, pulled.mobility)
  }

  /// What a list holds, first to last.
  private func listed(_ zone: Int, _ cpu: Int, _ slot: Int, _ mobility: Int) -> [Int] {
    var frames: [Int] = []
    var next = unsafe list(zone, cpu).pointee.heads[CPUList.head(slot, mobility)]
    while next != 0 {
      frames.append(Int(next - 1))
      next = table.word(Int(next - 1)).nextListed
    }
    return frames
  }

  /// Makes a list of the frames, first to last.
  private func chain(_ frames: [Int], _ zone: Int, _ cpu: Int, _ slot: Int, _ mobility: Int) {
    var next: UInt64 = 0
    for frame in frames.reversed() {
      table.list(frame, slot: slot, mobility: mobility, next: next)
      next = UInt64(frame + 1)
    }
    unsafe list(zone, cpu).pointee.heads[CPUList.head(slot, mobility)] = next
  }
}

extension Allocation {
  /// Whether it may be led elsewhere, whoever holds it agreeing.
  var isMovable: Bool { mobility == .movable }
}
