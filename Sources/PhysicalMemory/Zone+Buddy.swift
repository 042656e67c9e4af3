/// The buddy system over whole blocks: chunks of 2^9 to 2^20 frames, naturally aligned by frame number.
///
/// A free chunk lies in the tree of the mobility of its first block, so that whoever knows the chunk finds it.
extension Zone {
  @inline(__always)
  private func leaf(_ frame: Int, _ order: Int) -> Int { frame >> order - reach.lowerBound >> order }

  @inline(__always)
  func mobility(ofChunkAt frame: Int) -> Int { mobility(ofBlock: frame >> 9 - firstBlock) }

  /// Puts a free chunk into its tree, unmerged.
  @inline(__always)
  mutating func insertChunk(_ frame: Int, _ order: Int) { insertChunk(frame, order, mobility(ofChunkAt: frame)) }

  @inline(__always)
  private mutating func insertChunk(_ frame: Int, _ order: Int, _ mobility: Int) {
    buddyTree(mobility, order).insert(leaf(frame, order))
    unsafe buddyMask[unchecked: mobility] |= 1 << UInt16(order - 9)
    addChunks(mobility, order, 1)
  }

  @inline(__always)
  mutating func removeChunk(_ frame: Int, _ order: Int, _ mobility: Int) {
    buddyTree(mobility, order).remove(leaf(frame, order))
    countRemoved(order, mobility)
  }

  @inline(__always)
  private mutating func countRemoved(_ order: Int, _ mobility: Int) {
    addChunks(mobility, order, -1)
    if count(mobility, order) == 0 { unsafe buddyMask[unchecked: mobility] &= ~(1 << UInt16(order - 9)) }
  }

  /// Whether the chunk is free as it stands: not part of a larger one, not split.
  @inline(__always)
  func isFreeChunk(_ frame: Int, _ order: Int) -> Bool {
    let block = frame >> 9 - firstBlock
    // A chunk that begins before the zone can is never free as a whole.
    guard block >= 0, frame < reach.upperBound else { return false }
    return buddyTree(mobility(ofBlock: block), order).contains(leaf(frame, order))
  }

  /// Hands the zone whole blocks that it never had, the largest chunks that fit: they are movable, as all is at first, and merge with
  /// nothing. Metadata is written without being read, so that the host brings each page of it once.
  mutating func seedChunks(_ frames: Range<Int>) {
    var frame = frames.lowerBound
    while frame < frames.upperBound {
      let left = frames.upperBound - frame
      let order = min(largestOrder(at: frame), 63 - left.leadingZeroBitCount)
      let count = order == Zone.maximumOrder ? left >> order : 1
      let first = leaf(frame, order)
      buddyTree(1, order).seed(first..<first + count)
      unsafe buddyMask[unchecked: 1] |= 1 << UInt16(order - 9)
      addChunks(1, order, count)
      frame += count << order
    }
  }

  /// The order of the largest chunk that may begin at a frame.
  @inline(__always)
  func largestOrder(at frame: Int) -> Int {
    frame == 0 ? Zone.maximumOrder : min(frame.trailingZeroBitCount, Zone.maximumOrder)
  }

  /// Frees whole blocks that follow one another, merging them with their buddies as far as these are free. The free count is the caller's.
  ///
  /// Order by order from both ends inward: what lies between is never taken apart, so that a run costs little more than a block.
  mutating func giveChunks(_ frames: Range<Int>) {
    var (low, high) = (frames.lowerBound, frames.upperBound)
    var order = 9
    while order < Zone.maximumOrder, low < high {
      let size = 1 << order
      if low & size != 0 {
        if takeBuddy(low - size, of: low, order) {
          low -= size
        } else {
          insertChunk(low, order)
          low += size
        }
      }
      if high & size != 0, low < high {
        if takeBuddy(high, of: high - size, order) {
          high += size
        } else {
          high -= size
          insertChunk(high, order)
        }
      }
      order += 1
    }
    while low < high {
      insertChunk(low, order)
      low += 1 << order
    }
  }

  /// Takes a chunk out of its tree if it is free and may merge with one that is being freed; whether it did.
  @inline(__always)
  private mutating func takeBuddy(_ buddy: Int, of frame: Int, _ order: Int) -> Bool {
    let block = buddy >> 9 - firstBlock
    guard block >= 0, buddy < reach.upperBound else { return false }
    let mobility = mobility(ofBlock: block)
    let tree = buddyTree(mobility, order)
    let leaf = leaf(buddy, order)
    if !tree.contains(leaf) || !mayMerge(frame, buddy) { return false }
    tree.remove(leaf)
    countRemoved(order, mobility)
    return true
  }

  mutating func giveChunk(_ frame: Int, _ order: Int) { giveChunks(frame..<frame + 1 << order) }

  /// Takes a chunk of 2^order frames of the mobility: the lowest one of the smallest order that has any. nil where there is none.
  @inline(__always)
  mutating func takeChunk(_ order: Int, _ mobility: Int) -> Int? {
    let mask = unsafe buddyMask[unchecked: mobility] >> UInt16(order - 9)
    if mask == 0 { return nil }
    let from = order + mask.trailingZeroBitCount
    guard let leaf = buddyTree(mobility, from).first else { return nil }
    let frame = (leaf + reach.lowerBound >> from) << from
    removeChunk(frame, from, mobility)
    split(frame, from, to: order)
    return frame
  }

  /// Takes the first 2^order frames of a chunk whose number is a multiple of `alignment`, larger than the chunk asked for.
  ///
  /// - Complexity: O(free chunks) where none of an order that implies the alignment is free.
  mutating func takeChunk(_ order: Int, alignment: Int, _ mobility: Int) -> Int? {
    let natural = alignment.trailingZeroBitCount
    if natural <= Zone.maximumOrder, let frame = takeChunk(natural, mobility) {
      split(frame, natural, to: order)
      return frame
    }
    for from in order...Zone.maximumOrder where count(mobility, from) > 0 {
      let tree = buddyTree(mobility, from)
      var next = tree.next(from: 0)
      while let leaf = next {
        let frame = (leaf + reach.lowerBound >> from) << from
        if frame & (alignment - 1) == 0 {
          removeChunk(frame, from, mobility)
          split(frame, from, to: order)
          return frame
        }
        next = tree.next(from: leaf + 1)
      }
    }
    return nil
  }

  /// Returns all of a taken chunk but its first 2^order frames.
  @inline(__always)
  private mutating func split(_ frame: Int, _ from: Int, to order: Int) {
    var from = from
    while from > order {
      from -= 1
      insertChunk(frame + 1 << from, from)
    }
  }
}
