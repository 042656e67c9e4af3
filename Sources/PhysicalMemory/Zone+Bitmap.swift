/// The bitmaps of blocks that are taken apart. `block` counts from the zone's first, `offset` is 0 to 511.
extension Zone {
  /// Whether the naturally aligned group of 2^order frames at `offset` is free. Order 0 to 9.
  @inline(__always)
  func isFreeGroup(_ block: Int, _ offset: Int, _ order: Int) -> Bool {
    let word = block << 3 + offset >> 6
    if order < 6 {
      return bits[word] & ((1 << (1 << UInt64(order)) - 1) << UInt64(offset & 63)) == 0
    }
    for index in word..<(word + 1 << (order - 6)) where bits[index] != 0 { return false }
    return true
  }

  @inline(__always)
  private func setGroup(_ block: Int, _ offset: Int, _ order: Int) {
    let word = block << 3 + offset >> 6
    if order < 6 {
      bits[word] |= (1 << (1 << UInt64(order)) - 1) << UInt64(offset & 63)
    } else {
      for index in word..<(word + 1 << (order - 6)) { bits[index] = ~0 }
    }
  }

  @inline(__always)
  private func clearGroup(_ block: Int, _ offset: Int, _ order: Int) {
    let word = block << 3 + offset >> 6
    if order < 6 {
      bits[word] &= ~((1 << (1 << UInt64(order)) - 1) << UInt64(offset & 63))
    } else {
      for index in word..<(word + 1 << (order - 6)) { bits[index] = 0 }
    }
  }

  /// Marks a free group used and keeps the counts of chunks: the free chunk that held it is split down to it.
  ///
  /// The whole block is taken from the buddy system before its first group is.
  @inline(__always)
  private mutating func takeGroup(_ block: Int, _ offset: Int, _ order: Int, _ mobility: Int) {
    var chunk = order
    while chunk < 9, isFreeGroup(block, offset & ~(2 << chunk - 1), chunk + 1) { chunk += 1 }
    if chunk < 9 { addChunks(mobility, chunk, -1) }
    for half in order..<chunk { addChunks(mobility, half, 1) }
    setGroup(block, offset, order)
  }

  /// Marks a used group free and merges it, in the counts, with the free groups beside it; true if the whole block is free now.
  @inline(__always)
  private mutating func giveGroup(_ block: Int, _ offset: Int, _ order: Int, _ mobility: Int) -> Bool {
    clearGroup(block, offset, order)
    var chunk = order
    var offset = offset
    while chunk < 9, isFreeGroup(block, offset ^ 1 << chunk, chunk) {
      addChunks(mobility, chunk, -1)
      offset &= ~(1 << chunk)
      chunk += 1
    }
    if chunk == 9 { return true }
    addChunks(mobility, chunk, 1)
    return false
  }

  /// Puts a block that has `free` free frames into its class; none with 0 or 512.
  @inline(__always)
  private mutating func enterClass(_ block: Int, free: Int, _ mobility: Int) {
    if free == 0 || free == 512 { return }
    let index = 63 - UInt64(free).leadingZeroBitCount
    classTree(mobility, index).insert(block)
    unsafe classMask[unchecked: mobility] |= 1 << UInt16(index)
  }

  @inline(__always)
  private mutating func leaveClass(_ block: Int, free: Int, _ mobility: Int) {
    if free == 0 || free == 512 { return }
    let index = 63 - UInt64(free).leadingZeroBitCount
    let tree = classTree(mobility, index)
    tree.remove(block)
    if tree.first == nil { unsafe classMask[unchecked: mobility] &= ~(1 << UInt16(index)) }
  }

  /// Moves a block between classes as its free frames go from `old` to `new`.
  @inline(__always)
  private mutating func changeClass(_ block: Int, _ old: Int, _ new: Int, _ mobility: Int) {
    if old != 0, new != 0, UInt64(old).leadingZeroBitCount == UInt64(new).leadingZeroBitCount { return }
    leaveClass(block, free: old, mobility)
    enterClass(block, free: new, mobility)
  }

  /// Takes `count` frames from `offset` on, all free, of a block that is taken apart, or that the buddy system has just given up.
  @inline(__always)
  mutating func takeRun(_ block: Int, _ offset: Int, _ count: Int) {
    let mobility = mobility(ofBlock: block)
    let before = Int(used[block])
    if before == 0 { occupied.insert(block) }
    var offset = offset
    var left = count
    while left > 0 {
      let order = min((offset | 512).trailingZeroBitCount, 63 - left.leadingZeroBitCount)
      takeGroup(block, offset, order, mobility)
      offset += 1 << order
      left -= 1 << order
    }
    used[block] = UInt16(truncatingIfNeeded: before + count)
    changeClass(block, 512 - before, 512 - before - count, mobility)
  }

