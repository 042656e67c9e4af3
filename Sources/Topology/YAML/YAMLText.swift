import Yams

/// A YAML text as a tree of nodes with marks, or what is wrong with it as YAML.
struct YAMLText {
  var root: Yams.Node?
  var mistakes: [YAMLMistake] = []

  /// In bytes. A machine of the largest size takes less than 4 MiB.
  static let longest = 16 << 20
  /// libyaml and Yams recurse into what is nested.
  private static let deepest = 64
  /// Of keys that are given twice, how many are reported.
  private static let mostDuplicates = 100

  /// What duplicate keys begin with after they were reported, so that the rest of the text can be checked (Yams reads none of a text that
  /// has them). U+E000 is a private character, which no key contains.
  static let duplicate: Character = "\u{E000}"

  init(_ text: String) {
    guard text.utf8.count <= Self.longest else {
      mistakes.append(YAMLMistake(nil, "expected at most 16 MiB"))
      return
    }
    if let line = Self.lineNestedTooDeep(text) {
      mistakes.append(
        YAMLMistake(TextPosition(line: line, column: 1), "nested too deep: expected a machine description"))
      return
    }
    var lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { Array($0) }
    var current = text
    for _ in 0...Self.mostDuplicates {
      do {
        root = try Parser(yaml: current).singleRoot()
        return
      } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
        let mark = context.mark
        mistakes.append(
          YAMLMistake(TextPosition(mark), "key \(keys.first.map { "'\($0)'" } ?? "") is there more than once"))
        guard Self.hide(mark, in: &lines) else { return }
        current = lines.map { line in
          var text = String.UnicodeScalarView()
          text.append(contentsOf: line)
          return String(text)
        }.joined(separator: "\n")
      } catch let error as YamlError {
        mistakes.append(YAMLMistake(error))
        return
      } catch {
        mistakes.append(YAMLMistake(nil, "not YAML: \(error)"))
        return
      }
    }
  }

  /// Gives the key at `mark` a name of its own without moving what follows it.
  private static func hide(_ mark: Mark, in lines: inout [[Unicode.Scalar]]) -> Bool {
    let line = mark.line - 1
    var column = mark.column - 1
    guard lines.indices.contains(line), lines[line].indices.contains(column) else { return false }
    if lines[line][column] == "\"" || lines[line][column] == "'" { column += 1 }
    guard lines[line].indices.contains(column), lines[line][column] != "\u{E000}" else { return false }
    lines[line][column] = "\u{E000}"
    return true
  }

  /// The line, from 1, at which more is open than any description nests; an estimate that never falls short.
  private static func lineNestedTooDeep(_ text: String) -> Int? {
    var line = 1
    var flow = 0
    var lead = 0
    var leading = true
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\n"):
        line += 1
        lead = 0
        leading = true
        continue
      case UInt8(ascii: "["), UInt8(ascii: "{"): flow += 1
      case UInt8(ascii: "]"), UInt8(ascii: "}"): flow = max(0, flow - 1)
      default: break
      }
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "\t"): break
      default: leading = false
      }
      if leading { lead += 1 }
      if flow > deepest || lead > 4 * deepest { return line }
    }
    return nil
  }
}

/// A place in a text; lines and columns (in Unicode scalars) count from 1.
struct TextPosition {
  var line: Int
  var column: Int
  init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }
  init(_ mark: Mark) { self.init(line: mark.line, column: mark.column) }
}

/// A mistake in a YAML text, and where it is, if it is anywhere.
struct YAMLMistake {
  var position: TextPosition?
  var text: String
  init(_ position: TextPosition?, _ text: String) {
    self.position = position
    self.text = text
  }

  init(_ error: YamlError) {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let reason = context.map { " \($0.text)" } ?? ""
      self.init(TextPosition(mark), "not YAML:\(reason) \(problem)")
    case .reader(let problem, _, _, _): self.init(nil, "not YAML: \(problem)")
    default: self.init(nil, "not YAML: \(error)")
    }
  }
}
