extension Interpreter {
  /// Every word that means something in a line: verbs, their keys and choices, calls, and the names of numbers. What the fuzzer makes its
  /// dictionary of.
  public static var vocabulary: [String] {
    var words: Set<String> = []
    for verb in Verb.all {
      words.insert(verb.name)
      for parameter in verb.keys { words.insert(parameter.form) }
      for parameter in verb.positional + verb.keys {
        if case .choice(let choices) = parameter.kind { words.formUnion(choices) }
      }
    }
    for call in CallRow.all { words.insert(call.name + "(") }
    words.formUnion(CallConstants.values.keys)
    return words.sorted()
  }
}
