/// Reading a zone's structures. The caller holds the lock; `block` is an absolute number here.
extension Zone {
  /// Whether the block is taken apart.
  func usesBitmap(_ block: Int) -> Bool { used[block - firstBlock] != 0 }

  /// Whether the frame of a block that is taken apart is used.
  func isUsed(_ frame: Int) -> Bool {
    bits[(frame >> 9 - firstBlock) << 3 + (frame & 511) >> 6] >> UInt64(frame & 63) & 1 != 0
  }

  /// Whether no frame of the range, which lies in one block, is free.
  func isTaken(_ frame: Int, _ count: Int) -> Bool {
    if usesBitmap(frame >> 9) { return (frame..<frame + count).allSatisfy { isUsed($0) } }
    return !isInFreeChunk(frame)
  }

  /// Whether a free chunk of the buddy system holds the frame.
  func isInFreeChunk(_ frame: Int) -> Bool {
    (9...Zone.maximumOrder).contains { isFreeChunk((frame >> $0) << $0, $0) }
  }

  /// The first block from `block` on that is taken apart or begins a large allocation.
  func nextOccupied(from block: Int) -> Int? {
    occupied.next(from: max(0, block - firstBlock)).map { $0 + firstBlock }
  }

  struct Recount {
    /// Isolated ones included.
    var free = 0
    var isolated = 0
    var chunks = InlineArray<84, Int>(repeating: 0)
  }

  /// What the bitmaps and the buddy trees hold, counted anew. `report` gets a sentence for each structure that contradicts another.
  func recount(_ report: (String) -> Void) -> Recount {
    var found = Recount()
    for mobility in 0..<Zone.mobilities {
      for order in 9...Zone.maximumOrder {
        let tree = buddyTree(mobility, order)
        var next = tree.next(from: 0)
        while let leaf = next {
          let frame = (leaf + reach.lowerBound >> order) << order
          found.free += 1 << order
          if mobility == Zone.isolation { found.isolated += 1 << order }
          found.chunks[mobility * 21 + order] += 1
          if frame < start || frame + 1 << order > end {
            report("free chunk \(frame) of order \(order) reaches out of the zone")
          }
          if self.mobility(ofChunkAt: frame) != mobility { report("free chunk \(frame) is in the wrong tree") }
          let blocks = frame >> 9 - firstBlock..<(frame + 1 << order) >> 9 - firstBlock
          if order < 14, blocks.contains(where: { used[$0] != 0 }) {
            report("free chunk \(frame) is taken apart as well")
          }
          if order < Zone.maximumOrder, isFreeChunk(frame ^ 1 << order, order), mayMerge(frame, frame ^ 1 << order) {
            report("free chunk \(frame) is not merged with its buddy")
          }
          next = tree.next(from: leaf + 1)
        }
        if (count(mobility, order) != 0) != (buddyMask[mobility] >> UInt16(order - 9) & 1 != 0) {
          report("the mask of order \(order) is wrong")
        }
      }
    }
    var next = occupied.next(from: 0)
    while let block = next {
      if used[block] != 0 { recount(block, &found, report) }
      next = occupied.next(from: block + 1)
    }
    return found
  }

  private func recount(_ block: Int, _ found: inout Recount, _ report: (String) -> Void) {
    let taken = (0..<8).reduce(0) { $0 + bits[block << 3 + $1].nonzeroBitCount }
    if taken != Int(used[block]) {
      report("block \(block + firstBlock) counts \(used[block]) used frames, its bitmap says \(taken)")
    }
    let free = 512 - taken
    found.free += free
    let mobility = mobility(ofBlock: block)
    if mobility == Zone.isolation { found.isolated += free }
    let counts = chunkCounts(block)
    for order in 0..<9 { found.chunks[mobility * 21 + order] += counts[order] }
    for each in 0..<Zone.mobilities {
      for index in 0..<Zone.classes {
        let belongs = each == mobility && free > 0 && free < 512 && index == 63 - UInt64(free).leadingZeroBitCount
        if classTree(each, index).contains(block) != belongs {
          report("block \(block + firstBlock) is in the wrong class")
        }
      }
    }
  }
}
