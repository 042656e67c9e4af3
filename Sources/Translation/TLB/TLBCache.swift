/// One set-associative cache of translations, in memory that the MMU owns.
///
/// A tag says which page of which level under which stamp, see `CPUState.tag`; 0 is no entry. Beside it stands a word with
/// the page's physical address and, in its low bits, `PageFlags`.
@safe struct TLBCache {
  /// SAFETY: the MMU's mapping, `ways * (setMask + 1)` words each; it lives as long as the MMU.
  private let tags: UnsafeMutablePointer<UInt64>
  private let words: UnsafeMutablePointer<UInt64>
  private let setMask: UInt64
  private let ways: Int
  /// The way that is given up next where a set is full: they take turns, over all sets.
  private var victim = 0

  static func bytes(_ geometry: TLBGeometry.Cache) -> Int { geometry.entries * 16 }

  init(_ geometry: TLBGeometry.Cache, at memory: UnsafeMutableRawPointer) {
    unsafe tags = unsafe memory.assumingMemoryBound(to: UInt64.self)
    unsafe words = unsafe tags + geometry.entries
    setMask = UInt64(geometry.sets - 1)
    ways = geometry.ways
  }

  @inline(__always) private func slot(_ number: UInt64) -> Int { Int(truncatingIfNeeded: number & setMask) &* ways }

  /// The word of the page with that number and tag; 0 for none.
  @inline(__always) func find(_ number: UInt64, tag: UInt64) -> UInt64 {
    let first = slot(number)
    for way in 0..<ways where unsafe tags[first &+ way] == tag {
      return unsafe words[first &+ way]
    }
    return 0
  }

  /// Puts an entry in, over the same page's, a free one, or the next victim.
  @inline(__always) mutating func insert(_ number: UInt64, tag: UInt64, word: UInt64) {
    let first = slot(number)
    var place = -1
    for way in 0..<ways {
      let found = unsafe tags[first &+ way]
      if found == tag {
        place = way
        break
      }
      if found == 0, place < 0 { place = way }
    }
    if place < 0 {
      victim = victim &+ 1 == ways ? 0 : victim &+ 1
      place = victim
    }
    unsafe tags[first &+ place] = tag
    unsafe words[first &+ place] = word
  }

  @inline(__always) func remove(_ number: UInt64, tag: UInt64) {
    let first = slot(number)
    for way in 0..<ways where unsafe tags[first &+ way] == tag {
      unsafe tags[first &+ way] = 0
    }
  }

  func removeAll() {
    for i in 0..<ways &* Int(setMask &+ 1) { unsafe tags[i] = 0 }
  }

  func forEach(_ body: (_ tag: UInt64, _ word: UInt64) -> Void) {
    for i in 0..<ways &* Int(setMask &+ 1) where unsafe tags[i] != 0 { body(unsafe tags[i], unsafe words[i]) }
  }
}
