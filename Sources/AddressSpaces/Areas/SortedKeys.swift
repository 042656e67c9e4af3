/// Ascending keys, and samples of them, of which every search reads a few: a tree of 16 branches a node in one array.
///
/// No branch depends on a key, which no predictor could foresee: a wrong guess costs more than loads.
struct SortedKeys {
  /// Stands where no key is: above every key.
  static var none: UInt64 { .max }
  private static var branches: Int { 16 }

  private(set) var count = 0
  /// The root's samples first, each level 16 times as large as the one before, the last being the keys themselves. A sample is the last of 16
  /// keys below it. Behind the last key at least one is none.
  private var words = ContiguousArray(repeating: none, count: branches)
  private var depth = 1

  /// How many keys there is room for.
  private var capacity: Int { 1 << (4 * depth) }
  /// Where the keys begin.
  private var base: Int { words.count - capacity }

  subscript(_ index: Int) -> UInt64 { words[base + index] }

  mutating func replace(_ index: Int, by key: UInt64) {
    words[base + index] = key
    sample(from: index, to: index)
  }

  mutating func insert(_ key: UInt64, at index: Int) {
    if count + 1 == capacity { resize(depth + 1) }
    count += 1
    move(from: index, to: index + 1, count: count - 1 - index)
    words[base + index] = key
    sample(from: index, to: count - 1)
  }

  mutating func remove(at index: Int) {
    move(from: index + 1, to: index, count: count - 1 - index)
    count -= 1
    words[base + count] = Self.none
    sample(from: index, to: count)
    if depth > 1, count < capacity / 64 { resize(depth - 1) }
  }

  private mutating func move(from source: Int, to target: Int, count: Int) {
    let base = base
    // SAFETY: `count` keys from either place on lie in the array.
    unsafe words.withUnsafeMutableBufferPointer { words in
      let keys = unsafe words.baseAddress! + base
      unsafe (keys + target).update(from: keys + source, count: count)
    }
  }

  private mutating func resize(_ newDepth: Int) {
    let keys = words[base..<base + count]
    depth = newDepth
    let upper = (1..<newDepth).reduce(0) { $0 + 1 << (4 * $1) }
    words = ContiguousArray(repeating: Self.none, count: upper)
    words += keys
    words += repeatElement(Self.none, count: capacity - count)
    if count > 0 { sample(from: 0, to: count - 1) }
  }

  /// Makes the samples follow the keys of a range.
  private mutating func sample(from first: Int, to last: Int) {
    var (first, last, lower, size) = (first, last, base, capacity)
    while size > Self.branches {
      size /= Self.branches
      let upper = lower - size
      (first, last) = (first / Self.branches, last / Self.branches)
      for index in first...last { words[upper + index] = words[lower + index * Self.branches + Self.branches - 1] }
      lower = upper
    }
  }

  /// How many keys are not above `address`, which is below `none`.
  @inline(__always) func count(atOrBelow address: UInt64) -> Int {
    // SAFETY: a node has 16 words on each of the levels.
    unsafe words.withUnsafeBufferPointer { words in
      var level = words.baseAddress!
      var (index, size) = (0, Self.branches)
      for _ in 0..<depth {
        index = unsafe index &<< 4 | Self.count(atOrBelow: address, level + index &<< 4, steps: 4)
        unsafe level += size
        size &<<= 4
      }
      return index
    }
  }

  /// How many of `2^steps - 1` ascending keys are not above `key`.
  /// SAFETY: as many keys.
  @unsafe @inline(__always)
  static func count<Key: FixedWidthInteger>(atOrBelow key: Key, _ keys: UnsafePointer<Key>, steps: Int) -> Int {
    var below = 0
    var step = steps
    while step > 0 {
      step &-= 1
      // A shift and no choice: of that the compiler would make a branch.
      below |= unsafe (keys[below &+ 1 &<< step &- 1] <= key ? 1 : 0) &<< step
    }
    return below
  }
}
