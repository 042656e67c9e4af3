/// Marsaglia's xorshift64: the same numbers for every subject.
public struct RandomNumbers {
  @usableFromInline var state: UInt64 = 88_172_645_463_325_252

  public init() {}

  @inlinable @inline(__always)
  public mutating func below(_ limit: Int) -> Int {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Int(truncatingIfNeeded: state.multipliedFullWidth(by: UInt64(limit)).high)
  }
}
