/// Blocks out of which nothing is taken (Linux's MIGRATE_ISOLATE, mm/page_isolation.c). The caller holds the lock; blocks count from the
/// zone's first.
///
/// Their free frames lie in trees and classes of their own, in which no request looks, and frames that are given back join them. They
/// merge with each other, never with others.
extension Zone {
  /// What an isolated block has for its mobility.
  static let isolation = mobilities - 1

  @inline(__always)
  func isIsolated(_ block: Int) -> Bool { isolatedBlocks != 0 && mobility(ofBlock: block) == Zone.isolation }

  /// Whether two free chunks may become one: both isolated, or neither.
  @inline(__always)
  func mayMerge(_ frame: Int, _ buddy: Int) -> Bool {
    isolatedBlocks == 0 || isIsolated(frame >> 9 - firstBlock) == isIsolated(buddy >> 9 - firstBlock)
  }

  /// Isolates blocks, none of which is isolated. Returns their mobilities, for `endIsolation`.
  ///
  /// - Complexity: O(blocks * log zone).
  mutating func isolate(_ blocks: Range<Int>) -> [UInt8] {
    let saved = blocks.map { UInt8(mobility(ofBlock: $0)) }
    let chunks = extract(blocks)
    for block in blocks {
      if used[block] != 0 {
        changeMobility(block, to: Zone.isolation)
        moveFree(512 - Int(used[block]))
      } else {
        setMobility(block, Zone.isolation)
      }
    }
    isolatedBlocks += blocks.count
    for chunk in chunks {
      moveFree(1 << chunk.order)
      giveChunk(chunk.frame, chunk.order)
    }
    return saved
  }

  /// Lets isolated blocks be allocated from again, with the mobilities that they had.
  mutating func endIsolation(_ blocks: Range<Int>, _ saved: [UInt8]) {
    let chunks = extract(blocks)
    isolatedBlocks -= blocks.count
    for (index, block) in blocks.enumerated() {
      if used[block] != 0 {
        changeMobility(block, to: Int(saved[index]))
        moveFree(Int(used[block]) - 512)
      } else {
        setMobility(block, Int(saved[index]))
      }
    }
    for chunk in chunks {
      moveFree(-(1 << chunk.order))
      giveChunk(chunk.frame, chunk.order)
    }
  }

  /// Takes isolated blocks, every frame of which is free, away from the zone; their metadata is as if they had never been handed out.
  mutating func remove(_ blocks: Range<Int>) {
    for chunk in extract(blocks) { isolated -= 1 << chunk.order }
    isolatedBlocks -= blocks.count
    for block in blocks {
      setMobility(block, 1)
      forgetDiscardable(block)
    }
    let frames = (blocks.lowerBound + firstBlock) << 9..<(blocks.upperBound + firstBlock) << 9
    managed -= frames.count
    presentFrames -= frames.count
    present = present.flatMap { range in
      [
        range.lowerBound..<max(range.lowerBound, min(range.upperBound, frames.lowerBound)),
        min(range.upperBound, max(range.lowerBound, frames.upperBound))..<range.upperBound,
      ].filter { !$0.isEmpty }
    }
  }

  /// Hands the zone whole blocks of memory that it did not have.
  mutating func add(_ frames: Range<Int>) {
    presentFrames += frames.count
    present = MachineLayout.joined(present + [frames])
    extend(frames)
  }

  /// Whether every frame of the range is free, isolated or not.
  func isFree(_ frames: Range<Int>) -> Bool {
    var frame = frames.lowerBound
    while frame < frames.upperBound {
      let next = min(frames.upperBound, (frame >> 9 + 1) << 9)
      if usesBitmap(frame >> 9) {
        if (frame..<next).contains(where: { isUsed($0) }) { return false }
      } else if !isInFreeChunk(frame) {
        return false
      }
      frame = next
    }
    return true
  }

  /// Takes certain frames, all free and none isolated, without looking for better ones; 512 and more begin at a block.
  mutating func takeExactly(_ frame: Int, _ count: Int) {
    if count >= Zone.blockFrames { occupied.insert(frame >> 9 - firstBlock) }
    var frame = frame
    let end = frame + count
    while frame < end {
      let next = min(end, (frame >> 9 + 1) << 9)
      let block = frame >> 9 - firstBlock
      if used[block] == 0 {
        _ = extract(block..<block + 1)
        forgetDiscardable(block)
      }
      if next - frame < Zone.blockFrames { takeRun(block, frame & 511, next - frame) }
      frame = next
    }
    free -= count
  }

  /// `give` while some blocks are isolated: block by block, each frame counted where it belongs.
  mutating func giveBesideIsolated(_ frame: Int, _ count: Int) {
    if count >= Zone.blockFrames { occupied.remove(frame >> 9 - firstBlock) }
    var frame = frame
    let end = frame + count
    while frame < end {
      let next = min(end, (frame >> 9 + 1) << 9)
      let block = frame >> 9 - firstBlock
      if isIsolated(block) { isolated += next - frame } else { free += next - frame }
      if next - frame == Zone.blockFrames { noteDiscardable(block..<block + 1) }
      giveParts(frame, next - frame)
      frame = next
    }
  }

  /// Free frames change sides: from the zone's to the isolated ones.
  private mutating func moveFree(_ count: Int) {
    free -= count
    isolated += count
  }

  private mutating func forgetDiscardable(_ block: Int) {
    guard discardable.contains(block) else { return }
    discardable.remove(block)
    discardableCount -= 1
  }

  /// Takes all free chunks that touch the blocks out of the buddy system, and gives back what lies outside.
  private mutating func extract(_ blocks: Range<Int>) -> [(frame: Int, order: Int)] {
    let frames = (blocks.lowerBound + firstBlock) << 9..<(blocks.upperBound + firstBlock) << 9
    var inside: [(frame: Int, order: Int)] = []
    var frame = frames.lowerBound
    while frame < frames.upperBound {
      let order = (9...Zone.maximumOrder).first { isFreeChunk((frame >> $0) << $0, $0) }
      guard let order, used[frame >> 9 - firstBlock] == 0 else {
        frame += 512
        continue
      }
      let start = (frame >> order) << order
      let end = start + 1 << order
      removeChunk(start, order, mobility(ofChunkAt: start))
      for part in Zone.chunks(from: start, to: min(end, frames.lowerBound)) { insertChunk(part.frame, part.order) }
      inside += Zone.chunks(from: max(start, frames.lowerBound), to: min(end, frames.upperBound))
      for part in Zone.chunks(from: max(start, frames.upperBound), to: end) { insertChunk(part.frame, part.order) }
      frame = end
    }
    return inside
  }

  /// The largest naturally aligned powers of two that make up whole blocks; none where the range is empty or backward.
  private static func chunks(from start: Int, to end: Int) -> [(frame: Int, order: Int)] {
    var chunks: [(frame: Int, order: Int)] = []
    var frame = start
    while frame < end {
      let natural = frame == 0 ? maximumOrder : frame.trailingZeroBitCount
      let order = min(natural, 63 - (end - frame).leadingZeroBitCount, maximumOrder)
      chunks.append((frame, order))
      frame += 1 << order
    }
    return chunks
  }
}
