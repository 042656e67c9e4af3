public import Machine
public import MemoryTypes
internal import SystemPackage

/// Carries lines out on a machine.
public struct Interpreter: Sendable {
  public let machine: Machine

  public init(_ machine: Machine) { self.machine = machine }

  /// Carries one line out, without its newline, and appends its outcome to `text`; a blank line does nothing.
  ///
  /// The caller holds the machine. A refusal has changed nothing and appended nothing.
  public func carryOut(_ line: UnsafeRawBufferPointer, into text: inout TextBuffer) throws(Refusal) {
    let line = unsafe String(decoding: line, as: UTF8.self)
    if CallSession.isCall(line) { return try carryOut(call: line, into: &text) }
    let tokens = try Token.split(line)
    guard let first = tokens.first else { return }
    guard let verb = Verb.named(first.text) else {
      throw Refusal(.invalidArgument, "\(first.quoted) is no word of this language; \"help\" lists them")
    }
    let arguments = try verb.parse(tokens.dropFirst())
    machine.beginLine()
    try verb.carryOut(arguments, machine, &text)
  }

  /// A line that a process carries out: its outcome, whatever it is, is no refusal.
  private func carryOut(call line: String, into text: inout TextBuffer) throws(Refusal) {
    machine.beginLine()
    do throws(CallSyntaxError) {
      guard let outcome = try CallSession(machine.users).carryOut(line) else { return }
      text.append(string: outcome)
      text.newline()
    } catch {
      switch error.kind {
      case .malformed: throw Refusal(.invalidArgument, error.description)
      case .unknownCall: throw Refusal(.noFunction, error.description)
      }
    }
  }
}
