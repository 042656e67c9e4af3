/// Numbers as people write them: decimal, `0x` hexadecimal, and behind either a suffix K, M, G or T of powers of 1024.
enum Quantity {
  /// - Returns: `nil` where it is malformed or exceeds 64 bits.
  static func parse(_ text: some StringProtocol) -> UInt64? {
    var digits = Substring(text)
    var shift: UInt64 = 0
    switch digits.last {
    case "K", "k": shift = 10
    case "M", "m": shift = 20
    case "G", "g": shift = 30
    case "T", "t": shift = 40
    default: break
    }
    if shift > 0 { digits.removeLast() }
    let hexadecimal = digits.hasPrefix("0x") || digits.hasPrefix("0X")
    if hexadecimal { digits.removeFirst(2) }
    guard let first = digits.unicodeScalars.first, first != "+", first != "-",
      let number = UInt64(digits, radix: hexadecimal ? 16 : 10), number <= UInt64.max >> shift
    else { return nil }
    return number << shift
  }

  /// The shortest exact way to write a size: the largest suffix that divides it.
  static func print(_ bytes: UInt64) -> String {
    for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
    where bytes > 0 && bytes % (1 << UInt64(shift)) == 0 {
      return "\(bytes >> UInt64(shift))\(suffix)"
    }
    return "\(bytes)"
  }

  static func hexadecimal(_ number: UInt64) -> String { "0x" + String(number, radix: 16) }
}
