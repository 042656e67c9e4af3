import Testing

@testable import AddressSpaces

/// The index of areas against a sorted array, over random histories.
@Suite struct AreaIndexTests {
  @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func agreesWithSortedArray(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    func below(_ limit: UInt64) -> UInt64 { random.next() % limit }
    var index = AreaIndex()
    var model: [Area] = []
    for step in 0..<4000 {
      let start = below(4096) << 12
      let end = start + (1 + below(4)) << 12
      if let position = model.firstIndex(where: { $0.start < end && $0.end > start }) {
        let area = model[position]
        if below(3) == 0, area.size > 4096 {
          index.resize(area, start: area.start, end: area.end - 4096)
        } else if below(2) == 0 {
          index.remove(area)
          model.remove(at: position)
        }
      } else {
        let area = Area(start: start, end: end, flags: .read, pageOffset: start >> 12)
        index.insert(area)
        model.append(area)
        model.sort { $0.start < $1.start }
      }
      let probe = below(4100) << 12
      #expect(index.first(endingAbove: probe) === model.first { $0.end > probe }, "seed \(seed), step \(step)")
      #expect(index.last(endingAtOrBelow: probe) === model.last { $0.end <= probe }, "seed \(seed), step \(step)")
      let length = (1 + below(6)) << 12
      let low = below(2048) << 12
      let high = low + below(2100) << 12
      #expect(
        index.highestGap(from: low, to: high, length: length) == highestGap(model, low, high, length),
        "seed \(seed), step \(step)")
      #expect(
        index.lowestGap(from: low, to: high, length: length) == lowestGap(model, low, high, length),
        "seed \(seed), step \(step)")
      if step % 100 == 0 { #expect(index.verify().isEmpty, "seed \(seed), step \(step)") }
    }
    #expect(index.count == model.count)
  }

  /// Areas as large as address spaces are, and gaps as large: more than a block's keys reach.
  @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func agreesFarApart(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    func below(_ limit: UInt64) -> UInt64 { random.next() % limit }
    /// Mostly near one of a few places, of any magnitude up to 57 bits.
    func place() -> UInt64 { (1 << (12 + below(45)) + below(4) << (12 + below(33))) & (1 << 57 - 4096) }
    var index = AreaIndex()
    var model: [Area] = []
    for step in 0..<4000 {
      let start = place()
      let end = min(start + max(place() >> below(40) & ~4095, 4096), 1 << 57)
      if let position = model.firstIndex(where: { $0.start < end && $0.end > start }) {
        let area = model[position]
        let lowest = position > 0 ? model[position - 1].end : 0
        let highest = position + 1 < model.count ? model[position + 1].start : 1 << 57
        switch below(4) {
        case 0:
          let bounds = [place(), place()].map { min(max($0, lowest), highest) }.sorted()
          if bounds[0] < bounds[1] { index.resize(area, start: bounds[0], end: bounds[1]) }
        case 1: index.resize(area, start: lowest, end: area.end)
        default:
          index.remove(area)
          model.remove(at: position)
        }
      } else {
        let area = Area(start: start, end: end, flags: .read, pageOffset: start >> 12)
        index.insert(area)
        model.append(area)
        model.sort { $0.start < $1.start }
      }
      let near = model.isEmpty ? 0 : Int(below(UInt64(model.count)))
      let edge = model.isEmpty ? 0 : below(2) == 0 ? model[near].start : model[near].end
      let probes: [UInt64] = [place(), edge, edge &- 1, edge &+ 4096, below(.max), .max - 1, .max]
      for probe in probes {
        #expect(index.first(endingAbove: probe) === model.first { $0.end > probe }, "seed \(seed), step \(step)")
        #expect(
          index.area(at: probe) === model.first { $0.start <= probe && $0.end > probe }, "seed \(seed), step \(step)")
        #expect(index.last(endingAtOrBelow: probe) === model.last { $0.end <= probe }, "seed \(seed), step \(step)")
      }
      let (low, high, length) = (place(), place(), place())
      #expect(
        index.highestGap(from: low, to: high, length: length) == highestGap(model, low, high, length),
        "seed \(seed), step \(step)")
      if step % 20 == 0 { #expect(index.verify().isEmpty, "seed \(seed), step \(step)") }
    }
    #expect(index.count == model.count)
  }

  @Test(arguments: [true, false]) func fillsInOrder(_ ascends: Bool) {
    var index = AreaIndex()
    let starts = (1...5000).map { UInt64($0) << 13 }
    for start in ascends ? starts : starts.reversed() {
      index.insert(Area(start: start, end: start + 4096, flags: .read, pageOffset: start >> 12))
    }
    #expect(index.verify().isEmpty)
    for start in starts {
      #expect(index.area(at: start + 4095)?.start == start)
      #expect(index.area(at: start + 4096) == nil)
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64]) func keysAgreeWithSortedArray(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    var keys = SortedKeys()
    var model: [UInt64] = []
    // Up to four levels, and down to one.
    for step in 0..<12_000 {
      let key = random.next() % 100_000
      if step < 6000 ? random.next() % 8 > 0 : random.next() % 8 == 0 {
        let index = model.firstIndex { $0 > key } ?? model.count
        keys.insert(key, at: index)
        model.insert(key, at: index)
      } else if !model.isEmpty {
        let index = Int(random.next() % UInt64(model.count))
        keys.remove(at: index)
        model.remove(at: index)
      }
      if !model.isEmpty, step % 3 == 0 {
        let index = Int(random.next() % UInt64(model.count))
        let low = index > 0 ? model[index - 1] : 0
        let changed = low + random.next() % (model[index] - low + 1)
        keys.replace(index, by: changed)
        model[index] = changed
      }
      let probe = random.next() % 100_000
      #expect(keys.count(atOrBelow: probe) == model.count { $0 <= probe }, "seed \(seed), step \(step)")
      #expect(keys.count == model.count)
    }
  }

  private func gaps(_ model: [Area], _ low: UInt64, _ high: UInt64) -> [Range<UInt64>] {
    if low >= high { return [] }
    var result: [Range<UInt64>] = []
    var bottom = low
    for area in model where area.end > low && area.start < high {
      if area.start > bottom { result.append(bottom..<area.start) }
      bottom = max(bottom, area.end)
    }
    if bottom < high { result.append(bottom..<high) }
    return result
  }
  private func highestGap(_ model: [Area], _ low: UInt64, _ high: UInt64, _ length: UInt64) -> Range<UInt64>? {
    gaps(model, low, high).last { $0.upperBound - $0.lowerBound >= length }
  }
  private func lowestGap(_ model: [Area], _ low: UInt64, _ high: UInt64, _ length: UInt64) -> Range<UInt64>? {
    gaps(model, low, high).first { $0.upperBound - $0.lowerBound >= length }
  }
}
