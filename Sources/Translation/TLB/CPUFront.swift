internal import MemoryTypes

/// What the common ways of an access read of a CPU and write, and what another CPU's shootdown of a page does: three cache lines, apart from
/// the rest of its state.
///
/// It knows the same caches as `CPUState`, where they have the usual number of ways; else it knows empty ones, and every access takes the
/// general way.
@safe @usableFromInline struct CPUFront {
  // The first line: what a hit reads, and what a request changes.
  /// `MMU.Shared.epoch` as of the last time that this CPU made up for what it had missed.
  @usableFromInline var epoch: UInt64 = 0
  /// What a tag of level 0 has besides the page's number, under the loaded space's stamp; `noTag` where none is loaded.
  @usableFromInline var userTag = Self.noTag
  /// SAFETY: sets of four pairs of a tag and a word, `firstMask` + 1 of them.
  @usableFromInline let first: UnsafeMutablePointer<UInt64>
  @usableFromInline let firstMask: UInt64
  /// Hits in `first`: not in `CPUState.counters`.
  @usableFromInline var hits: UInt64 = 0
  /// The loaded space's generation up to which this CPU has flushed.
  var seen: UInt64 = 0
  /// Levels of which entries may be cached, as a bit set.
  var cachedLevels: UInt64 = 0
  /// Requests by other CPUs to forget one page that were carried out: not in `CPUState.counters`.
  var requests: UInt64 = 0

  // The second line: what a miss reads besides.
  /// SAFETY: sets of eight pairs of a tag and a word, `secondMask` + 1 of them; a word of `TLBCache.marks` for each.
  let second: UnsafeMutablePointer<UInt64>
  let secondMarks: UnsafeMutablePointer<UInt64>
  let secondMask: UInt64
  let secondTurns: UnsafeMutablePointer<UInt8>
  /// SAFETY: pairs of a tag and a word, `walkMask` + 1 of them: table entries of level 1.
  let walks: UnsafeMutablePointer<UInt64>
  let walkMask: UInt64
  /// As `userTag`, of a table entry of level 1.
  var userWalkTag = Self.noTag
  var lastWalkStamp: UInt64 = 1

  let firstTurns: UnsafeMutablePointer<UInt8>
  var secondHits: UInt64 = 0
  /// A leaf of level 0 that needs no bit set: its bits but for the address, and the flags that they mean.
  var knownBits = UInt64.max
  var knownFlags: UInt64 = 0
  /// Walks that began at a cached entry of level 1 and found a leaf like the last: not in `CPUState.counters`.
  var quickWalks: UInt64 = 0
  /// Pages that this CPU alone had to forget, for itself: in no other counter, see `MMU.shootdowns`.
  var ownPages: UInt64 = 0
  /// `CPUState.context`.
  @usableFromInline var context = 0
  /// Fills the third line.
  private let rest: UInt64 = 0

  /// No tag ends so: it would be of level 6.
  static var noTag: UInt64 { 7 }

  init(first: TLBCache, second: TLBCache, walks: TLBCache, empty: UnsafeMutablePointer<UInt64>) {
    let isUsual = first.ways == 4 && second.ways == 8
    unsafe self.first = unsafe isUsual ? first.pairs : empty
    firstMask = isUsual ? first.setMask : 0
    unsafe self.second = unsafe isUsual ? second.pairs : empty
    unsafe secondMarks =
      unsafe isUsual ? UnsafeMutableRawPointer(second.marks).assumingMemoryBound(to: UInt64.self) : empty
    secondMask = isUsual ? second.setMask : 0
    unsafe firstTurns = unsafe first.turns
    unsafe secondTurns = unsafe second.turns
    unsafe self.walks = unsafe isUsual ? walks.pairs : empty
    walkMask = isUsual ? walks.setMask : 0
  }

