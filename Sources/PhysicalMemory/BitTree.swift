/// Where the levels of a 64-way tree of bits lie, the same for all trees over as many leaves.
struct BitTreeShape: Sendable {
  let leaves: Int
  /// 1 to 5: the last has one word.
  let levels: Int
  /// The first word of each level, from the leaves up.
  let offsets: InlineArray<5, Int>
  /// Words that a tree takes, those of the leaves first.
  let words: Int
  /// Whether the words of the leaves lie backward: from where the tree has its base downward.
  var isMirrored = false
  var leafWords: Int { (leaves + 63) >> 6 }
  /// Words of the levels above the leaves'.
  var upperWords: Int { words - leafWords }

  /// Traps above 2^30 leaves (2 PiB of 2 MiB blocks).
  init(leaves: Int) {
    precondition(leaves > 0 && leaves <= 1 << 30)
    var offsets = InlineArray<5, Int>(repeating: 0)
    var levels = 0
    var words = 0
    var entries = leaves
    repeat {
      entries = (entries + 63) >> 6
      offsets[levels] = words
      words += entries
      levels += 1
    } while entries > 1
    self.leaves = leaves
    self.levels = levels
    self.offsets = offsets
    self.words = words
  }
}

/// A set of small integers: a bit for each, and above every 64 bits one that says whether any of them is set.
///
/// All operations cost the number of levels at most (3 up to 512 GiB of blocks). Zeroed memory is the empty set.
@safe struct BitTree {
  let words: HostArray<UInt64>
  /// Where the words of the leaves begin; of a mirrored tree, where they end.
  let base: Int
  /// 0; of a mirrored tree ~0, which makes the first word the last and so on.
  private let flip: Int
  /// Where those of the levels above would begin if the leaves' were in front of them: trees share few pages at the top, and none below.
  let upper: Int
  /// SAFETY: the zone's, which outlives the trees that it makes. Not a copy: a tree is made wherever one is looked at.
  let shape: UnsafePointer<BitTreeShape>

  /// `upper`: where the words of the levels above the leaves' begin.
  @inline(__always)
  init(words: HostArray<UInt64>, base: Int, upper: Int, shape: UnsafePointer<BitTreeShape>) {
    self.words = words
    self.base = base
    flip = unsafe shape.pointee.isMirrored ? ~0 : 0
    self.upper = unsafe upper - shape.pointee.leafWords
    unsafe self.shape = unsafe shape
  }

  @inline(__always)
  private var levels: Int { unsafe shape.pointee.levels }

  @inline(__always)
  private func index(_ level: Int, _ word: Int) -> Int {
    unsafe level == 0 ? place(word) : upper + shape.pointee.offsets[unchecked: level] + word
  }

  /// Where a word of the leaves lies.
  @inline(__always)
  private func place(_ word: Int) -> Int { base + (word ^ flip) }

  @inline(__always)
  func contains(_ leaf: Int) -> Bool { words[place(leaf >> 6)] >> UInt64(leaf & 63) & 1 != 0 }

  @inline(__always)
  func insert(_ leaf: Int) {
    let at = place(leaf >> 6)
    let old = words[at]
    words[at] = old | 1 << UInt64(leaf & 63)
    if old == 0 { insertAbove(leaf >> 6) }
  }

  /// A word of the leaves has got its first element.
  private func insertAbove(_ word: Int) {
    var position = word
    for level in 1..<max(1, levels) {
      let at = index(level, position >> 6)
      let old = words[at]
      words[at] = old | 1 << UInt64(position & 63)
      if old != 0 { return }
      position >>= 6
    }
  }

  @inline(__always)
  func remove(_ leaf: Int) {
    let at = place(leaf >> 6)
    let new = words[at] & ~(1 << UInt64(leaf & 63))
    words[at] = new
    if new == 0 { removeAbove(leaf >> 6) }
  }

  /// A word of the leaves has lost its last element.
  private func removeAbove(_ word: Int) {
    var position = word
    for level in 1..<max(1, levels) {
      let at = index(level, position >> 6)
      let new = words[at] & ~(1 << UInt64(position & 63))
      words[at] = new
      if new != 0 { return }
      position >>= 6
    }
  }

  /// The bits of a word of the leaves that are of a range.
  @inline(__always)
  private func mask(_ leaves: Range<Int>, _ word: Int) -> UInt64 {
    let low = UInt64(max(leaves.lowerBound - word << 6, 0))
    let high = UInt64(min(leaves.upperBound - word << 6, 64))
    return (~0 &<< low) & (~0 &>> (64 &- high))
  }

  /// Inserts all of a range that is not empty; how many of it were not there.
  func insert(_ leaves: Range<Int>) -> Int {
    var new = 0
    for word in leaves.lowerBound >> 6...(leaves.upperBound - 1) >> 6 {
      let bits = mask(leaves, word)
      let old = words[place(word)]
      words[place(word)] = old | bits
      new &+= (bits & ~old).nonzeroBitCount
      if old == 0 { insertAbove(word) }
    }
    return new
  }

  /// Removes all of a range that is not empty; how many of it were there.
  func remove(_ leaves: Range<Int>) -> Int {
    var gone = 0
    for word in leaves.lowerBound >> 6...(leaves.upperBound - 1) >> 6 {
      let old = words[place(word)]
      let bits = old & mask(leaves, word)
      if bits == 0 { continue }
      words[place(word)] = old ^ bits
      gone &+= bits.nonzeroBitCount
      if old == bits { removeAbove(word) }
    }
    return gone
  }

  /// Inserts all of a range into what was never read, and is not read here, 64 at a time.
  func seed(_ leaves: Range<Int>) {
    var (first, last) = (leaves.lowerBound, leaves.upperBound - 1)
    for level in 0..<levels where first <= last {
      for word in first >> 6...last >> 6 {
        let low = UInt64(word == first >> 6 ? first & 63 : 0)
        let high = UInt64(word == last >> 6 ? last & 63 : 63)
        words[index(level, word)] |= (~0 << low) & (~0 >> (63 - high))
      }
      (first, last) = (first >> 6, last >> 6)
    }
  }

  /// The smallest element.
  @inline(__always)
  var first: Int? {
    var position = 0
    for level in stride(from: levels - 1, through: 0, by: -1) {
      let word = words[index(level, position)]
      if word == 0 { return nil }
      position = position << 6 | word.trailingZeroBitCount
    }
    return position
  }

  /// The first number from an element on that is none.
  func end(ofRunFrom leaf: Int) -> Int {
    var end = leaf
    while unsafe end < shape.pointee.leaves {
      let ones = (~(words[place(end >> 6)] >> UInt64(end & 63))).trailingZeroBitCount
      end += ones
      if ones == 0 || end & 63 != 0 { break }
    }
    return end
  }

  /// The smallest element that is `leaf` or above.
  func next(from leaf: Int) -> Int? {
    var position = leaf
    for level in 0..<levels {
      // On each level: the rest of the word at hand, then one level up for what lies behind it.
      if unsafe position >> 6 > (shape.pointee.leaves - 1) >> (6 * (level + 1)) { return nil }
      let word = words[index(level, position >> 6)] & (~0 << UInt64(position & 63))
      if word != 0 {
        position = position & ~63 | word.trailingZeroBitCount
        for below in stride(from: level - 1, through: 0, by: -1) {
          position = position << 6 | words[index(below, position)].trailingZeroBitCount
        }
        return position
      }
      position = position >> 6 + 1
    }
    return nil
  }
}
