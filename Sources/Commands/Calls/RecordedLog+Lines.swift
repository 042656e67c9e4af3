/// What the lines of strace and lackey look like.
extension RecordedLog {
  /// Whether a line is one of a recorded log rather than of a script: lackey's, or one that says what became of a call or a process.
  public static func isRecorded(_ line: some StringProtocol) -> Bool {
    if line.hasPrefix("==") || line.hasPrefix("strace: ") || isAccess(line) { return true }
    if notice(in: line) != nil { return true }
    let (process, body) = head(Substring(line))
    if body.hasPrefix("+++ ") || body.hasPrefix("--- ") || body.hasPrefix("<... ") { return true }
    guard body.contains("("), let first = body.unicodeScalars.first, first.properties.isAlphabetic || process != nil
    else { return false }
    return body.hasSuffix(unfinishedMark) || splitResult(body) != nil
  }

  /// Where strace says, in the middle of a call's line, that it follows a new process (`-f` without `-o`).
  static func notice<Line: StringProtocol>(in line: Line) -> Line.Index? {
    line.hasSuffix(" attached") ? line.range(of: "strace: Process ")?.lowerBound : nil
  }

  private static func isAccess(_ line: some StringProtocol) -> Bool {
    guard line.hasPrefix("I ") || line.hasPrefix(" ") else { return false }
    let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
    var position = 0
    // SAFETY: bytes have no padding.
    return unsafe LackeyAccess(bytes.span.bytes, at: &position) != nil && position == bytes.count
  }

  /// False for a line that `isRecorded` refuses at a glance: neither what lackey's and strace's lines alone begin with, nor a call with
  /// more behind it.
  static func mayBeRecorded(_ line: UnsafeRawBufferPointer) -> Bool {
    guard let first = unsafe line.first else { return false }
    switch first {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "-"),
      UInt8(ascii: "<"), UInt8(ascii: "I"), UInt8(ascii: " "):
      return true
    // The place of the call (`-i`).
    case UInt8(ascii: "[") where unsafe line.count > 1 && !line[1...].starts(with: "pid".utf8): return true
    default:
      if unsafe !line.contains(UInt8(ascii: "(")) {
        return unsafe first == UInt8(ascii: "[") || line.starts(with: "strace: ".utf8)
      }
      return unsafe line.contains(UInt8(ascii: "=")) || line.contains(UInt8(ascii: "<"))
    }
  }

  static let unfinishedMark = "<unfinished ...>"

  /// The process that a line begins with, and what is behind it and behind the time (`-t`, `-tt`, `-ttt`, `-r`) and the place (`-i`), where
  /// there is one.
  static func head(_ line: Substring) -> (process: Int?, body: Substring) {
    var body = line
    var process: Int?
    let digits = body.prefix { $0.isASCII && $0.isNumber }
    if let pid = Int(digits), body.dropFirst(digits.count).first == " " {
      process = pid
      body = body.dropFirst(digits.count).drop { $0 == " " }
    } else if body.hasPrefix("[pid "), let close = body.firstIndex(of: "]"),
      let pid = Int(body.dropFirst(5).prefix(upTo: close).drop { $0 == " " })
    {
      process = pid
      body = body[body.index(after: close)...].drop { $0 == " " }
    }
    let time = body.prefix { ("0"..."9").contains($0) || $0 == ":" || $0 == "." }
    if time.contains(where: { $0 == ":" || $0 == "." }), body.dropFirst(time.count).first == " " {
      body = body.dropFirst(time.count).drop { $0 == " " }
    }
    if body.hasPrefix("["), let close = body.firstIndex(of: "]"),
      body[..<close].dropFirst().allSatisfy({ $0.isHexDigit || $0 == "?" })
    {
      body = body[body.index(after: close)...].drop { $0 == " " }
    }
    return (process, body)
  }

  /// `name(arguments)` and what is behind the last ` = ` that follows a bracket outside of strings; nil where a line is no finished call.
  static func splitResult(_ line: some StringProtocol) -> (call: String, result: String)? {
    let bytes = Array(line.utf8)
    var split: (end: Int, result: Int)?
    var isInString = false
    var bracket: Int?
    var place = 0
    while place < bytes.count {
      switch bytes[place] {
      // strace escapes in the paths of -y as it does in strings.
      case UInt8(ascii: "\\"): place += 1
      case UInt8(ascii: "\""):
        isInString.toggle()
        bracket = nil
      case UInt8(ascii: ")") where !isInString: bracket = place
      // strace pads with blanks between the bracket and the sign.
      case UInt8(ascii: " "): break
      case UInt8(ascii: "="):
        if let bracket, bytes[place - 1] == UInt8(ascii: " "), place + 1 < bytes.count,
          bytes[place + 1] == UInt8(ascii: " ")
        {
          split = (bracket, place + 2)
        }
        bracket = nil
      default: bracket = nil
      }
      place += 1
    }
    return split.map {
      (String(decoding: bytes[...$0.end], as: UTF8.self), String(decoding: bytes[$0.result...], as: UTF8.self))
    }
  }

  static func address(_ result: String) -> UInt64? {
    guard result.hasPrefix("0x") else { return nil }
    return CallReader.value(of: String(result.prefix { $0.isHexDigit || $0 == "x" }))
  }
}

extension StringProtocol {
  func trimmingBlanks() -> SubSequence {
    var text = self[...]
    while text.last == " " { text = text.dropLast() }
    return text
  }

  /// The first place of `text`, by bytes.
  func range(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
