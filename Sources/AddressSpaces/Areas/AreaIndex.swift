/// A process's areas in ascending order of their addresses (what Linux keeps in a maple tree).
///
/// Two levels: a list of chunks, each with up to 128 areas less than 16 TiB apart and their bounds side by side, so that a search reads keys alone. Finding costs
/// two searches; inserting and removing moves at most a chunk's keys, and one entry of the upper list when a chunk splits or empties. Areas never overlap, but for the instant between a neighbour's growth and the removal of what it swallowed.
struct AreaIndex {
  /// How many areas there are (`map_count`).
  private(set) var count = 0
  /// The chunks' lowest starts; `blocks` and `chunks` beside it.
  private var firstStarts = SortedKeys()
  private var blocks: ContiguousArray<AreaBlock> = []
  private var chunks: ContiguousArray<Chunk> = []

  /// Owns a block.
  private final class Chunk {
    let block = AreaBlock()
    /// The largest gap in front of one of the areas, from the area before it (the one in the chunk before for the first); nil when to be
    /// computed again.
    var largestGap: UInt64?

    deinit { block.free() }
  }

  /// A place in the index; valid until the next change.
  private struct Position {
    var chunk: Int
    var slot: Int
  }

  /// The chunk that `address` falls to: the last that begins at or below it, or the first.
  @inline(__always) private func chunkIndex(for address: UInt64) -> Int {
    if blocks.count < 2 { return 0 }
    let below = firstStarts.count(atOrBelow: min(address, SortedKeys.none &- 1))
    return below &- (below > 0 ? 1 : 0)
  }

  /// The first area that ends above `address`: it holds the address or follows it (`find_vma`). O(log n).
  func first(endingAbove address: UInt64) -> Area? {
    guard let position = position(endingAbove: address) else { return nil }
    return blocks[position.chunk].area(position.slot)
  }

  @inline(__always) private func position(endingAbove address: UInt64) -> Position? {
    if blocks.isEmpty { return nil }
    let chunk = chunkIndex(for: address)
    let slot = blocks[chunk].position(after: address)
    if slot < blocks[chunk].count { return Position(chunk: chunk, slot: slot) }
    return chunk + 1 < blocks.count ? Position(chunk: chunk + 1, slot: 0) : nil
  }

  /// The area that holds `address` (`vma_lookup`).
  func area(at address: UInt64) -> Area? { unsafe find(address)?.takeUnretainedValue() }

  /// The same, without a reference taken: to count one is an atomic operation, which waits for all that was asked of memory before.
  /// SAFETY: the caller uses it before areas change.
  @inline(__always) func find(_ address: UInt64) -> Unmanaged<Area>? {
    if blocks.isEmpty { return nil }
    return unsafe blocks[chunkIndex(for: address)].find(address)
  }

  /// The first area that has a byte in `start ..< end` (`find_vma_intersection`).
  func first(overlapping start: UInt64, _ end: UInt64) -> Area? {
    guard let area = first(endingAbove: start), area.start < end else { return nil }
    return area
  }

  /// The last area that ends at or below `address`.
  func last(endingAtOrBelow address: UInt64) -> Area? {
    if blocks.isEmpty { return nil }
    let chunk = chunkIndex(for: address)
    let slot = blocks[chunk].position(after: address)
    if slot > 0 { return blocks[chunk].area(slot - 1) }
    return chunk > 0 ? blocks[chunk - 1].area(blocks[chunk - 1].count - 1) : nil
  }

  /// The area before `area`.
  func before(_ area: Area) -> Area? { last(endingAtOrBelow: area.start) }
  /// The area behind `area`.
  func after(_ area: Area) -> Area? { first(endingAbove: area.end) }

  var lowest: Area? { blocks.first.map { $0.area(0) } }
  var highest: Area? { blocks.last.map { $0.area($0.count - 1) } }

  /// Calls `body` for every area in ascending order; `body` must not change the index.
  func forEach<Failure: Error>(_ body: (Area) throws(Failure) -> Void) throws(Failure) {
    for block in blocks { for slot in 0..<block.count { try body(block.area(slot)) } }
  }

  // MARK: Changes

  mutating func insert(_ area: Area) {
    count += 1
    if chunks.isEmpty { add(Chunk(), at: 0, firstStart: area.start) }
    var index = chunkIndex(for: area.start)
    var slot = blocks[index].position(from: area.start)
    if !blocks[index].reaches(area.start) {
      // It lies before the block's first area or behind its last.
      add(Chunk(), at: slot == 0 ? index : index + 1, firstStart: area.start)
      index = chunkIndex(for: area.start)
      slot = 0
    } else if blocks[index].count == AreaBlock.capacity {
      // What is mapped one behind the other leaves chunks full.
      if index == chunks.count - 1, slot == AreaBlock.capacity {
        add(Chunk(), at: index + 1, firstStart: area.start)
      } else if index == 0, slot == 0 {
        add(Chunk(), at: 0, firstStart: area.start)
      } else {
        split(index)
      }
      index = chunkIndex(for: area.start)
      slot = blocks[index].position(from: area.start)
    }
    let block = blocks[index]
    block.insert(area, at: slot)
    firstStarts.replace(index, by: block.start(0))
    forgetGaps(index)
  }

