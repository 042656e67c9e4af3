public import MemoryTypes
internal import Topology

extension PhysicalMemory {
  /// The allocation that the frame is part of; nil where it is free, reserved or no memory.
  ///
  /// - Complexity: O(1) for the first frame; up to 511 table entries for others.
  public func allocation(containing frame: FrameNumber) -> Allocation? {
    guard frame.rawValue < UInt64(table.limit) else { return nil }
    let number = Int(frame.rawValue)
    let zone = self.zone(of: number)
    if zone < 0 { return nil }
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    return head(of: number, zone).map { allocation(at: $0, table.word($0)) }
  }

  /// The first frame of the allocation that holds the frame: the zone is locked.
  func head(of frame: Int, _ zone: Int) -> Int? {
    func begins(_ candidate: Int) -> Bool {
      let word = table.word(candidate)
      return word.isAllocated && candidate + word.count > frame
    }
    if begins(frame) { return frame }
    let block = frame >> 9
    if unsafe zones[zone].usesBitmap(block) {
      if unsafe !zones[zone].isUsed(frame) { return nil }
      for candidate in stride(from: frame - 1, through: max(block << 9, unsafe zones[zone].start), by: -1)
      where begins(candidate) {
        return candidate
      }
    }
    // Part of a large allocation: those begin at a multiple of the power of two that holds them.
    for order in 9...Zone.maximumOrder {
      let candidate = (frame >> order) << order
      if unsafe candidate >= zones[zone].start, begins(candidate) { return candidate }
    }
    return nil
  }

  func allocation(at frame: Int, _ word: EntryWord) -> Allocation {
    let link = table.holderLink(frame, word)
    return Allocation(
      range: FrameRange(start: FrameNumber(UInt64(frame)), count: FrameCount(UInt64(word.count))), owner: word.owner,
      mobility: word.mobility, references: Int(FrameLink.references(link)), mapping: FrameLink.mapping(link))
  }

  /// Calls `body` with every allocation, ascending, until it returns false. No lock is held meanwhile: what is allocated or freed while
  /// this runs may or may not appear.
  ///
  /// - Complexity: O(blocks that hold allocations * 512); memory that is free or never was touched is not looked at.
  public func forEachAllocation(_ body: (Allocation) -> Bool) {
    for part in router.parts where !forEachAllocation(from: part.frames, of: part.zone, body) { return }
  }

  /// The same of allocations that begin in `range`.
  func forEachAllocation(in range: FrameRange, _ body: (Allocation) -> Bool) {
    let all = Int(range.start.rawValue)..<Int(range.end.rawValue)
    for part in router.parts where part.frames.overlaps(all) {
      if !forEachAllocation(from: part.frames.clamped(to: all), of: part.zone, body) { return }
    }
  }

  /// False where `body` wants no more.
  private func forEachAllocation(from part: Range<Int>, of zone: Int, _ body: (Allocation) -> Bool) -> Bool {
    var block = part.lowerBound >> 9
    // What a large allocation covers is no start of others.
    var covered = part.lowerBound
    while block << 9 < part.upperBound {
      var found: [Allocation] = []
      unsafe zoneLocks[zone].lock()
      let next = unsafe zones[zone].nextOccupied(from: block)
      if let next {
        let frames = max(next << 9, covered)..<max(max(next << 9, covered), min((next + 1) << 9, part.upperBound))
        covered = collect(frames, zone, into: &found)
      }
      unsafe zoneLocks[zone].unlock()
      guard let next else { break }
      for allocation in found where !body(allocation) { return false }
      block = next + 1
    }
    return true
  }

  /// Collects the allocations that begin in frames of one occupied block; the frame behind the last.
  private func collect(_ frames: Range<Int>, _ zone: Int, into found: inout [Allocation]) -> Int {
    var frame = frames.lowerBound
    while frame < frames.upperBound {
      let word = table.word(frame)
      if word.isAllocated { found.append(allocation(at: frame, word)) }
      // A large allocation begins at its block's first frame, and there is nothing else in the block unless it is taken apart.
      if unsafe !zones[zone].usesBitmap(frame >> 9) {
        return max(frames.upperBound, frame + (word.isAllocated ? word.count : 0))
      }
      frame += word.isAllocated ? word.count : 1
    }
    return frame
  }

  /// A policy that takes nodes in turn was served: counted where it was by the node whose turn it was (`numa_interleave`).
  public func countInterleaved(_ frame: FrameNumber, on node: NodeID) {
    guard frame.rawValue < UInt64(table.limit) else { return }
    let zone = self.zone(of: Int(frame.rawValue))
    guard zone >= 0, unsafe zones[zone].node == node else { return }
    unsafe zoneLocks[zone].lock()
    unsafe zones[zone].numa.interleaveHit += 1
    unsafe zoneLocks[zone].unlock()
  }

