/// Where machines come from.
public enum MachineSource {
  /// The machine of that name: a preset's, else a machine file's (YAML), else the directory's of a real machine's `/sys` and `/proc`; with
  /// these settings over its own.
  /// - Throws: every mistake in the file or the settings. A description that is returned is valid.
  public static func load(
    _ nameOrPath: String, settings: [(key: String, value: String)] = []
  ) throws(MachineSourceError) -> MachineDescription {
    var machine = try read(nameOrPath)
    var lines: [String] = []
    for (key, value) in settings {
      do { try machine.settings.set(key, value) } catch { lines.append(error.description) }
    }
    if lines.isEmpty { lines = machine.validate().map { "\(nameOrPath): \($0.text)" } }
    guard lines.isEmpty else { throw MachineSourceError(lines: lines) }
    return machine
  }

  private static func read(_ nameOrPath: String) throws(MachineSourceError) -> MachineDescription {
    if let preset = MachineDescription.preset(named: nameOrPath) { return preset }
    switch SystemTree.kind(of: nameOrPath) {
    case nil:
      let names = Preset.allCases.map(\.rawValue).joined(separator: ", ")
      throw MachineSourceError(
        lines: ["\(nameOrPath): no such machine: expected a file, a directory, or one of \(names)"])
    case .directory:
      return try SystemImporter(tree: SystemTree(root: nameOrPath)).machine(name: name(of: nameOrPath))
    case .file:
      guard let text = SystemTree.contents(of: nameOrPath) else {
        throw MachineSourceError(lines: ["\(nameOrPath): cannot be read"])
      }
      return try MachineDescription(yaml: text, source: nameOrPath, name: name(of: nameOrPath))
    }
  }

  /// The last part of a path without its extension, as one word; `host` for the root.
  private static func name(of path: String) -> String {
    let parts = path.split(separator: "/").filter { $0 != "." && $0 != ".." }
    let last = parts.last.map { part in
      part.lastIndex(of: ".").map { part[..<$0] } ?? part
    }
    let word = (last ?? "").map { $0.isWhitespace ? "-" : $0 }
    return word.isEmpty ? "host" : String(word)
  }
}
