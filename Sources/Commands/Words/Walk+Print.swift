internal import MemoryTypes
internal import Translation

extension Walk {
  /// One line a level: the table's frame, the index, the raw entry, what it means; then where the walk ends.
  func print(_ format: borrowing PageFormat, into text: inout TextBuffer) {
    for step in steps {
      text.append(format.levelNames[step.level])
      text.append(" frame 0x")
      text.append(hex: step.table.rawValue)
      text.append(" index ")
      text.append(decimal: step.index)
      text.append(" entry 0x")
      text.append(hex: step.raw, width: 16)
      text.append(byte: 0x20)
      step.printMeaning(format, into: &text)
      text.newline()
    }
    text.append("0x")
    text.append(hex: address.rawValue)
    switch outcome {
    case .mapped(let physical, let level, let flags):
      text.append(" -> ")
      text.append(address: physical)
      text.append(", page of ")
      text.append(string: format.pageSize(level: level).readable)
      text.append(byte: 0x20)
      text.append(flags: flags)
    case .absent(let level): printEnd(" is not mapped: the walk ends at ", level, format, &text)
    case .held(let level): printEnd(" is held, but not accessible: the walk ends at ", level, format, &text)
    case .reserved(let level): printEnd(" leads to a reserved entry: the walk ends at ", level, format, &text)
    case .noMemory(let physical, let level):
      printEnd(" leads to no memory: the walk ends at ", level, format, &text)
      text.append(", whose entry names ")
      text.append(address: physical)
    case .notCanonical: text.append(" is not canonical: there is nothing to walk")
    }
    text.newline()
  }

  private func printEnd(_ words: StaticString, _ level: Int, _ format: borrowing PageFormat, _ text: inout TextBuffer) {
    text.append(words)
    text.append(format.levelNames[level])
  }
}

extension Walk.Step {
  fileprivate func printMeaning(_ format: borrowing PageFormat, into text: inout TextBuffer) {
    switch kind {
    case .table:
      text.append("table at ")
      text.append(address: format.tableAddress(raw))
    case .leaf:
      text.append("page at ")
      text.append(address: format.leafAddress(raw, level: level))
    case .held: text.append("held")
    case .absent: text.append("absent")
    case .reserved: text.append("reserved")
    }
    if !flags.isEmpty {
      text.append(byte: 0x20)
      text.append(flags: flags)
    }
  }
}

extension ByteCount {
  /// In the largest unit that divides it: `2 MiB`.
  var readable: String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    var value = rawValue
    var unit = 0
    while value > 0, value % 1024 == 0, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(value) \(units[unit])"
  }
}

extension TextBuffer {
  /// `PRESENT|WRITABLE`, `0` for none.
  fileprivate mutating func append(flags: PageFlags) {
    var first = true
    for (flag, name) in Self.flagNames where flags.contains(flag) {
      if !first { append(byte: UInt8(ascii: "|")) }
      append(string: name)
      first = false
    }
    if first { append(byte: UInt8(ascii: "0")) }
  }

  private static let flagNames = PageFlags.names
}
