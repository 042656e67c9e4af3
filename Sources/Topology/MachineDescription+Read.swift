/// Why a machine could not be had: one line a mistake, to be printed as they are.
public struct MachineSourceError: Error, Equatable, Sendable, CustomStringConvertible {
  public var lines: [String]
  public init(lines: [String]) { self.lines = lines }
  public var description: String { lines.joined(separator: "\n") }
}

extension MachineDescription {
  /// Reads a machine file.
  /// - Parameters:
  ///   - source: what mistakes are prefixed with, as `source:line:column:`; the file's name.
  ///   - name: the machine's name where the file gives none.
  /// - Throws: every mistake there is, in the order of the lines.
  public init(yaml text: String, source: String, name: String = "machine") throws(MachineSourceError) {
    let parsed = YAMLText(text)
    var reader = YAMLReader()
    reader.mistakes = parsed.mistakes
    var machine: MachineDescription?
    if let root = parsed.root {
      machine = reader.machine(root, defaultName: name)
    } else if reader.mistakes.isEmpty {
      reader.mistakes.append(YAMLMistake(nil, "empty: expected a machine description"))
    }
    if let machine {
      // Where entries could not be read, what others say of them would only be reported as missing.
      let partial = !reader.mistakes.isEmpty
      for mistake in machine.validate() where !partial || !mistake.place.concernsWhole {
        reader.mistakes.append(YAMLMistake(reader.marks[mistake.place] ?? reader.marks[.machine], mistake.text))
      }
    }
    guard reader.mistakes.isEmpty, let machine else {
      let sorted = reader.mistakes.enumerated().sorted {
        let (a, b) = ($0.element.position, $1.element.position)
        return (a?.line ?? 0, a?.column ?? 0, $0.offset) < (b?.line ?? 0, b?.column ?? 0, $1.offset)
      }
      throw MachineSourceError(
        lines: sorted.map { _, mistake in
          let place = mistake.position.map { "\(source):\($0.line):\($0.column)" } ?? source
          return "\(place): \(mistake.text)"
        })
    }
    self = machine
  }
}

extension Mistake.Place {
  /// Whether a mistake here may only be that another entry could not be read.
  fileprivate var concernsWhole: Bool {
    switch self {
    case .machine, .cpus, .nodes: true
    default: false
    }
  }
}
