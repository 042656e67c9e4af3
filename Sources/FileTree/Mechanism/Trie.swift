internal import Machine
internal import SystemPackage

/// The table's paths as a tree of entries: a name, or a name with a number in it, below a parent.
struct Trie: Sendable {
  /// Constant once the trie is made. An object, so that to look at one costs one reference.
  final class Entry: @unchecked Sendable {
    /// The name, or what stands before the number in it.
    let prefix: [UInt8]
    let placeholder: Placeholder?
    /// What stands behind the number.
    let suffix: [UInt8]
    let parent: Int
    /// How many placeholders the path has, its own included: 0 to 2.
    let depth: Int
    let rules: FileSystemRules
    /// Whether the entry, or one above it, comes and goes.
    let mayChange: Bool
    /// Of the first placeholder in the path.
    let subject: (@Sendable (Machine, Int) -> AnyObject?)?
    /// Whether the attributes of the entry can change though its name stays: directories that come and go below it count as its links,
    /// and memory grows.
    fileprivate(set) var attributesChange = false
    fileprivate(set) var row: Row?
    fileprivate(set) var children: [Int] = []

    fileprivate init(
      prefix: [UInt8], placeholder: Placeholder?, suffix: [UInt8], parent: Int, depth: Int, rules: FileSystemRules,
      mayChange: Bool, subject: (@Sendable (Machine, Int) -> AnyObject?)?
    ) {
      self.prefix = prefix
      self.placeholder = placeholder
      self.suffix = suffix
      self.parent = parent
      self.depth = depth
      self.rules = rules
      self.mayChange = mayChange
      self.subject = subject
    }

    var isDirectory: Bool {
      guard let row else { return true }
      if case .directory = row.content { return true }
      return false
    }
    var mode: UInt16 { row?.mode ?? rules.directoryMode }
    func exists(_ machine: Machine, _ instance: Instance) -> Bool { row?.exists(machine, instance) ?? true }

    func name(_ value: Int) -> String {
      String(decoding: prefix, as: UTF8.self) + (placeholder == nil ? "" : String(value))
        + String(decoding: suffix, as: UTF8.self)
    }
  }

  private(set) var entries: [Entry]

  /// Traps where a path is in the table twice, has an unknown placeholder or more than two.
  init(rows: [Row], placeholders: [String: Placeholder]) {
    entries = [
      Entry(prefix: [], placeholder: nil, suffix: [], parent: 0, depth: 0, rules: .root, mayChange: false, subject: nil)
    ]
    var known: [String: Int] = ["": 0]
    for row in rows {
      let parts = row.path.split(separator: "/")
      var path = ""
      var index = 0
      for part in parts {
        path += path.isEmpty ? String(part) : "/" + part
        if let existing = known[path] {
          index = existing
          continue
        }
        let added = Self.entry(part, path: path, below: index, entries[index], placeholders)
        entries.append(added)
        entries[index].children.append(entries.count - 1)
        index = entries.count - 1
        known[path] = index
      }
      precondition(entries[index].row == nil, "\(row.path) is in the table twice")
      entries[index].row = row
    }
    for entry in entries {
      if case .memory? = entry.row?.content { entry.attributesChange = true }
      if entry.children.contains(where: { entries[$0].isDirectory && entries[$0].placeholder?.changes == true }) {
        entry.attributesChange = true
      }
    }
  }

  private static func entry(
    _ part: Substring, path: String, below index: Int, _ parent: Entry, _ placeholders: [String: Placeholder]
  ) -> Entry {
    let rules = FileSystemRules.forPath(path)
    guard let open = part.firstIndex(of: "{"), let close = part.firstIndex(of: "}") else {
      return Entry(
        prefix: Array(part.utf8), placeholder: nil, suffix: [], parent: index, depth: parent.depth, rules: rules,
        mayChange: parent.mayChange, subject: parent.subject)
    }
    let name = String(part[part.index(after: open)..<close])
    guard let placeholder = placeholders[name] else { preconditionFailure("\(path): no placeholder {\(name)}") }
    precondition(parent.depth < 2, "\(path) has more than two placeholders")
    return Entry(
      prefix: Array(part[..<open].utf8), placeholder: placeholder,
      suffix: Array(part[part.index(after: close)...].utf8),
      parent: index, depth: parent.depth + 1, rules: rules, mayChange: parent.mayChange || placeholder.changes,
      subject: parent.depth == 0 ? placeholder.subject : parent.subject)
  }

  /// The instance of an entry that has `value` for its own placeholder, below `outer`.
  func instance(of entry: Entry, below outer: Instance, _ value: Int) -> Instance {
    switch entry.depth {
    case 0: Instance()
    case 1: entry.placeholder == nil ? outer : Instance(outer: value)
    default: entry.placeholder == nil ? outer : Instance(outer: outer.outer, inner: value)
    }
  }

  /// The entry of that name below a directory, and its instance.
  ///
  /// - Complexity: O(children of the directory), numbers checked by their placeholder.
  func lookup(
    _ name: UnsafeRawBufferPointer, below index: Int, _ instance: Instance, _ machine: Machine
  ) -> (index: Int, instance: Instance)? {
    for child in entries[index].children {
      guard let value = unsafe Self.match(name, entries[child]) else { continue }
      let found = self.instance(of: entries[child], below: instance, value)
      if let placeholder = entries[child].placeholder, !placeholder.contains(machine, instance, value) { continue }
      if entries[child].exists(machine, found) { return (child, found) }
    }
    return nil
  }

  /// The number in `name` if it has the entry's form, 0 if the form has none; nil if it has another.
  private static func match(_ name: UnsafeRawBufferPointer, _ entry: Entry) -> Int? {
    let fixed = entry.prefix.count + entry.suffix.count
    guard unsafe name.starts(with: entry.prefix) else { return nil }
    guard entry.placeholder != nil else { return name.count == fixed ? 0 : nil }
    guard name.count > fixed, name.count <= fixed + 9 else { return nil }
    guard unsafe name.suffix(entry.suffix.count).elementsEqual(entry.suffix) else { return nil }
    let digits = entry.prefix.count..<(name.count - entry.suffix.count)
    var value = 0
    for position in digits {
      // SAFETY: the position lies within the name.
      let digit = unsafe name[position]
      guard (0x30...0x39).contains(digit) else { return nil }
      value = value * 10 + Int(digit - 0x30)
    }
    // Names have no leading zeros: "node01" is not node1.
    return unsafe digits.count > 1 && name[digits.lowerBound] == 0x30 ? nil : value
  }
}

extension Inode {
  private static let innerBits: UInt64 = 24
  private static let outerBits: UInt64 = 28

  /// Entry, outer and inner number, packed; 1 is the root.
  init(entry: Int, _ instance: Instance) {
    precondition(instance.outer < 1 << Self.outerBits && instance.inner < 1 << Self.innerBits)
    self.init(
      rawValue: 1
        + (UInt64(entry) << (Self.outerBits + Self.innerBits) | UInt64(instance.outer) << Self.innerBits
          | UInt64(instance.inner)))
  }

  var entry: Int { Int((rawValue &- 1) >> (Self.outerBits + Self.innerBits)) }
  var instance: Instance {
    let packed = rawValue &- 1
    return Instance(
      outer: Int(packed >> Self.innerBits & (1 << Self.outerBits - 1)), inner: Int(packed & (1 << Self.innerBits - 1)))
  }
}
