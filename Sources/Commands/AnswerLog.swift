/// The outcomes of a handle's own lines: the last MiB of them, from the beginning of a line on.
///
/// Positions count from the first byte ever logged, so that they stay what they are when old bytes are dropped. A copy is a snapshot, and
/// costs nothing until one of the two changes.
public struct AnswerLog: Sendable {
  /// How many bytes are kept at least; up to twice as many lie in memory.
  public static let kept = 1 << 20

  private var bytes: [UInt8] = []
  /// The position of the first byte in memory.
  private var start = 0

  public init() {}

  /// The position behind the last byte.
  public var end: Int { start + bytes.count }

  /// The position of the first byte that a reader may see: where a line begins, unless the last is longer than what is kept.
  public var first: Int {
    let cut = end - Self.kept
    if cut <= 0 { return start }
    let place = cut - start
    if place > 0, bytes[place - 1] == 0x0A { return cut }
    guard let newline = bytes[place...].firstIndex(of: 0x0A), newline + 1 < bytes.count else { return cut }
    return start + newline + 1
  }

  public mutating func append(_ more: UnsafeRawBufferPointer) {
    unsafe bytes.append(contentsOf: more)
    if bytes.count > 2 * Self.kept {
      let dropped = bytes.count - Self.kept - 1
      bytes.removeFirst(dropped)
      start += dropped
    }
  }

  /// Copies what lies at `position`, or at the first that may be seen if that lies behind it; how many bytes that was, 0 at the end.
  public func copy(from position: Int, into target: UnsafeMutableRawBufferPointer) -> Int {
    let from = max(position, first)
    let length = min(end - from, target.count)
    guard length > 0 else { return 0 }
    unsafe bytes.withUnsafeBytes { source in
      // SAFETY: the range lies within the array, and was cut to the target's size.
      unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[(from - start)..<(from - start + length)]))
    }
    return length
  }
}
