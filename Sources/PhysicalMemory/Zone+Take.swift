/// Taking frames out of a zone. The caller holds the lock.
extension Zone {
  /// Which mobilities' blocks serve a request when its own have nothing, best first (Linux's `fallbacks`).
  @inline(__always)
  private func fallbacks(of mobility: Int) -> (Int, Int) {
    switch mobility {
    case 0: (2, 1)
    case 1: (2, 0)
    default: (0, 1)
    }
  }

  /// The first of `count` contiguous free frames, now used, whose number is a multiple of `alignment`; nil where there are none.
  ///
  /// - Complexity: O(log zone) for single frames and whole powers of two from 512 on; otherwise up to all partly used blocks, when
  ///   neither the first few of them nor the buddy system can serve.
  mutating func take(_ count: Int, alignment: Int, mobility: Int) -> Int? {
    if count > free { return nil }
    let (second, third) = fallbacks(of: mobility)
    let frame: Int?
    if count >= Zone.blockFrames {
      frame =
        takeLarge(count, alignment, mobility, as: mobility) ?? takeLarge(count, alignment, second, as: mobility)
        ?? takeLarge(count, alignment, third, as: mobility)
    } else if count < threshold {
      frame =
        takePartial(count, alignment, mobility, tries: 16) ?? takeFresh(count, alignment, mobility, as: mobility)
        ?? takePartial(count, alignment, mobility, tries: .max)
        ?? takeFresh(count, alignment, second, as: mobility) ?? takeFresh(count, alignment, third, as: mobility)
        ?? stealPartial(count, alignment, second, as: mobility) ?? stealPartial(count, alignment, third, as: mobility)
    } else {
      frame =
        takeFresh(count, alignment, mobility, as: mobility) ?? takeFresh(count, alignment, second, as: mobility)
        ?? takeFresh(count, alignment, third, as: mobility) ?? takePartial(count, alignment, mobility, tries: .max)
        ?? stealPartial(count, alignment, second, as: mobility) ?? stealPartial(count, alignment, third, as: mobility)
    }
    if frame != nil { free -= count }
    return frame
  }

  /// Up to `wanted` single frames, now used, that follow one another; nil where there are none at all. What as many calls of `take` would
  /// give, for the cost of fewer.
  mutating func takeSingles(_ wanted: Int, mobility: Int) -> Range<Int>? {
    let mask = unsafe classMask[unchecked: mobility]
    guard threshold > 1, mask != 0, let block = classTree(mobility, mask.trailingZeroBitCount).first,
      let run = firstRun(block, upTo: wanted)
    else { return take(1, alignment: 1, mobility: mobility).map { $0..<$0 + 1 } }
    takeRun(block, run.lowerBound, run.count)
    free -= run.count
    let start = (block + firstBlock) << 9
    return start + run.lowerBound..<start + run.upperBound
  }

  /// Up to `wanted` blocks of 512 frames, now used, that follow one another; nil where there are none at all.
  mutating func takeBlocks(_ wanted: Int, mobility: Int) -> Range<Int>? {
    let mask = unsafe buddyMask[unchecked: mobility]
    // The smallest chunk there is, or what is wanted of it.
    let order = min(9 + mask.trailingZeroBitCount, 72 - wanted.leadingZeroBitCount)
    guard mask != 0, order > 9, let frame = takeChunk(order, mobility) else {
      return take(Zone.blockFrames, alignment: Zone.blockFrames, mobility: mobility).map { $0..<$0 + Zone.blockFrames }
    }
    let first = frame >> 9 - firstBlock
    let blocks = first..<first + 1 << (order - 9)
    claim(blocks, mobility)
    _ = occupied.insert(blocks)
    free -= 1 << order
    return frame..<frame + 1 << order
  }

