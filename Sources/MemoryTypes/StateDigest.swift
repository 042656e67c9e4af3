/// A number that two states of a machine have in common if they are the same, and, but for one chance in 2^64, not otherwise.
///
/// Words are taken in order, each mixed in by a step that can be undone, so that states which differ in one word alone never agree. Not
/// for protection against somebody who wants two states to agree.
public struct StateDigest: Sendable {
  /// FNV's offset basis, so that no words at all are not 0.
  public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  public init() {}

  public mutating func add(_ word: UInt64) { mix(word) }
  public mutating func add(_ word: Int) { mix(UInt64(bitPattern: Int64(word))) }
  public mutating func add(_ flag: Bool) { mix(flag ? 1 : 0) }

  public mutating func add(_ text: String) {
    add(text.utf8.count)
    for byte in text.utf8 { add(UInt64(byte)) }
  }

  public mutating func add(_ numbers: some Sequence<UInt64>) { for number in numbers { add(number) } }
  public mutating func add(_ numbers: some Sequence<Int>) { for number in numbers { add(number) } }

  public mutating func add(_ words: UnsafeBufferPointer<UInt64>) {
    var index = 0
    // SAFETY: below the count.
    while index < words.count {
      mix(unsafe words[index])
      index += 1
    }
  }

  /// The multiplier is splitmix64's, odd as it has to be.
  @inline(__always) private mutating func mix(_ word: UInt64) {
    value = (value ^ word) &* 0xBF58_476D_1CE4_E5B9
    value ^= value >> 31
  }
}
