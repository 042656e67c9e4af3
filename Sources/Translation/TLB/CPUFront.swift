internal import MemoryTypes

/// What the common ways of an access read of a CPU and write: two cache lines, apart from the rest of its state.
///
/// It knows the same caches as `CPUState`, where they have the usual number of ways; else it knows empty ones, and every access takes the
/// general way.
@safe @usableFromInline struct CPUFront {
  /// `MMU.Shared.epoch` as of the last time that this CPU made up for what it had missed.
  @usableFromInline var epoch: UInt64 = 0
  /// What a tag of level 0 has besides the page's number, under the loaded space's stamp; `noTag` where none is loaded.
  @usableFromInline var userTag = Self.noTag
  /// SAFETY: sets of four tags and four words, `firstMask` + 1 of them.
  @usableFromInline let first: UnsafeMutablePointer<UInt64>
  @usableFromInline let firstMask: UInt64
  /// Hits in `first`: not in `CPUState.counters`.
  @usableFromInline var hits: UInt64 = 0

  /// SAFETY: sets of eight tags and eight words, `secondMask` + 1 of them.
  let second: UnsafeMutablePointer<UInt64>
  let secondMask: UInt64
  var secondHits: UInt64 = 0
  let firstTurns: UnsafeMutablePointer<UInt8>
  let secondTurns: UnsafeMutablePointer<UInt8>
  /// SAFETY: pairs of a tag and a word, `walkMask` + 1 of them: table entries of level 1.
  let walks: UnsafeMutablePointer<UInt64>
  let walkMask: UInt64
  /// As `userTag`, of a table entry of level 1.
  var userWalkTag = Self.noTag
  /// A leaf of level 0 that needs no bit set: its bits but for the address, and the flags that they mean.
  var knownBits = UInt64.max
  var knownFlags: UInt64 = 0
  /// Walks that began at a cached entry of level 1 and found a leaf like the last: not in `CPUState.counters`.
  var quickWalks: UInt64 = 0

  /// No tag ends so: it would be of level 6.
  static var noTag: UInt64 { 7 }

  init(first: TLBCache, second: TLBCache, walks: TLBCache, empty: UnsafeMutablePointer<UInt64>) {
    let isUsual = first.ways == 4 && second.ways == 8
    unsafe self.first = unsafe isUsual ? first.sets : empty
    firstMask = isUsual ? first.setMask : 0
    unsafe self.second = unsafe isUsual ? second.sets : empty
    secondMask = isUsual ? second.setMask : 0
    unsafe firstTurns = unsafe first.turns
    unsafe secondTurns = unsafe second.turns
    unsafe self.walks = unsafe isUsual ? walks.sets : empty
    walkMask = isUsual ? walks.setMask : 0
  }

  /// The word of a page in the first-level cache; 0 for none.
  @inlinable @inline(__always) func find(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: the masked number is a set of the cache.
    let set = unsafe first + Int(truncatingIfNeeded: (number & firstMask) &<< 3)
    // without branches that depend on where in the set the entry lies
    var way = 0
    way = unsafe set[1] == tag ? 1 : way
    way = unsafe set[2] == tag ? 2 : way
    way = unsafe set[3] == tag ? 3 : way
    return unsafe set[way] == tag ? set[way &+ 4] : 0
  }

  @inline(__always) mutating func insertFirst(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: the masked number is a set of the cache, whose turn is one of its ways.
    let place = Int(truncatingIfNeeded: number & firstMask)
    let turn = unsafe Int(firstTurns[place])
    unsafe firstTurns[place] = UInt8(truncatingIfNeeded: (turn &+ 1) & 3)
    let set = unsafe first + (place &<< 3 &+ turn)
    unsafe set[0] = tag
    unsafe set[4] = word
  }

  @inline(__always) func findSecond(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: the masked number is a set of the cache.
    let set = unsafe second + Int(truncatingIfNeeded: (number & secondMask) &<< 4)
    if unsafe set[0] == tag { return unsafe set[8] }
    if unsafe set[1] == tag { return unsafe set[9] }
    if unsafe set[2] == tag { return unsafe set[10] }
    if unsafe set[3] == tag { return unsafe set[11] }
    if unsafe set[4] == tag { return unsafe set[12] }
    if unsafe set[5] == tag { return unsafe set[13] }
    if unsafe set[6] == tag { return unsafe set[14] }
    if unsafe set[7] == tag { return unsafe set[15] }
    return 0
  }

  @inline(__always) mutating func insertSecond(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: as `insertFirst`.
    let place = Int(truncatingIfNeeded: number & secondMask)
    let turn = unsafe Int(secondTurns[place])
    unsafe secondTurns[place] = UInt8(truncatingIfNeeded: (turn &+ 1) & 7)
    let set = unsafe second + (place &<< 4 &+ turn)
    unsafe set[0] = tag
    unsafe set[8] = word
  }

  /// Forgets a page. What the caches of more than the usual ways hold is `CPUState`'s to forget.
  @inline(__always) func remove(_ number: UInt64, tag: UInt64) {
    // SAFETY: as `find` and `findSecond`.
    let set = unsafe first + Int(truncatingIfNeeded: (number & firstMask) &<< 3)
    for way in 0..<4 where unsafe set[way] == tag { unsafe set[way] = 0 }
    let further = unsafe second + Int(truncatingIfNeeded: (number & secondMask) &<< 4)
    for way in 0..<8 where unsafe further[way] == tag { unsafe further[way] = 0 }
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
