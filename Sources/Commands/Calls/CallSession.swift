public import AddressSpaces
internal import MemoryTypes

/// Carries out lines with calls on a machine's processes, and gives each back with its outcome.
public struct CallSession {
  private let memory: UserMemory

  public init(_ memory: UserMemory) { self.memory = memory }

  /// Whether a line is a call rather than a word: a name with a bracket behind it, or a process in front.
  public static func isCall(utf8 line: some Sequence<UInt8>) -> Bool {
    var bytes = line.makeIterator()
    var next = bytes.next()
    while next == UInt8(ascii: " ") || next == UInt8(ascii: "\t") { next = bytes.next() }
    if next == UInt8(ascii: "[") { return true }
    while let byte = next, Self.isNamePart(byte) { next = bytes.next() }
    return next == UInt8(ascii: "(")
  }

  private static func isNamePart(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "_"):
      true
    default: false
    }
  }

  /// `[pid N] CALL = RESULT`, without a newline at its end; nil for empty lines and comments. What the process makes of the call, errors
  /// and signals included, is its outcome; only what is no call of a process is thrown, and then nothing has changed.
  public func carryOut(_ line: some StringProtocol) throws(CallSyntaxError) -> String? {
    guard let (call, row) = try parse(line) else { return nil }
    guard let process = memory.process(ProcessID(call.pid)) else {
      throw CallSyntaxError(kind: .unknownProcess(call.pid), column: column(of: line))
    }
    _ = memory.takeKillMessages()
    let outcome = row.outcome(CallContext(memory: memory, process: process, arguments: call.arguments))
    return memory.takeKillMessages().reduce(call.head + outcome.suffix) { $0 + "\n  " + $1 }
  }

  /// The same as a transcript has it, where processes that are not there have an outcome as well.
  public func transcribe(_ line: some StringProtocol, isOfNobody: inout Bool) throws(CallSyntaxError) -> String? {
    guard let (call, _) = try parse(line) else { return nil }
    isOfNobody = memory.process(ProcessID(call.pid)) == nil
    return isOfNobody ? call.head + " = ? no such process" : try carryOut(line)
  }

  private func parse(_ line: some StringProtocol) throws(CallSyntaxError) -> (call: CallSyntax, row: CallRow)? {
    let body = line.drop { $0 == " " || $0 == "\t" }
    if body.isEmpty || body.hasPrefix("#") { return nil }
    let call = try CallSyntax(line)
    guard let row = CallRow.byName[call.name] else {
      throw CallSyntaxError(kind: .unknownCall(call.name), column: line.utf8.count - call.text.utf8.count + 1)
    }
    try row.check(call)
    return (call, row)
  }

  /// Where a line names its process, or where it begins if it names none.
  private func column(of line: some StringProtocol) -> Int {
    (line.utf8.enumerated().first { (0x30...0x39).contains($0.element) }?.offset ?? 0) + 1
  }

  /// Each call's usage and what it does.
  public static var help: [(usage: String, summary: String)] { CallRow.all.map { ($0.usage, $0.summary) } }
}
