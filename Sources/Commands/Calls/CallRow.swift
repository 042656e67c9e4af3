internal import AddressSpaces
internal import MemoryTypes

/// A call that the emulation knows: one row holds its grammar, its help and what it does.
struct CallRow: Sendable {
  struct Parameter: Sendable {
    enum Kind: Sendable { case number, text, mask }
    var name: String
    var kind: Kind
    /// May be left out: 0, or no mask.
    var isOptional = false
  }
  var name: String
  var parameters: [Parameter]
  /// Those of the system call, as strace prints them, where it has more.
  var recorded: [Parameter]
  var summary: String
  /// Reaches for nothing but what processes do with their own memory: see `UserMemory.settle`.
  var isAccess: Bool
  var run: @Sendable (CallContext) throws(CallError) -> CallOutcome

  init(
    _ name: String, _ parameters: [Parameter], recorded: [Parameter] = [], _ summary: String, isAccess: Bool = false,
    _ run: @escaping @Sendable (CallContext) throws(CallError) -> CallOutcome
  ) {
    self.name = name
    self.parameters = parameters
    self.recorded = recorded
    self.summary = summary
    self.isAccess = isAccess
    self.run = run
  }

  /// `mmap(ADDRESS, LENGTH, ...)`, as help shows it.
  var usage: String { usage(parameters) + (recorded.isEmpty ? "" : ", or \(usage(recorded))") }

  private func usage(_ parameters: [Parameter]) -> String {
    let words = parameters.map { ($0.isOptional ? "[" : "") + $0.name + ($0.isOptional ? "]" : "") }
    return "\(name)(\(words.joined(separator: ", ")))"
  }

  /// What comes of the call. A process that is killed in the middle of it is gone afterwards.
  func outcome(_ context: CallContext) -> CallOutcome {
    if !isAccess { context.memory.settle() }
    let outcome: CallOutcome
    do throws(CallError) { outcome = try run(context) } catch { outcome = .failed(error) }
    return context.memory.reap(context.process) ? .signal(.killed) : outcome
  }

  /// Refuses arguments that the row's parameters do not take, with the column of the first.
  func check(_ call: CallSyntax) throws(CallSyntaxError) {
    let parameters = !recorded.isEmpty && call.arguments.count > parameters.count ? recorded : parameters
    for (index, argument) in call.arguments.enumerated() {
      guard index < parameters.count else {
        throw CallSyntaxError(kind: .malformed("too many arguments: \(usage)"), column: call.columns[index])
      }
      let fits =
        switch (parameters[index].kind, argument) {
        case (.number, .number), (.text, .text), (.mask, .mask), (.mask, .list): true
        // NULL is a mask as well.
        case (.mask, .number(0)): true
        default: false
        }
      if !fits {
        throw CallSyntaxError(
          kind: .malformed("\(parameters[index].name) cannot be this: \(usage)"), column: call.columns[index])
      }
    }
    if call.arguments.count < parameters.count, !parameters[call.arguments.count].isOptional {
      throw CallSyntaxError(
        kind: .malformed("\(parameters[call.arguments.count].name) is missing: \(usage)"), column: call.text.utf8.count)
    }
  }
}

/// A call about to be carried out: who calls, with what.
struct CallContext {
  let memory: UserMemory
  let process: Process
  let arguments: [CallArgument]

  /// The number at a place, 0 where it was left out.
  func number(_ index: Int) -> UInt64 {
    guard index < arguments.count, case .number(let value) = arguments[index] else { return 0 }
    return value
  }
  func text(_ index: Int) -> [UInt8] {
    guard index < arguments.count, case .text(let bytes) = arguments[index] else { return [] }
    return bytes
  }
  /// nil for NULL.
  func mask(_ index: Int) -> [UInt64]? {
    guard index < arguments.count else { return nil }
    switch arguments[index] {
    case .mask(let words), .list(let words): return words
    case .number, .text: return nil
    }
  }
  /// A mask of CPUs, whose numbers strace prints (`[0 2]`); hexadecimal numbers are its words.
  func cpus(_ index: Int) -> [UInt64]? {
    guard index < arguments.count, case .list(let numbers) = arguments[index] else { return mask(index) }
    var words = [UInt64](repeating: 0, count: 128)
    for number in numbers where number < 8192 { words[Int(number / 64)] |= 1 << (number % 64) }
    return words
  }
}
