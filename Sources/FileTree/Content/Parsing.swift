internal import SystemPackage

/// The index of the word that was written, a newline behind it or not (`sysfs_match_string`); EINVAL if it is none of them.
func choose(_ bytes: [UInt8], _ words: [String]) throws(Errno) -> Int {
  let text = String(decoding: bytes.last == 0x0A ? bytes.dropLast() : bytes[...], as: UTF8.self)
  guard let index = words.firstIndex(of: text) else { throw .invalidArgument }
  return index
}

/// The number that was written as `kstrtoull` with base `base` reads it: an optional plus sign, digits, at most one newline, and nothing
/// else. Base 0 takes 0x for 16 and 0 for 8. EINVAL for anything else, ERANGE for what `limit` does not hold.
func unsignedNumber(_ bytes: [UInt8], base: Int, limit: UInt64 = .max) throws(Errno) -> UInt64 {
  var digits = bytes[...]
  if digits.last == 0x0A { digits = digits.dropLast() }
  if digits.first == 0x2B { digits = digits.dropFirst() }
  var radix = base
  let hasPrefix = digits.count > 2 && digits.first == 0x30 && digits[digits.startIndex + 1] | 0x20 == 0x78
  if base == 0 { radix = hasPrefix ? 16 : digits.first == 0x30 ? 8 : 10 }
  if radix == 16, hasPrefix { digits = digits.dropFirst(2) }
  guard !digits.isEmpty else { throw .invalidArgument }
  var value: UInt64 = 0
  var overflows = false
  for byte in digits {
    let digit: UInt64
    switch byte {
    case 0x30...0x39: digit = UInt64(byte - 0x30)
    case 0x41...0x46: digit = UInt64(byte - 0x41 + 10)
    case 0x61...0x66: digit = UInt64(byte - 0x61 + 10)
    default: throw .invalidArgument
    }
    guard digit < UInt64(radix) else { throw .invalidArgument }
    let (product, first) = value.multipliedReportingOverflow(by: UInt64(radix))
    let (sum, second) = product.addingReportingOverflow(digit)
    value = sum
    overflows = overflows || first || second
  }
  guard !overflows, value <= limit else { throw .outOfRange }
  return value
}

/// A number of 32 bits with a sign as `kstrtoint(strstrip(...))` reads it. EINVAL for what is none, ERANGE for one that is too large.
func signedNumber(_ bytes: [UInt8], base: Int) throws(Errno) -> Int {
  func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) || byte == 0xA0 }
  var text = bytes.prefix { $0 != 0 }.drop(while: isBlank)
  while let last = text.last, isBlank(last) { text.removeLast() }
  guard text.first == UInt8(ascii: "-") else {
    return Int(try unsignedNumber(Array(text), base: base, limit: UInt64(Int32.max)))
  }
  text.removeFirst()
  guard text.first != UInt8(ascii: "+") else { throw .invalidArgument }
  return -Int(try unsignedNumber(Array(text), base: base, limit: UInt64(Int32.max) + 1))
}

/// A switch as `kstrtobool` reads it: by its first letter, or the second of `on` and `off`; EINVAL for anything else.
func switchValue(_ bytes: [UInt8]) throws(Errno) -> Bool {
  guard let first = bytes.first else { throw .invalidArgument }
  switch first {
  case UInt8(ascii: "y"), UInt8(ascii: "Y"), UInt8(ascii: "t"), UInt8(ascii: "T"), UInt8(ascii: "1"): return true
  case UInt8(ascii: "n"), UInt8(ascii: "N"), UInt8(ascii: "f"), UInt8(ascii: "F"), UInt8(ascii: "0"): return false
  case UInt8(ascii: "o"), UInt8(ascii: "O"):
    switch bytes.count > 1 ? bytes[1] | 0x20 : 0 {
    case UInt8(ascii: "n"): return true
    case UInt8(ascii: "f"): return false
    default: throw .invalidArgument
    }
  default: throw .invalidArgument
  }
}
