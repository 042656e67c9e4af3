internal import SystemPackage

/// The text of `/proc/sys`, as kernel/sysctl.c reads it (`proc_get_long` and who calls it, Linux 6.1).
struct SysctlText {
  private let bytes: [UInt8]
  /// How many bytes have been taken.
  private(set) var taken = 0

  /// What is beyond a page less one byte is not looked at.
  init(_ bytes: [UInt8]) { self.bytes = Array(bytes.prefix(4095)) }

  struct Number {
    var isNegative: Bool
    var magnitude: UInt64
  }

  var isAtEnd: Bool { taken == bytes.count }

  /// isspace(3)
  mutating func skipSpaces() {
    while taken < bytes.count, bytes[taken] == 0x20 || (0x09...0x0D).contains(bytes[taken]) { taken += 1 }
  }

  /// The next number, which a blank, a tab, a newline or the end follows: decimal, octal behind a 0, hexadecimal behind 0x, at most twenty
  /// characters. EINVAL, and nothing taken, for anything else and for what 64 bits do not hold.
  mutating func number() throws(Errno) -> Number {
    // The kernel copies 21 characters, and takes a number that fills them for one that may go on.
    let part = bytes[taken...].prefix(21)
    var rest = part
    let isNegative = rest.first == UInt8(ascii: "-") && rest.count > 1
    if isNegative { rest = rest.dropFirst() }
    guard let first = rest.first, (0x30...0x39).contains(first) else { throw .invalidArgument }
    var radix: UInt64 = 10
    if first == 0x30 {
      radix = 8
      let second = rest.dropFirst()
      if let x = second.first, x | 0x20 == UInt8(ascii: "x"), let digit = second.dropFirst().first,
        Self.value(digit) < 16
      {
        radix = 16
        rest = rest.dropFirst(2)
      }
    }
    var magnitude: UInt64 = 0
    while let byte = rest.first, Self.value(byte) < radix {
      let (product, over) = magnitude.multipliedReportingOverflow(by: radix)
      let (sum, carry) = product.addingReportingOverflow(Self.value(byte))
      guard !over, !carry else { throw .invalidArgument }
      magnitude = sum
      rest = rest.dropFirst()
    }
    let length = rest.startIndex - part.startIndex
    guard length < 21 else { throw .invalidArgument }
    if let next = bytes[(taken + length)...].first, next != 0x20, next != 0x09, next != 0x0A { throw .invalidArgument }
    taken += length
    return Number(isNegative: isNegative, magnitude: magnitude)
  }

  /// The digit's value; 255 if it is none of any radix.
  private static func value(_ byte: UInt8) -> UInt64 {
    switch byte {
    case 0x30...0x39: UInt64(byte - 0x30)
    case 0x41...0x46: UInt64(byte - 0x41 + 10)
    case 0x61...0x66: UInt64(byte - 0x61 + 10)
    default: 255
    }
  }
}

extension SysctlText.Number {
  /// As a number of 32 bits with a sign in the range; EINVAL where it is not.
  func signed(in range: ClosedRange<Int>) throws(Errno) -> Int {
    guard magnitude <= 1 << 31 else { throw .invalidArgument }
    let value = isNegative ? -Int(magnitude) : Int(magnitude)
    guard range.contains(value), value <= Int(Int32.max) else { throw .invalidArgument }
    return value
  }

  /// As a number of 64 bits without a sign in the range, as a bit pattern; EINVAL where it is not.
  func unsigned(in range: ClosedRange<UInt64>) throws(Errno) -> Int {
    guard !isNegative, range.contains(magnitude) else { throw .invalidArgument }
    return Int(truncatingIfNeeded: magnitude)
  }
}
