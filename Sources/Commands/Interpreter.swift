public import Machine
public import MemoryTypes
internal import SystemPackage

/// Carries lines out on a machine.
public struct Interpreter: Sendable {
  public let machine: Machine

  public init(_ machine: Machine) { self.machine = machine }

  /// Carries one line out, without its newline, and appends its outcome to `text`; a blank line and one that begins with # do nothing.
  ///
  /// The caller holds the machine. A refusal has changed nothing and appended nothing.
  public func carryOut(_ line: UnsafeRawBufferPointer, into text: inout TextBuffer) throws(Refusal) {
    if unsafe CallSession.isCall(utf8: line) {
      return try carryOut(call: unsafe String(decoding: line, as: UTF8.self), into: &text) {
        (session, line) throws(CallSyntaxError) in try session.carryOut(line)
      }
    }
    var tokens = unsafe try Tokens(line)
    guard let first = tokens.next(), unsafe first.bytes[0] != UInt8(ascii: "#") else { return }
    let verb = try Verb.named(first, &tokens)
    let arguments = try verb.parse(&tokens)
    machine.beginLine()
    defer { machine.endLine() }
    if machine.keepsPageOwners { machine.putDown(to: verb.name, text: unsafe String(decoding: line, as: UTF8.self)) }
    try verb.carryOut(arguments, machine, &text)
  }

  /// What a replayed line was.
  public enum Kind: Sendable { case nothing, word, call, refused }

  /// Carries one line out and appends it with its outcome, as strace shows calls; a blank line and one that begins with # append
  /// nothing. An outcome of several lines follows its line, indented. Takes the machine for as long as that lasts.
  @discardableResult
  public func replay(_ line: String, into text: inout TextBuffer) -> Kind {
    machine.withLock {
      let isCall = CallSession.isCall(utf8: line.utf8)
      var outcome = TextBuffer(capacity: 256)
      do throws(Refusal) {
        if isCall {
          var isOfNobody = false
          try carryOut(call: line, into: &text) { (session, line) throws(CallSyntaxError) in
            try session.transcribe(line, isOfNobody: &isOfNobody)
          }
          return isOfNobody ? .refused : .call
        }
        try unsafe Array(line.utf8).withUnsafeBufferPointer { (bytes) throws(Refusal) in
          try unsafe carryOut(UnsafeRawBufferPointer(bytes), into: &outcome)
        }
      } catch {
        text.append(string: "\(line) = -1 \(error.description)\n")
        return .refused
      }
      unsafe outcome.withBytes { unsafe Self.append(line, $0, to: &text) }
      return outcome.count == 0 ? .nothing : .word
    }
  }

  /// A word's line and its outcome.
  private static func append(_ line: String, _ outcome: UnsafeRawBufferPointer, to text: inout TextBuffer) {
    guard let firstEnd = unsafe outcome.firstIndex(of: 0x0A) else { return }
    text.append(string: line)
    if firstEnd == outcome.count - 1 {
      text.append(" = ")
      unsafe text.append(bytes: outcome)
      return
    }
    text.newline()
    var begin = 0
    while begin < outcome.count {
      let end = unsafe outcome[begin...].firstIndex(of: 0x0A) ?? outcome.count
      text.append("  ")
      unsafe text.append(bytes: UnsafeRawBufferPointer(rebasing: outcome[begin..<end]))
      text.newline()
      begin = end + 1
    }
  }

  /// A line that a process carries out: its outcome, whatever it is, is no refusal.
  private func carryOut(
    call line: String, into text: inout TextBuffer,
    by body: (CallSession, String) throws(CallSyntaxError) -> String?
  ) throws(Refusal) {
    machine.beginLine()
    defer { machine.endLine() }
    if machine.keepsPageOwners, let call = try? CallSyntax(line) {
      machine.putDown(to: call.name, of: ProcessID(call.pid), text: line)
    }
    do throws(CallSyntaxError) {
      guard let outcome = try body(CallSession(machine.unsettledUsers), line) else { return }
      text.append(string: outcome)
      text.newline()
    } catch {
      switch error.kind {
      case .malformed: throw Refusal(.invalidArgument, error.description)
      case .unknownCall: throw Refusal(.noFunction, error.description)
      case .unknownProcess: throw Refusal(.noSuchProcess, error.description)
      }
    }
  }
}
