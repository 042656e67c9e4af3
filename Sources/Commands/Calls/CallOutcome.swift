internal import AddressSpaces

/// What a call came to.
enum CallOutcome {
  case number(Int64)
  case address(UInt64)
  /// The break's distance from the first one.
  case offset(Int64)
  /// `?`: the call does not return.
  case nothing
  case failed(CallError)
  case signal(Signal)
  /// What is printed behind ` = `.
  case text(String)
  /// Lines of their own below the call.
  case lines([String])

  /// As a transcript has it behind the call.
  var suffix: String {
    switch self {
    case .number(let value): " = \(value)"
    case .address(let value): " = 0x" + String(value, radix: 16)
    case .offset(let value): " = \(value < 0 ? "" : "+")\(value)"
    case .nothing: " = ?"
    case .failed(let error): " = -1 \(error.name)"
    case .signal(let signal): " = \(signal.text)"
    case .text(let text): " = \(text)"
    case .lines(let lines): lines.reduce("") { $0 + "\n  " + $1 }
    }
  }

  /// Bytes as a string: what is not printable, quotes and backslashes as octal escapes.
  static func quoted(_ bytes: some Sequence<UInt8>) -> String {
    var text = "\""
    for byte in bytes {
      if byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
        text.unicodeScalars.append(UnicodeScalar(byte))
      } else {
        text += "\\" + String(byte, radix: 8)
      }
    }
    return text + "\""
  }
}
