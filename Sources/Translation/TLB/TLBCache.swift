/// One set-associative cache of translations, in memory that the MMU owns.
///
/// A tag says which page of which level under which stamp, see `CPUState.tag`; 0 is no entry. Beside each tag stands its word: the page's
/// physical address and, in its low bits, `PageFlags`.
@safe struct TLBCache {
  /// SAFETY: the MMU's mapping: for each set its ways, a tag and a word each. It lives as long as the MMU, as the next two.
  let pairs: UnsafeMutablePointer<UInt64>
  /// A byte of each tag, in which one look tells the ways of a set that may hold it: kept where a set has eight ways.
  let marks: UnsafeMutablePointer<UInt8>
  /// The way of each set that is given up next.
  let turns: UnsafeMutablePointer<UInt8>
  let setMask: UInt64
  let ways: Int

  static func bytes(_ geometry: TLBGeometry.Cache) -> Int { (geometry.entries * 17 + geometry.sets + 63) & ~63 }

  init(_ geometry: TLBGeometry.Cache, at memory: UnsafeMutableRawPointer) {
    unsafe pairs = unsafe memory.assumingMemoryBound(to: UInt64.self)
    unsafe marks = unsafe (memory + geometry.entries * 16).assumingMemoryBound(to: UInt8.self)
    unsafe turns = unsafe marks + geometry.entries
    setMask = UInt64(geometry.sets - 1)
    ways = geometry.ways
  }

  /// Eight bits of the number, above those that choose the set, and of the stamp.
  @inline(__always) static func mark(_ tag: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: tag &>> 27 ^ tag &>> 3) }

  /// The ways among eight whose mark is that of a tag, the high bit of a byte each; bytes above one that is set may be set for nothing.
  @inline(__always) static func ways(_ marks: UInt64, like tag: UInt64) -> UInt64 {
    let difference = marks ^ UInt64(mark(tag)) &* 0x0101_0101_0101_0101
    return (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
  }

  @inline(__always) private func set(_ number: UInt64) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: the masked number is a set of the mapping.
    unsafe pairs + Int(truncatingIfNeeded: number & setMask) &* (ways &* 2)
  }

  /// The word of the page with that number and tag; 0 for none.
  @inline(__always) func find(_ number: UInt64, tag: UInt64) -> UInt64 {
    // SAFETY: ways below `ways` are the set's.
    let set = unsafe set(number)
    var way = 0
    while way < ways {
      if unsafe set[way &* 2] == tag { return unsafe set[way &* 2 &+ 1] }
      way &+= 1
    }
    return 0
  }

  /// Puts an entry in that is not there.
  @inline(__always) func insert(_ number: UInt64, tag: UInt64, word: UInt64) {
    // SAFETY: the masked number is a set, whose victim is below `ways`.
    let place = Int(truncatingIfNeeded: number & setMask)
    let way = unsafe Int(turns[place])
    unsafe turns[place] = UInt8(truncatingIfNeeded: way &+ 1 == ways ? 0 : way &+ 1)
    let entry = place &* ways &+ way
    unsafe pairs[entry &* 2] = tag
    unsafe pairs[entry &* 2 &+ 1] = word
    if ways == 8 { unsafe marks[entry] = Self.mark(tag) }
  }

  /// Puts an entry in, over the same page's where there is one.
  func put(_ number: UInt64, tag: UInt64, word: UInt64) {
    let set = unsafe set(number)
    for way in 0..<ways where unsafe set[way * 2] == tag {
      unsafe set[way * 2 + 1] = word
      return
    }
    insert(number, tag: tag, word: word)
  }

  @inline(__always) func remove(_ number: UInt64, tag: UInt64) {
    // SAFETY: ways below `ways` are the set's.
    let set = unsafe set(number)
    var way = 0
    while way < ways {
      if unsafe set[way &* 2] == tag { unsafe set[way &* 2] = 0 }
      way &+= 1
    }
  }

  func removeAll() {
    for number in 0...setMask {
      let set = unsafe set(number)
      for way in 0..<ways { unsafe set[way * 2] = 0 }
    }
  }

  func forEach(_ body: (_ tag: UInt64, _ word: UInt64) -> Void) {
    for number in 0...setMask {
      let set = unsafe set(number)
      for way in 0..<ways where unsafe set[way * 2] != 0 { body(unsafe set[way * 2], unsafe set[way * 2 + 1]) }
    }
  }
}
