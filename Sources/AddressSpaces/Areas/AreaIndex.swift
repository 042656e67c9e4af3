/// A process's areas in ascending order of their addresses (what Linux keeps in a maple tree).
///
/// Two levels: a list of chunks, each with up to 128 areas and their bounds side by side, so that a search reads keys alone. Finding costs
/// two binary searches; inserting and removing moves at most a chunk's keys, and one entry of the upper list when a chunk splits or
/// empties. Areas never overlap, but for the instant between a neighbour's growth and the removal of what it swallowed.
struct AreaIndex {
  /// How many areas there are (`map_count`).
  private(set) var count = 0
  /// The chunks' lowest starts; `chunks` beside it.
  private var firstStarts: ContiguousArray<UInt64> = []
  private var chunks: ContiguousArray<Chunk> = []

  private static var capacity: Int { 128 }

  final class Chunk {
    var starts: ContiguousArray<UInt64> = []
    var ends: ContiguousArray<UInt64> = []
    var areas: ContiguousArray<Area> = []
    /// The largest gap in front of one of the areas, from the area before it (the one in the chunk before for the first); nil when to be
    /// computed again.
    var largestGap: UInt64?

    init() {
      starts.reserveCapacity(AreaIndex.capacity)
      ends.reserveCapacity(AreaIndex.capacity)
      areas.reserveCapacity(AreaIndex.capacity)
    }

    /// How many areas end at or below `address`.
    @inline(__always) func position(after address: UInt64) -> Int {
      var low = 0
      var high = ends.count
      while low < high {
        let middle = (low + high) >> 1
        if ends[middle] <= address { low = middle + 1 } else { high = middle }
      }
      return low
    }
  }

  /// A place in the index; valid until the next change.
  private struct Position {
    var chunk: Int
    var slot: Int
  }