  /// The word of a page in the first-level cache; 0 for none.
  @inlinable @inline(__always) func find(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: the masked number is a set of the cache.
    let set = unsafe first + Int(truncatingIfNeeded: (number & firstMask) &<< 3)
    // without branches that depend on where in the set the entry lies
    var way = 0
    way = unsafe set[2] == tag ? 2 : way
    way = unsafe set[4] == tag ? 4 : way
    way = unsafe set[6] == tag ? 6 : way
    return unsafe set[way] == tag ? set[way &+ 1] : 0
  }

  @inline(__always) func insertFirst(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: the masked number is a set of the cache, whose turn is one of its ways.
    let place = Int(truncatingIfNeeded: number & firstMask)
    let turn = unsafe Int(firstTurns[place])
    unsafe firstTurns[place] = UInt8(truncatingIfNeeded: (turn &+ 1) & 3)
    let pair = unsafe first + (place &<< 3 &+ turn &<< 1)
    unsafe pair[0] = tag
    unsafe pair[1] = word
  }

  @inline(__always) func findSecond(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: the masked number is a set of the cache, a way below 8.
    let place = Int(truncatingIfNeeded: number & secondMask)
    var ways = unsafe TLBCache.ways(secondMarks[place], like: tag)
    while ways != 0 {
      let pair = unsafe second + (place &<< 4 &+ (ways.trailingZeroBitCount &>> 3) &<< 1)
      if unsafe pair[0] == tag { return unsafe pair[1] }
      ways &= ways &- 1
    }
    return 0
  }

  @inline(__always) func insertSecond(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: as `insertFirst`.
    let place = Int(truncatingIfNeeded: number & secondMask)
    let turn = unsafe Int(secondTurns[place])
    unsafe secondTurns[place] = UInt8(truncatingIfNeeded: (turn &+ 1) & 7)
    let way = place &<< 3 &+ turn
    unsafe UnsafeMutableRawPointer(secondMarks).storeBytes(of: TLBCache.mark(tag), toByteOffset: way, as: UInt8.self)
    let pair = unsafe second + way &<< 1
    unsafe pair[0] = tag
    unsafe pair[1] = word
  }

  /// Forgets a page. What the caches of more than the usual ways hold is `CPUState`'s to forget.
  @inline(__always) func remove(_ number: UInt64, tag: UInt64) {
    // SAFETY: as `find` and `findSecond`.
    let set = unsafe first + Int(truncatingIfNeeded: (number & firstMask) &<< 3)
    if unsafe set[0] == tag { unsafe set[0] = 0 }
    if unsafe set[2] == tag { unsafe set[2] = 0 }
    if unsafe set[4] == tag { unsafe set[4] = 0 }
    if unsafe set[6] == tag { unsafe set[6] = 0 }
    let place = Int(truncatingIfNeeded: number & secondMask)
    var ways = unsafe TLBCache.ways(secondMarks[place], like: tag)
    while ways != 0 {
      let pair = unsafe second + (place &<< 4 &+ (ways.trailingZeroBitCount &>> 3) &<< 1)
      if unsafe pair[0] == tag { unsafe pair[0] = 0 }
      ways &= ways &- 1
    }
  }
}

/// What an access wants of the flags in a cached word: all of `needed`, none of the rest of `looked`.
@usableFromInline struct Demand {
  @usableFromInline var looked: UInt64
  @usableFromInline var needed: UInt64

  @inlinable @inline(__always) init(_ kind: AccessKind, user: Bool) {
    let own: UInt64 = user ? 1 << 2 : 0  // USER
    switch kind {
    case .read: (looked, needed) = (own, own)
    case .write: (looked, needed) = (own | 1 << 1 | 1 << 4, own | 1 << 1 | 1 << 4)  // WRITABLE, DIRTY
    case .execute: (looked, needed) = (1 << 2 | 1 << 3, own | 1 << 3)  // EXECUTABLE, and by the kernel not USER
    }
  }

  @inlinable @inline(__always) func isMet(by word: UInt64) -> Bool { word & looked == needed }
}
