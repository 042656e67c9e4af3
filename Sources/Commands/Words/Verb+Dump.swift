internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Translation

extension Verb {
  static let dumpPT = Verb(
    "dump_pt",
    positional: [
      Parameter(
        "address", .word,
        "a virtual address, the kernel's half included; START-END for what is mapped there; all; or root for the registers"
      )
    ],
    required: 1,
    keys: [
      Parameter(
        "pid", .number(0...UInt64(Int32.max)),
        "the process whose space is shown, 0 for the kernel's own; 1 if not given")
    ],
    summary: "walks the page tables to a virtual address, level by level, or shows all that they map",
    execute: { arguments, machine in
      guard let token = arguments.token("address") else { preconditionFailure("dump_pt's address is required") }
      let what = try Dumped.What(token)
      return Dumped(table: try table(arguments, machine), what: what)
    },
    print: { dumped, machine, text in dumped.print(machine.format, into: &text) })

  private static func table(
    _ arguments: borrowing Arguments, _ machine: Machine
  ) throws(MemoryError) -> PageTable {
    let pid = ProcessID(Int32(arguments.number("pid") ?? 1))
    if pid.rawValue == 0 { return machine.kernelTable }
    guard let process = machine.users.process(pid) else { throw .noSuchProcess(pid) }
    return process.space.pageTable
  }
}

/// What `dump_pt` shows.
private struct Dumped {
  enum What {
    case walk(VirtualAddress)
    case pages(first: VirtualAddress, last: VirtualAddress)
    case root
  }
  var table: PageTable
  var what: What

  func print(_ format: borrowing PageFormat, into text: inout TextBuffer) {
    switch what {
    case .walk(let address): table.walk(address).print(format, into: &text)
    case .pages(let first, let last):
      var extents: [MappedExtent] = []
      table.forEachExtent(from: first, through: last) { extents.append($0) }
      for extent in extents { extent.print(format, into: &text) }
      if extents.isEmpty { text.append("nothing is mapped there\n") }
    case .root:
      for (name, value) in table.rootRegisters() {
        text.append(string: name)
        text.append("=0x")
        text.append(hex: value)
        text.newline()
      }
    }
  }
}

extension Dumped.What {
  /// `all`, `root`, `START-END` or an address.
  init(_ token: Token) throws(Refusal) {
    switch token.text {
    case "all": self = .pages(first: VirtualAddress(0), last: VirtualAddress(.max))
    case "root": self = .root
    default:
      let ends = token.parts(at: UInt8(ascii: "-"))
      guard ends.count == 2, !ends[0].isEmpty else {
        self = .walk(VirtualAddress(try token.number()))
        return
      }
      let (start, end) = (try ends[0].number(), try ends[1].number())
      guard start < end else { throw Refusal(.invalidArgument, "\(token.quoted) ends before it begins") }
      self = .pages(first: VirtualAddress(start), last: VirtualAddress(end - 1))
    }
  }
}

extension MappedExtent {
  /// `START-END -> PHYSICAL, N pages of SIZE FLAGS`.
  fileprivate func print(_ format: borrowing PageFormat, into text: inout TextBuffer) {
    let size = format.pageSize(level: level)
    text.append("0x")
    text.append(hex: start.rawValue, width: 16)
    text.append("-0x")
    text.append(hex: start.rawValue &+ pageCount &* size.rawValue, width: 16)
    text.append(flags.contains(.present) ? " -> " : " held ")
    text.append(address: physical)
    text.append(", ")
    text.append(decimal: pageCount)
    text.append(pageCount == 1 ? " page of " : " pages of ")
    text.append(size: size)
    text.append(byte: 0x20)
    text.append(flags: flags)
    text.newline()
  }
}
