internal import MemoryTypes
internal import SystemPackage

/// A word of a line and where it stands. It looks into the line's bytes, and lives no longer than they do: while the line is carried out.
@safe struct Token {
  /// Well-formed UTF-8, never empty but behind a key's `=`.
  let bytes: UnsafeRawBufferPointer
  /// The column of its first character, from 1.
  let column: Int

  init(_ bytes: UnsafeRawBufferPointer, column: Int) {
    unsafe self.bytes = unsafe bytes
    self.column = column
  }

  // SAFETY, here and below: the line outlives its tokens.
  var text: String { unsafe String(decoding: bytes, as: UTF8.self) }

  var isEmpty: Bool { unsafe bytes.isEmpty }

  static func == (token: Token, word: String) -> Bool {
    unsafe word.utf8.count == token.bytes.count && token.bytes.elementsEqual(word.utf8)
  }

  /// `"text" at column N`, cut to a length that a person reads.
  var quoted: String {
    let text = text
    let shown = text.unicodeScalars.count > 40 ? text.prefix(40) + "..." : text[...]
    return "\"\(shown)\" at column \(column)"
  }

  /// The key before the first `=`, and what stands behind it; nil where there is none.
  var split: (key: Token, value: Token)? {
    guard let equals = unsafe bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
    let key = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<equals])
    let value = unsafe UnsafeRawBufferPointer(rebasing: bytes[(equals + 1)...])
    let columns = unsafe key.count { $0 & 0xC0 != 0x80 }
    return unsafe (Token(key, column: column), Token(value, column: column + columns + 1))
  }
}

extension Token {
  /// The bytes in `range`, which begins and ends at characters.
  func part(_ range: Range<Int>) -> Token {
    let before = unsafe bytes[..<range.lowerBound].count { $0 & 0xC0 != 0x80 }
    return unsafe Token(UnsafeRawBufferPointer(rebasing: bytes[range]), column: column + before)
  }

  /// The parts between `separator`s, one at least.
  func parts(at separator: UInt8) -> [Token] {
    var parts: [Token] = []
    var start = 0
    let end = unsafe bytes.count
    for index in 0..<end where unsafe bytes[index] == separator {
      parts.append(part(start..<index))
      start = index + 1
    }
    return parts + [part(start..<end)]
  }
}

/// The words of a line, at spaces and tabs, one after the other.
@safe struct Tokens {
  private let line: UnsafeRawBufferPointer
  private var position = 0
  /// The characters before the position.
  private var columns = 0

  /// EINVAL for a byte that no line may hold: a control character, or what is no UTF-8.
  init(_ line: UnsafeRawBufferPointer) throws(Refusal) {
    unsafe self.line = unsafe line
    var ascii = true
    for index in 0..<line.count {
      let byte = unsafe line[index]
      if byte >= 0x80 {
        ascii = false
        break
      }
      if Self.isControl(byte) { throw Self.refusal(column: index + 1) }
    }
    if ascii { return }
    // What is ill-formed is repaired by U+FFFD, which no line holds otherwise.
    for (index, scalar) in unsafe String(decoding: line, as: UTF8.self).unicodeScalars.enumerated() {
      if scalar == "\u{FFFD}" || (scalar.isASCII && Self.isControl(UInt8(scalar.value))) {
        throw Self.refusal(column: index + 1)
      }
    }
  }

  mutating func next() -> Token? {
    while unsafe position < line.count && Self.isBlank(line[position]) {
      position += 1
      columns += 1
    }
    guard unsafe position < line.count else { return nil }
    let start = position
    let column = columns + 1
    while unsafe position < line.count {
      let byte = unsafe line[position]
      if Self.isBlank(byte) { break }
      // Bytes behind the first of a character's do not count as columns.
      if byte & 0xC0 != 0x80 { columns += 1 }
      position += 1
    }
    return unsafe Token(UnsafeRawBufferPointer(rebasing: line[start..<position]), column: column)
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
  private static func isControl(_ byte: UInt8) -> Bool {
    byte < 0x20 && byte != UInt8(ascii: "\t") || byte == 0x7F
  }
  private static func refusal(column: Int) -> Refusal {
    Refusal(.invalidArgument, "column \(column) holds a byte that is not text")
  }
}

extension Token {
  /// A number: decimal, or hexadecimal behind 0x, then at most one of K, M, G, T (2^10 to 2^40) in either case.
  /// EINVAL where it is none, ERANGE where 64 bits do not hold it.
  func number() throws(Refusal) -> UInt64 {
    var start = 0
    var end = unsafe bytes.count
    var radix: UInt64 = 10
    if end >= 2, unsafe bytes[0] == UInt8(ascii: "0"), unsafe bytes[1] | 0x20 == UInt8(ascii: "x") {
      start = 2
      radix = 16
    }
    let shift: UInt64
    switch end > start ? unsafe bytes[end - 1] | 0x20 : 0 {
    case UInt8(ascii: "k"): shift = 10
    case UInt8(ascii: "m"): shift = 20
    case UInt8(ascii: "g"): shift = 30
    case UInt8(ascii: "t"): shift = 40
    default: shift = 0
    }
    if shift > 0 { end -= 1 }
    var value: UInt64 = 0
    var overflows = false
    for index in start..<end {
      guard let digit = unsafe Self.digit(bytes[index]), digit < radix else { throw noNumber }
      let (product, first) = value.multipliedReportingOverflow(by: radix)
      let (sum, second) = product.addingReportingOverflow(digit)
      value = sum
      overflows = overflows || first || second
    }
    guard start < end else { throw noNumber }
    guard !overflows, (value << shift) >> shift == value else {
      throw Refusal(.outOfRange, "\(quoted) does not fit in 64 bits")
    }
    return value << shift
  }

  private var noNumber: Refusal {
    Refusal(.invalidArgument, "\(quoted) is no number (decimal, 0x hexadecimal, or with K, M, G, T)")
  }

  private static func digit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte - 0x30)
    case 0x41...0x46: UInt64(byte - 0x41 + 10)
    case 0x61...0x66: UInt64(byte - 0x61 + 10)
    default: nil
    }
  }
}
