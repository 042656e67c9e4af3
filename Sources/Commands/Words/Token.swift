internal import MemoryTypes
internal import SystemPackage

/// A word of a line and where it stands.
struct Token {
  var text: Substring
  /// The column of its first character, from 1.
  var column: Int
}

extension Token {
  /// The line's words, at spaces and tabs. EINVAL for a byte that no line may hold.
  static func split(_ line: String) throws(Refusal) -> [Token] {
    var tokens: [Token] = []
    var start: String.Index?
    var column = 0
    var startColumn = 0
    let bytes = line.utf8
    var index = bytes.startIndex
    while index < bytes.endIndex {
      let byte = bytes[index]
      // Bytes behind the first of a character's do not count as columns.
      if byte & 0xC0 != 0x80 { column += 1 }
      if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
        if let begun = start { tokens.append(Token(text: line[begun..<index], column: startColumn)) }
        start = nil
      } else if byte < 0x20 || byte == 0x7F || (byte == 0xEF && line.unicodeScalars[index] == "\u{FFFD}") {
        throw Refusal(.invalidArgument, "column \(column) holds a byte that is not text")
      } else if start == nil {
        start = index
        startColumn = column
      }
      index = bytes.index(after: index)
    }
    if let begun = start { tokens.append(Token(text: line[begun...], column: startColumn)) }
    return tokens
  }

  /// `"text" at column N`, cut to a length that a person reads.
  var quoted: String {
    let shown = text.unicodeScalars.count > 40 ? text.prefix(40) + "..." : text
    return "\"\(shown)\" at column \(column)"
  }

  /// The part behind the first `characters`.
  func dropping(_ characters: Int) -> Token {
    Token(text: text.dropFirst(characters), column: column + characters)
  }

  /// A number: decimal, or hexadecimal behind 0x, then at most one of K, M, G, T (2^10 to 2^40) in either case.
  /// EINVAL where it is none, ERANGE where 64 bits do not hold it.
  func number() throws(Refusal) -> UInt64 {
    var digits = text
    var radix = 10
    var shift: UInt64 = 0
    if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
      digits = digits.dropFirst(2)
      radix = 16
    }
    switch digits.last {
    case "K", "k": shift = 10
    case "M", "m": shift = 20
    case "G", "g": shift = 30
    case "T", "t": shift = 40
    default: break
    }
    if shift > 0 { digits = digits.dropLast() }
    guard !digits.isEmpty, digits.utf8.allSatisfy({ Self.isDigit($0, radix: radix) }) else {
      throw Refusal(.invalidArgument, "\(quoted) is no number (decimal, 0x hexadecimal, or with K, M, G, T)")
    }
    guard let value = UInt64(digits, radix: radix), (value << shift) >> shift == value else {
      throw Refusal(.outOfRange, "\(quoted) does not fit in 64 bits")
    }
    return value << shift
  }

  private static func isDigit(_ byte: UInt8, radix: Int) -> Bool {
    switch byte {
    case 0x30...0x39: true
    case 0x41...0x46, 0x61...0x66: radix == 16
    default: false
    }
  }
}
