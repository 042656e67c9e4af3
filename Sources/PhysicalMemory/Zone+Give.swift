/// Giving frames back to a zone. The caller holds the lock, and knows that they are used.
extension Zone {
  /// Gives back an allocation.
  ///
  /// - Complexity: O(log zone) a block touched.
  @inline(__always)
  mutating func give(_ frame: Int, _ count: Int) {
    if isolatedBlocks != 0 { return giveBesideIsolated(frame, count) }
    free += count
    let offset = frame & 511
    if offset + count <= 512, count < 512 {
      giveToBlock(frame >> 9 - firstBlock, offset, count)
    } else {
      let block = frame >> 9 - firstBlock
      if count >= 512 { noteDiscardable(block..<block + count >> 9) }
      occupied.remove(block)
      giveParts(frame, count)
    }
  }

  /// Gives back allocations of a block each that follow one another.
  mutating func giveBlocks(_ frame: Int, _ count: Int) {
    if isolatedBlocks != 0 {
      for each in 0..<count { giveBesideIsolated(frame + each << 9, Zone.blockFrames) }
      return
    }
    free += count << 9
    let first = frame >> 9 - firstBlock
    noteDiscardable(first..<first + count)
    _ = occupied.remove(first..<first + count)
    giveChunks(frame..<frame + count << 9)
  }

  /// Hands a zone that is just being made frames to manage; none of them are another part's neighbours.
  mutating func seed(_ frames: Range<Int>) {
    countNew(frames.count)
    let first = min((frames.lowerBound + 511) & ~511, frames.upperBound)
    let last = max(first, frames.upperBound & ~511)
    giveParts(frames.lowerBound, first - frames.lowerBound)
    seedChunks(first..<last)
    giveParts(last, frames.upperBound - last)
  }

  /// Hands the zone frames to manage beside those that it has.
  mutating func extend(_ frames: Range<Int>) {
    countNew(frames.count)
    giveParts(frames.lowerBound, frames.count)
  }

  private mutating func countNew(_ frames: Int) {
    free += frames
    managed += frames
    handedOver += frames
  }

  /// Gives back frames block by block, whole blocks at once. The free count is the caller's.
  mutating func giveParts(_ frame: Int, _ count: Int) {
    var frame = frame
    var left = count
    while left > 0 {
      let block = frame >> 9 - firstBlock
      let offset = frame & 511
      if offset != 0 || left < 512 {
        let part = min(512 - offset, left)
        giveToBlock(block, offset, part)
        frame += part
        left -= part
      } else {
        let whole = left & ~511
        giveChunks(frame..<frame + whole)
        frame += whole
        left -= whole
      }
    }
  }

  @inline(__always)
  private mutating func giveToBlock(_ block: Int, _ offset: Int, _ count: Int) {
    if used[block] == 0 { takeApartUsed(block) }
    giveRun(block, offset, count)
  }

  /// Remembers whole free blocks whose bytes the host may hold.
  @inline(__always)
  mutating func noteDiscardable(_ blocks: Range<Int>) { discardableCount += discardable.insert(blocks) }

  /// Calls `body` with each run of whole free blocks whose bytes the host may hold, by absolute block number, and forgets them.
  mutating func drainDiscardable(_ body: (Range<Int>) -> Void) {
    var next = discardable.first
    while let block = next {
      let end = discardable.end(ofRunFrom: block)
      _ = discardable.remove(block..<end)
      body(block + firstBlock..<end + firstBlock)
      next = discardable.next(from: end)
    }
    discardableCount = 0
  }
}
