internal import MemoryTypes
internal import SystemPackage

extension Verb {
  /// The words of the language, in the order in which `help` lists them.
  static let all: [Verb] =
    [
      help, mem, dumpPT, alloc, free, list, plug, map, unmap, protect, translate, flushTLB, switchTLB, spawn,
      khugepaged, check, reset,
    ] + files

  /// The verb that a line begins with; EINVAL where it is none. Takes the second word where the verb has two.
  static func named(_ first: Token, _ tokens: inout Tokens) throws(Refusal) -> Verb {
    var seconds: [Verb] = []
    for verb in all where first == verb.firstWord {
      if verb.secondWord == nil { return verb }
      seconds.append(verb)
    }
    if seconds.isEmpty {
      let isNumber = first.text.allSatisfy { ("0"..."9").contains($0) }
      throw Refusal(
        .invalidArgument,
        isNumber
          ? "\(first.quoted) begins no line, but for one of a recorded log, which this is not or not all of"
          : "\(first.quoted) is no word of this language; \"help\" lists them")
    }
    let known = seconds.compactMap(\.secondWord).joined(separator: " or ")
    guard let second = tokens.next() else {
      throw Refusal(.invalidArgument, "\(first.text) lacks what it is to do: \(known)")
    }
    for verb in seconds where verb.secondWord.map({ second == $0 }) ?? false { return verb }
    throw Refusal(.invalidArgument, "\(second.quoted) is nothing that \(first.text) does: \(known)")
  }

  // MARK: help

  private enum Description {
    case everything
    case verbs([Verb])
    case call(CallRow)
  }

  private static let help = Verb(
    "help",
    positional: [
      Parameter("verb", .word, "a word or call to describe"),
      Parameter("second", .word, "its second word, where it has two"),
    ],
    summary: "lists the words and calls, or describes one",
    execute: { arguments, _ -> Description in
      guard let name = arguments.token("verb") else { return .everything }
      let named = all.filter { name == $0.firstWord }
      guard !named.isEmpty else {
        if let call = CallRow.byName[name.text], arguments.token("second") == nil { return .call(call) }
        throw Refusal(.invalidArgument, "\(name.quoted) is no word of this language, and no call; \"help\" lists them")
      }
      guard let second = arguments.token("second") else { return .verbs(named) }
      let verbs = named.filter { verb in verb.secondWord.map { second == $0 } ?? false }
      guard !verbs.isEmpty else {
        throw Refusal(.invalidArgument, "\(second.quoted) is nothing that \(name.text) does")
      }
      return .verbs(verbs)
    },
    print: { description, _, text in
      switch description {
      case .everything: printHelp(into: &text)
      case .verbs(let verbs): for verb in verbs { verb.print(into: &text) }
      case .call(let call): text.append(string: "usage: [pid N] \(call.usage)\n\(call.name) \(call.summary)\n")
      }
    })

  /// All words and calls, a line each.
  static func printHelp(into text: inout TextBuffer) {
    text.append("One command a line; the answer is read from this file. \"help VERB\" says more.\n")
    for verb in all {
      text.append(string: verb.name, leftAlignedIn: 12)
      text.append(string: verb.summary)
      text.newline()
    }
    text.append(
      "\nOr a call as strace prints it, behind [pid N] where that is not process 1. \"help CALL\" says more.\n")
    for call in CallRow.all {
      text.append(string: call.name, leftAlignedIn: 18)
      text.append(string: call.summary)
      text.newline()
    }
  }

  private func print(into text: inout TextBuffer) {
    text.append(string: "usage: \(usage)\n\(name) \(summary)\n")
    for parameter in positional + keys {
      text.append("  ")
      text.append(string: parameter.name, leftAlignedIn: 10)
      text.append(string: parameter.documentation)
      if case .number(let range) = parameter.kind, range.upperBound < .max {
        text.append(string: " (\(range.lowerBound) to \(range.upperBound))")
      }
      text.newline()
    }
  }
}