  mutating func remove(_ area: Area) {
    count -= 1
    let position = place(of: area)
    let block = blocks[position.chunk]
    block.remove(at: position.slot)
    forgetGaps(position.chunk)
    if block.count == 0 {
      chunks.remove(at: position.chunk)
      blocks.remove(at: position.chunk)
      firstStarts.remove(at: position.chunk)
    } else {
      firstStarts.replace(position.chunk, by: block.start(0))
    }
  }

  /// Gives `area` new bounds. It must stay between its neighbours.
  mutating func resize(_ area: Area, start: UInt64, end: UInt64) {
    let position = place(of: area)
    let block = blocks[position.chunk]
    guard block.reaches(start) else {
      remove(area)
      area.start = start
      area.end = end
      return insert(area)
    }
    area.start = start
    area.end = end
    block.setBounds(position.slot, start, end)
    firstStarts.replace(position.chunk, by: block.start(0))
    forgetGaps(position.chunk)
  }

  private func place(of area: Area) -> Position {
    let index = chunkIndex(for: area.start)
    let block = blocks[index]
    let slot = block.position(from: area.start)
    // Equal starts across a chunk's edge cannot be: areas are disjoint.
    precondition(slot < block.count && block.area(slot) === area, "an area that is not in the index")
    return Position(chunk: index, slot: slot)
  }

  private mutating func split(_ index: Int) {
    let upper = Chunk()
    blocks[index].moveUpperHalf(to: upper.block)
    chunks[index].largestGap = nil
    add(upper, at: index + 1, firstStart: upper.block.start(0))
  }

  private mutating func add(_ chunk: Chunk, at index: Int, firstStart: UInt64) {
    chunks.insert(chunk, at: index)
    blocks.insert(chunk.block, at: index)
    firstStarts.insert(firstStart, at: index)
  }

  private func forgetGaps(_ index: Int) {
    chunks[index].largestGap = nil
    if index + 1 < chunks.count { chunks[index + 1].largestGap = nil }
  }

  // MARK: Gaps

  /// The end of what lies in front of a chunk's first area: 0 where nothing does.
  private func endBefore(_ index: Int) -> UInt64 {
    index == 0 ? 0 : blocks[index - 1].end(blocks[index - 1].count - 1)
  }

  private func largestGap(_ index: Int) -> UInt64 {
    let chunk = chunks[index]
    if let gap = chunk.largestGap { return gap }
    var below = endBefore(index)
    var largest: UInt64 = 0
    for slot in 0..<chunk.block.count {
      largest = max(largest, chunk.block.start(slot) - below)
      below = chunk.block.end(slot)
    }
    chunk.largestGap = largest
    return largest
  }

  /// The highest gap in `low ..< high` of at least `length` bytes, cut to those bounds (`mas_empty_area_rev`). Chunks without a gap of that
  /// size are passed over, so the cost is a step a chunk.
  func highestGap(from low: UInt64, to high: UInt64, length: UInt64) -> Range<UInt64>? {
    guard high > low, high - low >= length else { return nil }
    var upper = high
    let start = position(endingAbove: high - 1)
    var index = start?.chunk ?? chunks.count - 1
    var slot = start?.slot ?? (blocks.last?.count ?? 0)
    if let start { upper = min(upper, blocks[start.chunk].start(start.slot)) }
    while true {
      let below: UInt64
      if index < 0 {
        below = 0
      } else if slot > 0 {
        below = blocks[index].end(slot - 1)
      } else {
        below = endBefore(index)
      }
      let bottom = max(below, low)
      if upper > bottom, upper - bottom >= length { return bottom..<upper }
      if below <= low { return nil }
      if slot == 0 {
        index -= 1
        slot = blocks[index].count
        while largestGap(index) < length {
          if blocks[index].start(0) <= low || index == 0 { return nil }
          index -= 1
          slot = blocks[index].count
          upper = blocks[index + 1].start(0)
        }
        continue
      }
      slot -= 1
      upper = blocks[index].start(slot)
    }
  }

  /// The lowest gap in `low ..< high` of at least `length` bytes (`mas_empty_area`).
  func lowestGap(from low: UInt64, to high: UInt64, length: UInt64) -> Range<UInt64>? {
    var bottom = low
    while bottom < high {
      guard let area = first(endingAbove: bottom) else {
        return high - bottom >= length ? bottom..<high : nil
      }
      let top = min(area.start, high)
      if top > bottom, top - bottom >= length { return bottom..<top }
      bottom = area.end
    }
    return nil
  }

  /// Every broken rule in words: none in a sound index.
  func verify() -> [String] {
    var faults: [String] = []
    var seen = 0
    var below: UInt64 = 0
    for (index, block) in blocks.enumerated() {
      if block.count == 0 { faults.append("chunk \(index) is empty") }
      if !block.isSampled { faults.append("chunk \(index) has samples of other ends") }
      if block.start(0) != firstStarts[index] { faults.append("chunk \(index) has another first start") }
      for slot in 0..<block.count {
        let area = block.area(slot)
        seen += 1
        if area.start != block.start(slot) || area.end != block.end(slot) {
          faults.append("keys differ at 0x\(String(area.start, radix: 16))")
        }
        if area.start < below || area.end <= area.start {
          faults.append("areas overlap at 0x\(String(area.start, radix: 16))")
        }
        below = area.end
      }
    }
    if seen != count { faults.append("\(seen) areas, \(count) counted") }
    return faults
  }
}
