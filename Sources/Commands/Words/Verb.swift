internal import Machine
internal import MemoryTypes
internal import SystemPackage

/// A word of the language: one row, from which the parser, `help`, the manual and the fuzzer's dictionary derive.
public final class Verb: Sendable {
  /// One word, or two: the second says what the first is to do.
  public let name: String
  let firstWord: String
  let secondWord: String?
  /// In the order in which they are written.
  public let positional: [Parameter]
  /// How many of the positional ones must be there.
  public let required: Int
  /// Behind `name=`, or flags, in any order, each at most once.
  public let keys: [Parameter]
  /// One line.
  public let summary: String
  /// Carries the words out, and prints the outcome. What it refuses has changed nothing and printed nothing.
  let carryOut: @Sendable (borrowing Arguments, Machine, inout TextBuffer) throws(Refusal) -> Void

  /// A row whose execution yields an outcome that `print` shows.
  ///
  /// `execute` may throw a `MemoryError`, which becomes a refusal here.
  init<Outcome>(
    _ name: String, positional: [Parameter] = [], required: Int = 0, keys: [Parameter] = [], summary: String,
    execute: @escaping @Sendable (borrowing Arguments, Machine) throws -> Outcome,
    print: @escaping @Sendable (borrowing Outcome, Machine, inout TextBuffer) -> Void
  ) {
    precondition(positional.count + keys.count <= Arguments.room, "\(name) has more parameters than there is room for")
    self.name = name
    let words = name.split(separator: " ").map(String.init)
    firstWord = words[0]
    secondWord = words.count > 1 ? words[1] : nil
    self.positional = positional
    self.required = required
    self.keys = keys
    self.summary = summary
    carryOut = { (arguments, machine, text) throws(Refusal) in
      let outcome: Outcome
      do { outcome = try execute(arguments, machine) } catch let error as MemoryError { throw Refusal(error) } catch let
        error
        as Refusal
      { throw error } catch { preconditionFailure("a verb throws MemoryError or Refusal only: \(error)") }
      print(outcome, machine, &text)
    }
  }

  /// `alloc [order=ORDER] ...`
  public var usage: String {
    var parts = [name]
    for (index, parameter) in positional.enumerated() {
      parts.append(index < required ? parameter.placeholder : "[\(parameter.placeholder)]")
    }
    parts += keys.map { $0.isFlag ? "[\($0.name)]" : "[\($0.name)=\($0.placeholder)]" }
    return parts.joined(separator: " ")
  }

  /// The place of a parameter among the positional ones and the keys behind them.
  func index(_ name: String) -> Int? {
    for index in positional.indices where positional[index].name == name { return index }
    for index in keys.indices where keys[index].name == name { return positional.count + index }
    return nil
  }

  /// The place of the key of that name among the parameters.
  private func key(_ name: Token) -> Int? {
    for index in keys.indices where name == keys[index].name { return positional.count + index }
    return nil
  }

  /// The arguments behind the verb, checked. EINVAL for what the grammar does not know, ERANGE for numbers that are too large.
  func parse(_ tokens: inout Tokens) throws(Refusal) -> Arguments {
    var arguments = Arguments(of: self)
    var given = 0
    while let token = tokens.next() {
      let split = keys.isEmpty ? nil : token.split
      if let index = key(split?.key ?? token), keys[index - positional.count].isFlag == (split == nil) {
        let parameter = keys[index - positional.count]
        guard arguments.values[index] == nil else {
          throw Refusal(.invalidArgument, "\(token.quoted): \(parameter.form) is given twice")
        }
        arguments.values[index] = try parameter.parse(split?.value ?? token)
      } else if split != nil {
        throw unknown(token)
      } else {
        guard given < positional.count else {
          throw Refusal(.invalidArgument, "\(token.quoted) is more than \(name) takes; usage: \(usage)")
        }
        arguments.values[given] = try positional[given].parse(token)
        given += 1
      }
    }
    guard given >= required else {
      throw Refusal(.invalidArgument, "\(name) lacks \(positional[given].placeholder); usage: \(usage)")
    }
    return arguments
  }

  private func unknown(_ token: Token) -> Refusal {
    let known = keys.map(\.form).joined(separator: " ")
    return Refusal(.invalidArgument, "\(token.quoted) is no key of \(name), which takes \(known)")
  }
}
