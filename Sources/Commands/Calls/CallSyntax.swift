/// Where a line stops being a call, and why.
public struct CallSyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// EINVAL.
    case malformed(String)
    /// ENOSYS: a call of that name is not known.
    case unknownCall(String)
    /// ESRCH: there is no such process.
    case unknownProcess(Int32)
  }
  public var kind: Kind
  /// Counted in bytes from 1.
  public var column: Int
  public var description: String {
    switch kind {
    case .malformed(let reason): "column \(column): \(reason)"
    case .unknownCall(let name): "column \(column): unknown call \(name)"
    case .unknownProcess(let pid): "column \(column): no such process: \(pid)"
    }
  }
}

/// An argument as it was written.
enum CallArgument: Hashable, Sendable {
  case number(UInt64)
  case text([UInt8])
  /// A bit mask's words, lowest first.
  case mask([UInt64])
  /// The same, or numbers of things: all decimal.
  case list([UInt64])
}

/// A line `[pid N] name(arguments)`, taken apart.
struct CallSyntax: Equatable, Sendable {
  /// 1 where the line names none.
  var pid: Int32
  var name: String
  var arguments: [CallArgument]
  /// Each argument's column.
  var columns: [Int]
  /// The call from its name on, as it was written.
  var text: String

  /// The line as a transcript shows it.
  var head: String { "[pid \(pid)] \(text)" }
}

extension CallSyntax {
  init(_ line: some StringProtocol) throws(CallSyntaxError) {
    var reader = CallReader(Array(line.utf8))
    self = try reader.call()
  }
}

