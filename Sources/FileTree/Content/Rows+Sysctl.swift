internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology

extension Table {
  /// `/proc/sys`: a row for each of `Sysctl.all`.
  static let sysctlRows: [Row] = Sysctl.all.map { entry in
    Row(
      "proc/sys/\(entry.directory)/\(entry.name)", entry.mode, content(of: entry),
      "Documentation/admin-guide/sysctl/\(entry.directory).rst",
      exists: { machine, _ in entry.exists(on: machine) })
  }

  private static func content(of entry: Sysctl) -> Row.Content {
    switch entry.form {
    case .trigger: .action({ (machine, _, _) throws(Errno) in machine.compactAll() })
    case .nothing: .number({ (_, _, _) throws(Errno) in }, { (_, bytes) throws(Errno) in bytes.count })
    case .order(let letters, let shown):
      .attribute(
        { (_, _, text) throws(Errno) in
          text.append(string: shown)
          text.newline()
        },
        { (_, _, bytes) throws(Errno) in
          guard let first = bytes.first, letters.utf8.contains(first) else { throw .invalidArgument }
        })
    case .zones: .number(render(entry), storeRatios)
    case .signed, .signedOrZero, .unsigned, .processNumber, .flag:
      .number(
        render(entry),
        { (machine, bytes) throws(Errno) in
          var text = SysctlText(bytes)
          text.skipSpaces()
          let value = try entry.form.value(text.number(), on: machine)
          // What stands behind the first number is left, but for the blanks.
          text.skipSpaces()
          machine.set(entry.key, to: value)
          return text.taken
        })
    }
  }

  private static func render(_ entry: Sysctl) -> Row.Render {
    { (machine, _, text) throws(Errno) in
      for (index, value) in machine.values(of: entry.key).enumerated() {
        if index > 0 { text.append(byte: 0x09) }
        if case .unsigned = entry.form {
          text.append(decimal: UInt64(UInt(bitPattern: value)))
        } else {
          text.append(decimal: value)
        }
      }
      text.newline()
    }
  }

  /// Takes as many numbers as can be read and pretends to have taken all where the first cannot: the handler looks at no error.
  private static func storeRatios(_ machine: Machine, _ bytes: [UInt8]) throws(Errno) -> Int {
    var text = SysctlText(bytes)
    var ratios: [Int] = []
    let most = machine.zoneKinds.count
    while ratios.count < most {
      text.skipSpaces()
      guard !text.isAtEnd, let number = try? text.number() else { break }
      guard let value = try? number.signed(in: Int(Int32.min)...Int(Int32.max)) else { break }
      ratios.append(value)
      if ratios.count == most { text.skipSpaces() }
    }
    if ratios.isEmpty { return bytes.count }
    machine.setLowmemReserveRatios(ratios)
    return text.taken
  }
}

extension Sysctl.Form {
  /// The number as the entry takes it; EINVAL where it does not.
  fileprivate func value(_ number: SysctlText.Number, on machine: Machine) throws(Errno) -> Int {
    switch self {
    case .signed(let range): return try number.signed(in: range)
    case .signedOrZero(let range): return number.magnitude == 0 ? 0 : try number.signed(in: range)
    case .unsigned(let range): return try number.unsigned(in: range)
    case .processNumber:
      let limits = machine.users.pidLimits
      return try number.signed(in: Int(limits.lowerBound)...Int(limits.upperBound))
    case .flag: return number.magnitude == 0 ? 0 : 1
    case .zones, .order, .trigger, .nothing: throw .invalidArgument
    }
  }
}