  /// Takes a block apart whose frames are all used, so that parts of it can be given: the edge of a zone, the tail of a large allocation.
  mutating func takeApartUsed(_ block: Int) {
    for word in block << 3..<block << 3 + 8 { bits[word] = ~0 }
    used[block] = 512
    occupied.insert(block)
  }

  /// Gives back `count` used frames from `offset` on; the block itself, where these were its last.
  @inline(__always)
  mutating func giveRun(_ block: Int, _ offset: Int, _ count: Int) {
    let mobility = mobility(ofBlock: block)
    let before = Int(used[block])
    var offset = offset
    var left = count
    while left > 0 {
      let order = min((offset | 512).trailingZeroBitCount, 63 - left.leadingZeroBitCount)
      _ = giveGroup(block, offset, order, mobility)
      offset += 1 << order
      left -= 1 << order
    }
    used[block] = UInt16(truncatingIfNeeded: before - count)
    changeClass(block, 512 - before, 512 - before + count, mobility)
    if before == count {
      occupied.remove(block)
      noteDiscardable(block..<block + 1)
      giveChunk((block + firstBlock) << 9, 9)
    }
  }

  /// The first of `count` free frames in the block whose offset is a multiple of `alignment`; nil where there are none.
  @inline(__always)
  func findRun(_ block: Int, _ count: Int, _ alignment: Int) -> Int? {
    let first = block << 3
    if count == 1, alignment == 1 {
      for word in 0..<8 {
        let free = ~bits[first + word]
        if free != 0 { return word << 6 | free.trailingZeroBitCount }
      }
      return nil
    }
    var offset = nextOffset(first, from: 0, inverted: true)
    while true {
      offset = (offset + alignment - 1) & ~(alignment - 1)
      if offset + count > 512 { return nil }
      let end = nextOffset(first, from: offset, inverted: false)
      if end - offset >= count { return offset }
      offset = nextOffset(first, from: end, inverted: true)
    }
  }

  /// The first free frames of the block that follow one another, at most so many; nil where there are none.
  func firstRun(_ block: Int, upTo most: Int) -> Range<Int>? {
    let first = nextOffset(block << 3, from: 0, inverted: true)
    if first == 512 { return nil }
    return first..<min(first + most, nextOffset(block << 3, from: first, inverted: false))
  }

  /// The first offset from `from` on that is used, or, inverted, free; 512 where there is none.
  @inline(__always)
  private func nextOffset(_ first: Int, from: Int, inverted: Bool) -> Int {
    if from >= 512 { return 512 }
    let flip: UInt64 = inverted ? ~0 : 0
    var word = from >> 6
    var found = (bits[first + word] ^ flip) & (~0 << UInt64(from & 63))
    while found == 0 {
      word += 1
      if word == 8 { return 512 }
      found = bits[first + word] ^ flip
    }
    return word << 6 | found.trailingZeroBitCount
  }

  /// Moves a block that is taken apart to another mobility: its class, and its free chunks in the counts.
  mutating func changeMobility(_ block: Int, to mobility: Int) {
    let old = self.mobility(ofBlock: block)
    let free = 512 - Int(used[block])
    leaveClass(block, free: free, old)
    let counts = chunkCounts(block)
    for order in 0..<9 {
      addChunks(old, order, -counts[order])
      addChunks(mobility, order, counts[order])
    }
    setMobility(block, mobility)
    enterClass(block, free: free, mobility)
  }

  @inline(__always)
  mutating func setMobility(_ block: Int, _ mobility: Int) {
    let old = self.mobility(ofBlock: block)
    if old == mobility { return }
    blockMobility[block] = UInt8(truncatingIfNeeded: mobility ^ 1)
    if old != 1 { unsafe strangeBlocks[unchecked: old] &-= 1 }
    if mobility != 1 { unsafe strangeBlocks[unchecked: mobility] &+= 1 }
  }

  /// How many free chunks of each order 0 to 8 the block's bitmap has.
  func chunkCounts(_ block: Int) -> InlineArray<9, Int> {
    var counts = InlineArray<9, Int>(repeating: 0)
    var offset = 0
    while offset < 512 {
      var order = min((offset | 512).trailingZeroBitCount, 8)
      while order >= 0, !isFreeGroup(block, offset, order) { order -= 1 }
      if order < 0 {
        offset += 1
      } else {
        counts[order] += 1
        offset += 1 << order
      }
    }
    return counts
  }
}
