internal import AddressSpaces
internal import MemoryTypes

extension CallRow {
  private static func number(_ name: String) -> Parameter { Parameter(name: name, kind: .number) }
  private static func optional(_ name: String) -> Parameter { Parameter(name: name, kind: .number, isOptional: true) }
  private static func mask(_ name: String) -> Parameter { Parameter(name: name, kind: .mask) }
  private static func text(_ name: String) -> Parameter { Parameter(name: name, kind: .text) }

  /// Every call, in the order of the help.
  static let all: [CallRow] = [
    CallRow(
      "mmap",
      [number("ADDRESS"), number("LENGTH"), number("PROT"), number("FLAGS"), number("DESCRIPTOR"), number("OFFSET")],
      "maps an area; its address"
    ) { call throws(CallError) in
      .address(
        try call.memory.mmap(
          call.process, call.number(0), call.number(1), protection: call.number(2), flags: call.number(3), file: nil,
          offset: call.number(5)))
    },
    CallRow("munmap", [number("ADDRESS"), number("LENGTH")], "takes areas away") { call throws(CallError) in
      try call.memory.munmap(call.process, call.number(0), call.number(1))
      return .number(0)
    },
    CallRow("mprotect", [number("ADDRESS"), number("LENGTH"), number("PROT")], "changes an area's rights") {
      call throws(CallError) in
      try call.memory.mprotect(call.process, call.number(0), call.number(1), protection: call.number(2))
      return .number(0)
    },
    CallRow(
      "mremap",
      [number("ADDRESS"), number("OLD_LENGTH"), number("NEW_LENGTH"), number("FLAGS"), optional("NEW_ADDRESS")],
      "changes an area's size or place; its address"
    ) { call throws(CallError) in
      .address(
        try call.memory.mremap(
          call.process, call.number(0), call.number(1), call.number(2), flags: call.number(3), to: call.number(4)))
    },
    CallRow("madvise", [number("ADDRESS"), number("LENGTH"), number("ADVICE")], "says how a range will be used") {
      call throws(CallError) in
      try call.memory.madvise(call.process, call.number(0), call.number(1), advice: call.number(2))
      return .number(0)
    },
    CallRow("mlock", [number("ADDRESS"), number("LENGTH")], "keeps a range in memory") { call throws(CallError) in
      try call.memory.mlock(call.process, call.number(0), call.number(1))
      return .number(0)
    },
    CallRow(
      "mlock2", [number("ADDRESS"), number("LENGTH"), number("FLAGS")], "the same, with MLOCK_ONFAULT as touched"
    ) { call throws(CallError) in
      try call.memory.mlock(call.process, call.number(0), call.number(1), flags: call.number(2))
      return .number(0)
    },
    CallRow("munlock", [number("ADDRESS"), number("LENGTH")], "undoes mlock") { call throws(CallError) in
      try call.memory.munlock(call.process, call.number(0), call.number(1))
      return .number(0)
    },
    CallRow("mlockall", [number("FLAGS")], "keeps the process in memory") { call throws(CallError) in
      try call.memory.mlockall(call.process, flags: call.number(0))
      return .number(0)
    },
    CallRow("munlockall", [], "undoes mlockall") { call throws(CallError) in
      call.memory.munlockall(call.process)
      return .number(0)
    },
    CallRow("msync", [number("ADDRESS"), number("LENGTH"), number("FLAGS")], "writes a file mapping back") {
      call throws(CallError) in
      try call.memory.msync(call.process, call.number(0), call.number(1), flags: call.number(2))
      return .number(0)
    },
    CallRow("mincore", [number("ADDRESS"), number("LENGTH"), optional("VECTOR")], "a digit a page: 1 in memory, 0 not")
    {
      call throws(CallError) in
      let pages = try call.memory.mincore(call.process, call.number(0), call.number(1))
      return .text("0 " + String(pages.map { $0 ? "1" : "0" }))
    },
    CallRow("brk", [number("OFFSET")], "moves the break; both count from the first break") { call throws(CallError) in
      let start = call.process.breakStart
      return .offset(Int64(bitPattern: call.memory.brk(call.process, to: start &+ call.number(0)) &- start))
    },
    CallRow(
      "mbind",
      [number("ADDRESS"), number("LENGTH"), number("MODE"), mask("NODES"), number("MAXNODE"), number("FLAGS")],
      "gives a range a policy"
    ) { call throws(CallError) in
      try call.memory.bind(
        call.process, call.number(0), call.number(1), mode: call.number(2), mask: call.mask(3), maxNode: call.number(4),
        flags: call.number(5))
      return .number(0)
    },
    CallRow("set_mempolicy", [number("MODE"), mask("NODES"), number("MAXNODE")], "gives the process a policy") {
      call throws(CallError) in
      try call.memory.setPolicy(call.process, mode: call.number(0), mask: call.mask(1), maxNode: call.number(2))
      return .number(0)
    },
    CallRow(
      "get_mempolicy", [number("ADDRESS"), number("FLAGS")],
      recorded: [mask("MODE"), mask("NODES"), number("MAXNODE"), number("ADDRESS"), number("FLAGS")],
      "a policy's mode and nodes"
    ) { call throws(CallError) in
      let address = call.arguments.count > 2 ? 3 : 0
      let (mode, nodes) = try call.memory.policy(
        call.process, at: call.number(address), flags: call.number(address + 1))
      return .text("0 mode=\(mode) nodes=0x\(String(nodes.words[0], radix: 16))")
    },
    CallRow(
      "migrate_pages", [number("PID"), number("MAXNODE"), mask("OLD_NODES"), mask("NEW_NODES")],
      "moves a process's pages between nodes; how many could not be moved"
    ) { call throws(CallError) in
      .number(
        Int64(
          try call.memory.migratePages(
            call.process, of: call.number(0), maxNode: call.number(1), from: call.mask(2), to: call.mask(3))))
    },
    CallRow(
      "move_pages", [number("ADDRESS"), number("PAGES"), number("NODE"), number("FLAGS")],
      recorded: [
        number("PID"), number("PAGES"), mask("ADDRESSES"), mask("NODES"), mask("STATUS"), number("FLAGS"),
      ],
      "moves pages to a node, or with -1 says where they are; each page's status"
    ) { call throws(CallError) in
      if call.number(1) > 1 << 16 { throw .outOfMemory }
      if call.arguments.count > 4 {
        let count = Int(call.number(1))
        let addresses = call.mask(2) ?? []
        if addresses.count < count { throw .badAddress }
        let nodes = call.mask(3)
        if let nodes, nodes.count < count { throw .badAddress }
        let status = try call.memory.movePages(
          call.process, of: call.number(0), at: Array(addresses.prefix(count)),
          to: nodes.map { $0.prefix(count).map { Int(Int32(truncatingIfNeeded: $0)) } }, flags: call.number(5))
        return .text("0 [" + status.map(String.init).joined(separator: ", ") + "]")
      }
      let size = UInt64(1) << call.memory.pageShift
      let addresses = (0..<call.number(1)).map { call.number(0) &+ $0 &* size }
      let node = Int64(bitPattern: call.number(2))
      let status = try call.memory.movePages(
        call.process, of: 0, at: addresses,
        to: node < 0 ? nil : addresses.map { _ in Int(Int32(truncatingIfNeeded: node)) }, flags: call.number(3))
      return .text("0 [" + status.map(String.init).joined(separator: ", ") + "]")
    },
    CallRow(
      "sched_setaffinity", [number("PID"), number("LENGTH"), mask("CPUS")],
      "says where the process may run: [0 2] is CPUs 0 and 2, [0x5] as well"
    ) { call throws(CallError) in
      try call.memory.setAffinity(call.process, of: call.number(0), mask: call.cpus(2), length: call.number(1))
      return .number(0)
    },
    CallRow("fork", [], "makes a child; its number", isAccess: true) { call throws(CallError) in
      .number(Int64(try call.memory.fork(call.process).pid.rawValue))
    },
    CallRow("exit", [optional("STATUS")], "ends the process") { call throws(CallError) in
      call.memory.exit(call.process)
      return .nothing
    },
    CallRow(
      "load", [number("ADDRESS"), number("LENGTH")],
      "the bytes read, at most 65536, with the faults that took, or a signal",
      isAccess: true
    ) {
      call throws(CallError) in
      if call.number(1) > 65536 { throw .invalid }
      var bytes = [UInt8](repeating: 0, count: Int(call.number(1)))
      let outcome = unsafe bytes.withUnsafeMutableBytes {
        unsafe call.memory.load(call.process, call.number(0), into: $0)
      }
      switch outcome {
      case .done(let faults): return .text("\(CallOutcome.quoted(bytes)) faults=\(faults)")
      case .signal(let signal): return .signal(signal)
      }
    },
    CallRow(
      "store", [number("ADDRESS"), text("BYTES")], "writes bytes: how many, with the faults that took, or a signal",
      isAccess: true
    ) {
      call throws(CallError) in
      let bytes = call.text(1)
      switch unsafe bytes.withUnsafeBytes({ unsafe call.memory.store(call.process, call.number(0), $0) }) {
      case .done(let faults): return .text("\(bytes.count) faults=\(faults)")
      case .signal(let signal): return .signal(signal)
      }
    },
    CallRow("maps", [], "the process's areas between 4 GiB and its heap") { call throws(CallError) in
      // Nothing, where addresses have 32 bits.
      let window = 0x1_0000_0000...max(0x1_0000_0000, min(0x200_0000_0000, call.process.breakStart))
      var lines: [String] = []
      call.process.space.forEachArea { area in
        guard window.contains(area.start), window.contains(area.end) else { return }
        lines.append("\(String(area.start, radix: 16))-\(String(area.end, radix: 16)) \(area.flags.rights)")
      }
      return .lines(lines)
    },
    CallRow("pagemap", [number("ADDRESS"), number("LENGTH")], "a letter a page: P present, . not") {
      call throws(CallError) in
      let shift = call.memory.pageShift
      let size = UInt64(1) << shift
      let (end, overflows) = call.number(0).addingReportingOverflow(call.number(1))
      if overflows || call.number(1) > size << 20 { throw .invalid }
      let pages = call.number(0) >> shift..<max(call.number(0) >> shift, (end &+ size &- 1) >> shift)
      return .text(String(pages.map { call.memory.isEntered(call.process, page: $0 << shift) ? "P" : "." }))
    },
    CallRow("smaps", [number("ADDRESS"), text("FIELD")], "a field of smaps of the area that holds the address") {
      call throws(CallError) in
      let field = String(decoding: call.text(1), as: UTF8.self)
      let value = call.memory.smapsField(call.process, call.number(0), field)
      return .text("\(value.map(String.init) ?? "-1") kB")
    },
    CallRow("numa_maps", [number("ADDRESS")], "the policy of that area, and its pages by node") {
      call throws(CallError) in
      guard let area = call.memory.lastArea(call.process, from: call.number(0)) else { return .text("none") }
      var statistics = AreaStatistics()
      call.memory.gather(area, of: call.process.space, into: &statistics)
      let nodes = statistics.nodes.sorted { $0.key < $1.key }.map { " N\($0.key.rawValue)=\($0.value)" }
      // A reader that splits at blanks takes `prefer (many):0-1` for `prefer`.
      let policy = call.memory.shownPolicy(call.process, of: area).prefix { $0 != " " }
      return .text(policy + nodes.joined())
    },
  ]

  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