  /// From a block that is taken apart already, fullest first. `tries` bounds the blocks looked at.
  @inline(__always)
  mutating func takePartial(_ count: Int, _ alignment: Int, _ mobility: Int, tries: Int) -> Int? {
    // Blocks of class c have at least 2^c free frames, and fewer than 2^(c+1).
    var mask = unsafe classMask[unchecked: mobility] & (~0 << UInt16(63 - count.leadingZeroBitCount))
    if mask == 0 { return nil }
    if count == 1, alignment == 1 {
      guard let block = classTree(mobility, mask.trailingZeroBitCount).first, let offset = findRun(block, 1, 1) else {
        return nil
      }
      takeRun(block, offset, 1)
      return (block + firstBlock) << 9 + offset
    }
    if !hasChunk(for: count, alignment, mobility) { return nil }
    var left = tries
    while mask != 0 {
      let tree = classTree(mobility, mask.trailingZeroBitCount)
      var next = tree.first
      while let block = next {
        let start = (block + firstBlock) << 9
        if alignment < 512 || start & (alignment - 1) == 0, let offset = findRun(block, count, min(alignment, 512)) {
          takeRun(block, offset, count)
          return start + offset
        }
        left -= 1
        if left == 0 { return nil }
        next = tree.next(from: block + 1)
      }
      mask &= mask - 1
    }
    return nil
  }

  /// Whether any bitmap has a chunk that a run of `count` frames cannot do without: an aligned chunk of a quarter of it, or, where
  /// the run is aligned to its size, of all of it.
  @inline(__always)
  private func hasChunk(for count: Int, _ alignment: Int, _ mobility: Int) -> Bool {
    let log = 63 - count.leadingZeroBitCount
    let order = alignment >= count && count & (count - 1) == 0 ? log : max(0, log - 1)
    for order in order..<9 where self.count(mobility, order) > 0 { return true }
    return false
  }

  /// Takes a whole block of mobility `from` apart for the request, and makes it one of mobility `as`.
  @inline(__always)
  private mutating func takeFresh(_ count: Int, _ alignment: Int, _ from: Int, as mobility: Int) -> Int? {
    guard let frame = alignment <= 512 ? takeChunk(9, from) : takeChunk(9, alignment: alignment, from) else {
      return nil
    }
    let block = frame >> 9 - firstBlock
    claim(block..<block + 1, mobility)
    takeRun(block, 0, count)
    return frame
  }

  /// From a partly used block of another mobility. The block becomes the request's own if at least half of it was free (Linux's
  /// `steal_suitable_fallback`), so that what follows gathers there.
  private mutating func stealPartial(_ count: Int, _ alignment: Int, _ from: Int, as mobility: Int) -> Int? {
    guard let frame = takePartial(count, alignment, from, tries: .max) else { return nil }
    let block = frame >> 9 - firstBlock
    if Int(used[block]) - count <= 256 { changeMobility(block, to: mobility) }
    if maximumBoost > 0 { watermarks.boost = min(watermarks.boost + Zone.blockFrames, maximumBoost) }
    return frame
  }

  /// A power of two of whole blocks, the tail beyond `count` given back at once.
  @inline(__always)
  private mutating func takeLarge(_ count: Int, _ alignment: Int, _ from: Int, as mobility: Int) -> Int? {
    let order = 64 - (count - 1).leadingZeroBitCount
    let taken = alignment <= 1 << order ? takeChunk(order, from) : takeChunk(order, alignment: alignment, from)
    guard let frame = taken else { return nil }
    let block = frame >> 9 - firstBlock
    claim(block..<block + (count + 511) >> 9, mobility)
    occupied.insert(block)
    if count < 1 << order { giveParts(frame + count, 1 << order - count) }
    return frame
  }

  /// What holds of blocks from the moment they leave the buddy system: their mobility, and that the host may hold their bytes.
  @inline(__always)
  private mutating func claim(_ blocks: Range<Int>, _ mobility: Int) {
    for block in blocks { setMobility(block, mobility) }
    discardableCount -= discardable.remove(blocks)
  }
}
