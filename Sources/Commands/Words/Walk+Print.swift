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
    printOutcome(format, into: &text)
    text.newline()
  }

  /// Where the walk ends, in words.
  func end(_ format: borrowing PageFormat) -> String {
    var text = TextBuffer(capacity: 128)
    printOutcome(format, into: &text)
    return text.string
  }

  private func printOutcome(_ format: borrowing PageFormat, into text: inout TextBuffer) {
    text.append("0x")
    text.append(hex: address.rawValue)
    switch outcome {
    case .mapped(let physical, let level, let flags):
      text.append(" -> ")
      text.append(address: physical)
      text.append(", page of ")
      text.append(size: format.pageSize(level: level))
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

extension TextBuffer {
  /// In the largest unit that divides it: `2 MiB`.
  mutating func append(size: ByteCount) {
    let units: InlineArray<5, StaticString> = [" bytes", " KiB", " MiB", " GiB", " TiB"]
    let unit = size.rawValue == 0 ? 0 : min(size.rawValue.trailingZeroBitCount / 10, units.count - 1)
    append(decimal: size.rawValue >> UInt64(10 * unit))
    append(units[unit])
  }

  /// `PRESENT|WRITABLE`, `0` for none.
  mutating func append(flags: PageFlags) {
    var first = true
    for (flag, name) in Self.flagNames where flags.contains(flag) {
      if !first { append(byte: UInt8(ascii: "|")) }
      append(name)
      first = false
    }
    if first { append(byte: UInt8(ascii: "0")) }
  }

  private static let flagNames = PageFlags.names
}
