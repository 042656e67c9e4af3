/// One set-associative cache of translations, in memory that the MMU owns.
///
/// A tag says which page of which level under which stamp, see `CPUState.tag`; 0 is no entry. Beside the tags of a set stand its
/// words, each with the page's physical address and, in its low bits, `PageFlags`.
@safe struct TLBCache {
  /// SAFETY: the MMU's mapping: for each set its tags, then its words; behind all sets a byte a set. It lives as long as the MMU.
  let sets: UnsafeMutablePointer<UInt64>
  /// The way of each set that is given up next.
  let turns: UnsafeMutablePointer<UInt8>
  let setMask: UInt64
  let ways: Int

  static func bytes(_ geometry: TLBGeometry.Cache) -> Int { (geometry.entries * 16 + geometry.sets + 63) & ~63 }

  init(_ geometry: TLBGeometry.Cache, at memory: UnsafeMutableRawPointer) {
    unsafe sets = unsafe memory.assumingMemoryBound(to: UInt64.self)
    unsafe turns = unsafe (memory + geometry.entries * 16).assumingMemoryBound(to: UInt8.self)
    setMask = UInt64(geometry.sets - 1)
    ways = geometry.ways
  }

  @inline(__always) private func set(_ number: UInt64) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: the masked number is a set of the mapping.
    unsafe sets + Int(truncatingIfNeeded: number & setMask) &* (ways &* 2)
  }

  /// The word of the page with that number and tag; 0 for none.
  @inline(__always) func find(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: ways below `ways` are the set's.
    let set = unsafe set(number)
    var way = 0
    while way < ways {
      if unsafe set[way] == tag { return unsafe set[way &+ ways] }
      way &+= 1
    }
    return 0
  }

  /// Puts an entry in that is not there.
  @inline(__always) func insert(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: the masked number is a set, whose victim is below `ways`.
    let set = unsafe set(number)
    let turn = unsafe turns + Int(truncatingIfNeeded: number & setMask)
    let way = unsafe Int(turn.pointee)
    unsafe turn.pointee = UInt8(truncatingIfNeeded: way &+ 1 == ways ? 0 : way &+ 1)
    unsafe set[way] = tag
    unsafe set[way &+ ways] = word
  }

  /// Puts an entry in, over the same page's where there is one.
  func put(_ number: UInt64, tag: UInt64, word: UInt64) {
    let set = unsafe set(number)
    for way in 0..<ways where unsafe set[way] == tag {
      unsafe set[way &+ ways] = word
      return
    }
    insert(number, tag: tag, word: word)
  }

  @inline(__always) func remove(_ number: UInt64, tag: UInt64) {
    // SAFETY: ways below `ways` are the set's.
    let set = unsafe set(number)
    var way = 0
    while way < ways {
      if unsafe set[way] == tag { unsafe set[way] = 0 }
      way &+= 1
    }
  }

  func removeAll() {
    for number in 0...setMask {
      let set = unsafe set(number)
      for way in 0..<ways { unsafe set[way] = 0 }
    }
  }

  func forEach(_ body: (_ tag: UInt64, _ word: UInt64) -> Void) {
    for number in 0...setMask {
      let set = unsafe set(number)
      for way in 0..<ways where unsafe set[way] != 0 { body(unsafe set[way], unsafe set[way &+ ways]) }
    }
  }
}
