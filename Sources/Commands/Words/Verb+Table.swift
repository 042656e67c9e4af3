internal import MemoryTypes
internal import SystemPackage

extension Verb {
  /// The words of the language, in the order in which `help` lists them.
  static let all: [Verb] = [help, mem, dumpPT, alloc, free, list, plug, check, reset]

  /// The word of that name.
  static func named(_ name: Token) -> Verb? {
    for verb in all where name == verb.name { return verb }
    return nil
  }

  // MARK: help

  private static let help = Verb(
    "help", positional: [Parameter("verb", .word, "a word to describe")],
    summary: "lists the words, or describes one",
    execute: { arguments, _ in
      guard let name = arguments.token("verb") else { return Verb?.none }
      guard let verb = named(name) else {
        throw Refusal(.invalidArgument, "\(name.quoted) is no word of this language; \"help\" lists them")
      }
      return verb
    },
    print: { verb, _, text in
      if let verb { verb.print(into: &text) } else { printHelp(into: &text) }
    })

  /// All words, a line each.
  static func printHelp(into text: inout TextBuffer) {
    text.append("One command a line; the answer is read from this file. \"help VERB\" says more.\n")
    for verb in all {
      text.append(string: verb.name, leftAlignedIn: 10)
      text.append(string: verb.summary)
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