  /// The kind of zone that a frame lies in; nil where there is no memory.
  public func zone(at frame: FrameNumber) -> ZoneKind? {
    guard frame.rawValue < UInt64(table.limit) else { return nil }
    let zone = self.zone(of: Int(frame.rawValue))
    return zone < 0 ? nil : unsafe zones[zone].kind
  }

  /// What is gathered in the block that a frame lies in; nil where the block is isolated, and where there is no memory.
  public func blockMobility(of frame: FrameNumber) -> Mobility? {
    guard frame.rawValue < UInt64(table.limit) else { return nil }
    let number = Int(frame.rawValue)
    let zone = self.zone(of: number)
    if zone < 0 { return nil }
    unsafe zoneLocks[zone].lock()
    defer { unsafe zoneLocks[zone].unlock() }
    return unsafe Mobility(rawValue: UInt8(zones[zone].mobility(ofBlock: number >> 9 - zones[zone].firstBlock)))
  }

  // MARK: What the holder of an allocation may change. `frame` is its first.

  /// Adds a holder; how many there are then.
  /// - Throws: what `free` throws of frames that are not the first of an allocation; `frameInUse` at 2^20 references.
  @discardableResult
  public func retain(_ frame: FrameNumber) throws(MemoryError) -> Int {
    let number = try linkedHead(frame)
    let new = table.updateLink(number) { FrameLink.references($0) == FrameLink.maximumReferences ? nil : $0 + 1 }
    guard let new else { throw .frameInUse(frame, owner: "\(FrameLink.maximumReferences) references") }
    return Int(FrameLink.references(new))
  }

  /// Takes a holder away, and with the last one the frames; how many are left.
  /// - Throws: what `free` throws.
  @discardableResult
  public func release(_ range: FrameRange, cpu: CPUID) throws(MemoryError) -> Int {
    let number = try linkedHead(range.start)
    let new = table.updateLink(number) { FrameLink.references($0) > 1 ? $0 - 1 : nil }
    if let new { return Int(FrameLink.references(new)) }
    try free(range, cpu: cpu)
    return 0
  }

  /// How many hold the allocation that begins at the frame; 0 where none does.
  public func references(of frame: FrameNumber) -> Int {
    guard let number = try? allocatedHead(frame) else { return 0 }
    return Int(FrameLink.references(table.holderLink(number, table.word(number))))
  }

  /// What the holder stored with the allocation that begins at the frame; 0 where there is none.
  public func mapping(of frame: FrameNumber) -> UInt64 {
    guard let number = try? allocatedHead(frame) else { return 0 }
    return FrameLink.mapping(table.holderLink(number, table.word(number)))
  }

  /// Stores a value with the allocation, say the page that maps it: 0 to 2^44 - 1; traps above.
  /// - Throws: what `free` throws of frames that are not the first of an allocation.
  public func setMapping(_ mapping: UInt64, of frame: FrameNumber) throws(MemoryError) {
    precondition(mapping < 1 << 44)
    let number = try linkedHead(frame)
    _ = table.updateLink(number) { $0 & (FrameLink.maximumReferences - 1) | mapping << 20 }
  }

  /// Makes somebody else the owner of the allocation.
  /// - Throws: what `free` throws of frames that are not the first of an allocation.
  public func setOwner(_ owner: FrameOwner, of frame: FrameNumber) throws(MemoryError) {
    while true {
      let number = try allocatedHead(frame)
      let word = table.word(number)
      let zone = self.zone(of: number)
      let fromList = word.state == .allocatedFromList
      if fromList { unsafe CPUList.lock(of: list(zone, word.cpu)).pointee.lock() }
      unsafe zoneLocks[zone].lock()
      defer {
        unsafe zoneLocks[zone].unlock()
        if fromList { unsafe CPUList.lock(of: list(zone, word.cpu)).pointee.unlock() }
      }
      guard word.isAllocated else { continue }
      guard table.exchangeWord(number, word, word.owned(by: owner)) else { continue }
      unsafe zones[zone].kinds[word.kindIndex] -= word.count
      unsafe zones[zone].kinds[Int(owner.kind.rawValue)] += word.count
      return
    }
  }

  /// The first frame of an allocation whose link is about to be changed. The caller holds the allocation.
  private func linkedHead(_ frame: FrameNumber) throws(MemoryError) -> Int {
    while true {
      let number = try allocatedHead(frame)
      let word = table.word(number)
      if !word.isAllocated { continue }
      // Its owner may change meanwhile.
      if word.isLinked || table.exchangeWord(number, word, EntryWord(bits: word.bits | EntryWord.linked)) {
        return number
      }
    }
  }

  @inline(__always)
  private func allocatedHead(_ frame: FrameNumber) throws(MemoryError) -> Int {
    guard frame.rawValue < UInt64(table.limit) else { throw .noSuchFrame(frame) }
    let number = Int(truncatingIfNeeded: frame.rawValue)
    guard table.word(number).isAllocated else {
      throw refusal(FrameRange(start: frame, count: FrameCount(1)))
    }
    return number
  }
}