/// Reads a call byte by byte. Total: every line is either a call or an error with its column.
struct CallReader {
  private let bytes: [UInt8]
  private var place = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  private var next: UInt8? { place < bytes.count ? bytes[place] : nil }
  private func fail(_ reason: String, at column: Int? = nil) -> CallSyntaxError {
    CallSyntaxError(kind: .malformed(reason), column: (column ?? place) + 1)
  }
  /// Blanks, and what strace says of a number in a comment (`0x100 /* PROT_??? */`).
  private mutating func skipBlanks() {
    while let byte = next {
      if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") {
        place += 1
      } else if bytes[place...].starts(with: "/*".utf8), let end = commentEnd {
        place = end
      } else {
        return
      }
    }
  }
  private var commentEnd: Int? {
    (place + 2..<max(place + 2, bytes.count - 1)).first { bytes[$0...].starts(with: "*/".utf8) }.map { $0 + 2 }
  }
  private mutating func take(_ byte: UInt8) -> Bool {
    if next != byte { return false }
    place += 1
    return true
  }

  mutating func call() throws(CallSyntaxError) -> CallSyntax {
    skipBlanks()
    let pid = try process()
    let begin = place
    let name = word()
    if name.isEmpty { throw fail("a call's name expected") }
    if !take(UInt8(ascii: "(")) { throw fail("'(' expected") }
    var arguments: [CallArgument] = []
    var columns: [Int] = []
    skipBlanks()
    if !take(UInt8(ascii: ")")) {
      while true {
        skipBlanks()
        columns.append(place + 1)
        arguments.append(try argument())
        skipBlanks()
        if take(UInt8(ascii: ",")) { continue }
        if take(UInt8(ascii: ")")) { break }
        throw fail("',' or ')' expected")
      }
    }
    let text = String(decoding: bytes[begin..<place], as: UTF8.self)
    skipBlanks()
    if place < bytes.count { throw fail("nothing may follow the call") }
    return CallSyntax(pid: pid, name: name, arguments: arguments, columns: columns, text: text)
  }

  private mutating func process() throws(CallSyntaxError) -> Int32 {
    guard take(UInt8(ascii: "[")) else { return 1 }
    if word() != "pid" { throw fail("'pid' expected") }
    skipBlanks()
    let begin = place
    guard let number = Int32(word()), number >= 0 else { throw fail("a process's number expected", at: begin) }
    skipBlanks()
    if !take(UInt8(ascii: "]")) { throw fail("']' expected") }
    skipBlanks()
    return number
  }

  /// Letters, digits and underscores.
  private mutating func word() -> String {
    let begin = place
    while let byte = next,
      byte == UInt8(ascii: "_") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    { place += 1 }
    return String(decoding: bytes[begin..<place], as: UTF8.self)
  }

  private mutating func argument() throws(CallSyntaxError) -> CallArgument {
    if next == UInt8(ascii: "\"") { return .text(try text()) }
    if take(UInt8(ascii: "[")) { return try list() }
    return .number(try number())
  }

  /// Numbers and names joined by `|`.
  private mutating func number() throws(CallSyntaxError) -> UInt64 {
    var total: UInt64 = 0
    while true {
      skipBlanks()
      let begin = place
      let negative = take(UInt8(ascii: "-"))
      let spelled = word()
      guard var value = Self.value(of: spelled) else {
        throw fail(
          spelled.isEmpty ? "a number or a name expected" : "'\(spelled)' is no number and no known name", at: begin)
      }
      skipBlanks()
      // `21<<MAP_HUGE_SHIFT`, as strace prints it.
      if bytes[place...].starts(with: "<<".utf8) {
        place += 2
        guard let shift = Self.value(of: word()) else { throw fail("a number or a name expected") }
        value = shift < 64 ? value << shift : 0
        skipBlanks()
      }
      total |= negative ? 0 &- value : value
      if !take(UInt8(ascii: "|")) { return total }
    }
  }

  /// Decimal, 0x hexadecimal, 0 octal, or a name; numbers above 2^64 - 1 are 2^64 - 1, as strtoull(3) reads them.
  static func value(of word: String) -> UInt64? {
    guard let first = word.utf8.first else { return nil }
    if !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) { return CallConstants.values[word] }
    var digits = Substring(word)
    var radix: UInt64 = 10
    if word.hasPrefix("0x") || word.hasPrefix("0X") {
      digits = digits.dropFirst(2)
      radix = 16
    } else if word.count > 1, first == UInt8(ascii: "0") {
      digits = digits.dropFirst()
      radix = 8
    }
    if digits.isEmpty { return nil }
    var value: UInt64 = 0
    var overflows = false
    for digit in digits {
      guard let figure = digit.hexDigitValue, figure < radix else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: radix)
      let (sum, tooLargeYet) = product.addingReportingOverflow(UInt64(figure))
      overflows = overflows || tooLarge || tooLargeYet
      value = sum
    }
    return overflows ? .max : value
  }

  /// A string with C's escapes.
  private mutating func text() throws(CallSyntaxError) -> [UInt8] {
    place += 1
    var result: [UInt8] = []
    while let byte = next {
      place += 1
      switch byte {
      case UInt8(ascii: "\""): return result
      case UInt8(ascii: "\\"): result.append(try escape())
      default: result.append(byte)
      }
    }
    throw fail("the string has no end")
  }

  private mutating func escape() throws(CallSyntaxError) -> UInt8 {
    guard let byte = next else { throw fail("an escape expected") }
    place += 1
    switch byte {
    case UInt8(ascii: "n"): return 10
    case UInt8(ascii: "t"): return 9
    case UInt8(ascii: "r"): return 13
    case UInt8(ascii: "f"): return 12
    case UInt8(ascii: "v"): return 11
    case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): return byte
    case UInt8(ascii: "x"):
      var value = 0
      let begin = place
      while place < begin + 2, let digit = next.flatMap({ Character(UnicodeScalar($0)).hexDigitValue }) {
        value = value * 16 + digit
        place += 1
      }
      if place == begin { throw fail("hexadecimal digits expected") }
      return UInt8(value)
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      var value = Int(byte - UInt8(ascii: "0"))
      let begin = place
      while place < begin + 2, let digit = next, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) {
        value = value * 8 + Int(digit - UInt8(ascii: "0"))
        place += 1
      }
      if value > 255 { throw fail("an octal escape above \\377", at: begin) }
      return UInt8(value)
    default: throw fail("an unknown escape", at: place - 1)
    }
  }

  /// Words between brackets, separated by blanks or commas: strace's `[0x1]`, and the words of longer masks.
  private mutating func list() throws(CallSyntaxError) -> CallArgument {
    var words: [UInt64] = []
    var isDecimal = true
    while true {
      while let byte = next, byte == UInt8(ascii: " ") || byte == UInt8(ascii: ",") { place += 1 }
      if take(UInt8(ascii: "]")) {
        if words.isEmpty { return .mask([0]) }
        return isDecimal ? .list(words) : .mask(words)
      }
      if bytes[place...].starts(with: "0x".utf8) || bytes[place...].starts(with: "0X".utf8) { isDecimal = false }
      // A status as strace shows it is an answer, whatever it says: `[0, -ENOENT]`.
      if bytes[place...].starts(with: "-E".utf8) {
        place += 1
        _ = word()
        words.append(.max)
      } else {
        words.append(try number())
      }
      // `[0-3]` is no list.
      if next == UInt8(ascii: "-"), bytes[place - 1] != UInt8(ascii: " ") { throw fail("a number or ']' expected") }
    }
  }
}