  /// The chunk that `address` falls to: the last that begins at or below it, or the first.
  @inline(__always) private func chunkIndex(for address: UInt64) -> Int {
    var low = 0
    var high = firstStarts.count
    while low < high {
      let middle = (low + high) >> 1
      if firstStarts[middle] <= address { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? 0 : low - 1
  }

  /// The first area that ends above `address`: it holds the address or follows it (`find_vma`). O(log n).
  func first(endingAbove address: UInt64) -> Area? {
    guard let position = position(endingAbove: address) else { return nil }
    return chunks[position.chunk].areas[position.slot]
  }

  @inline(__always) private func position(endingAbove address: UInt64) -> Position? {
    if chunks.isEmpty { return nil }
    let chunk = chunkIndex(for: address)
    let slot = chunks[chunk].position(after: address)
    if slot < chunks[chunk].ends.count { return Position(chunk: chunk, slot: slot) }
    return chunk + 1 < chunks.count ? Position(chunk: chunk + 1, slot: 0) : nil
  }

  /// The area that holds `address` (`vma_lookup`).
  func area(at address: UInt64) -> Area? {
    guard let area = first(endingAbove: address), area.start <= address else { return nil }
    return area
  }

  /// The first area that has a byte in `start ..< end` (`find_vma_intersection`).
  func first(overlapping start: UInt64, _ end: UInt64) -> Area? {
    guard let area = first(endingAbove: start), area.start < end else { return nil }
    return area
  }

  /// The last area that ends at or below `address`.
  func last(endingAtOrBelow address: UInt64) -> Area? {
    if chunks.isEmpty { return nil }
    let chunk = chunkIndex(for: address)
    let slot = chunks[chunk].position(after: address)
    if slot > 0 { return chunks[chunk].areas[slot - 1] }
    return chunk > 0 ? chunks[chunk - 1].areas.last : nil
  }

  /// The area before `area`.
  func before(_ area: Area) -> Area? { last(endingAtOrBelow: area.start) }
  /// The area behind `area`.
  func after(_ area: Area) -> Area? { first(endingAbove: area.end) }

  var lowest: Area? { chunks.first?.areas.first }
  var highest: Area? { chunks.last?.areas.last }

  /// Calls `body` for every area in ascending order; `body` must not change the index.
  func forEach<Failure: Error>(_ body: (Area) throws(Failure) -> Void) throws(Failure) {
    for chunk in chunks { for area in chunk.areas { try body(area) } }
  }

  // MARK: Changes

  mutating func insert(_ area: Area) {
    count += 1
    if chunks.isEmpty {
      chunks.append(Chunk())
      firstStarts.append(area.start)
    }
    var index = chunkIndex(for: area.start)
    if chunks[index].areas.count == Self.capacity {
      split(index)
      index = chunkIndex(for: area.start)
    }
    let chunk = chunks[index]
    var slot = chunk.position(after: area.start)
    while slot < chunk.starts.count, chunk.starts[slot] < area.start { slot += 1 }
    chunk.starts.insert(area.start, at: slot)
    chunk.ends.insert(area.end, at: slot)
    chunk.areas.insert(area, at: slot)
    firstStarts[index] = chunk.starts[0]
    forgetGaps(index)
  }

  mutating func remove(_ area: Area) {
    count -= 1
    let position = place(of: area)
    let chunk = chunks[position.chunk]
    chunk.starts.remove(at: position.slot)
    chunk.ends.remove(at: position.slot)
    chunk.areas.remove(at: position.slot)
    forgetGaps(position.chunk)
    if chunk.areas.isEmpty {
      chunks.remove(at: position.chunk)
      firstStarts.remove(at: position.chunk)
    } else {
      firstStarts[position.chunk] = chunk.starts[0]
    }
  }

  /// Gives `area` new bounds. It must stay between its neighbours.
  mutating func resize(_ area: Area, start: UInt64, end: UInt64) {
    let position = place(of: area)
    let chunk = chunks[position.chunk]
    area.start = start
    area.end = end
    chunk.starts[position.slot] = start
    chunk.ends[position.slot] = end
    firstStarts[position.chunk] = chunk.starts[0]
    forgetGaps(position.chunk)
  }

  private func place(of area: Area) -> Position {
    var index = chunkIndex(for: area.start)
    let chunk = chunks[index]
    var low = 0
    var high = chunk.starts.count
    while low < high {
      let middle = (low + high) >> 1
      if chunk.starts[middle] < area.start { low = middle + 1 } else { high = middle }
    }
    if low < chunk.areas.count, chunk.areas[low] === area { return Position(chunk: index, slot: low) }
    // Equal starts across a chunk's edge cannot be: areas are disjoint. So the area is not in the index.
    index = -1
    preconditionFailure("an area that is not in the index")
  }

  private mutating func split(_ index: Int) {
    let chunk = chunks[index]
    let upper = Chunk()
    let half = chunk.areas.count / 2
    upper.starts.append(contentsOf: chunk.starts[half...])
    upper.ends.append(contentsOf: chunk.ends[half...])
    upper.areas.append(contentsOf: chunk.areas[half...])
    chunk.starts.removeSubrange(half...)
    chunk.ends.removeSubrange(half...)
    chunk.areas.removeSubrange(half...)
    chunk.largestGap = nil
    chunks.insert(upper, at: index + 1)
    firstStarts.insert(upper.starts[0], at: index + 1)
  }

  private func forgetGaps(_ index: Int) {
    chunks[index].largestGap = nil
    if index + 1 < chunks.count { chunks[index + 1].largestGap = nil }
  }

  // MARK: Gaps

  /// The end of what lies in front of a chunk's first area: 0 where nothing does.
  private func endBefore(_ index: Int) -> UInt64 { index == 0 ? 0 : chunks[index - 1].ends.last! }

  private func largestGap(_ index: Int) -> UInt64 {
    let chunk = chunks[index]
    if let gap = chunk.largestGap { return gap }
    var below = endBefore(index)
    var largest: UInt64 = 0
    for slot in chunk.starts.indices {
      largest = max(largest, chunk.starts[slot] - below)
      below = chunk.ends[slot]
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
    var slot = start?.slot ?? (chunks.last?.areas.count ?? 0)
    if let start, chunks[start.chunk].starts[start.slot] < high { upper = chunks[start.chunk].starts[start.slot] }
    while true {
      let below: UInt64
      if index < 0 {
        below = 0
      } else if slot > 0 {
        below = chunks[index].ends[slot - 1]
      } else {
        below = endBefore(index)
      }
      let bottom = max(below, low)
      if upper > bottom, upper - bottom >= length { return bottom..<upper }
      if below <= low { return nil }
      if slot == 0 {
        index -= 1
        slot = chunks[index].areas.count
        while largestGap(index) < length {
          if chunks[index].starts[0] <= low || index == 0 { return nil }
          index -= 1
          slot = chunks[index].areas.count
          upper = chunks[index + 1].starts[0]
        }
        continue
      }
      slot -= 1
      upper = chunks[index].starts[slot]
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
    for (index, chunk) in chunks.enumerated() {
      if chunk.areas.isEmpty { faults.append("chunk \(index) is empty") }
      if chunk.starts.first != firstStarts[index] { faults.append("chunk \(index) has another first start") }
      for slot in chunk.areas.indices {
        let area = chunk.areas[slot]
        seen += 1
        if area.start != chunk.starts[slot] || area.end != chunk.ends[slot] {
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
