internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology
internal import Translation

extension Verb {
  // MARK: translate

  static let translate = Verb(
    "translate",
    positional: [Parameter("address", .number(0...UInt64.max), "a virtual address, the kernel's half included")],
    required: 1,
    keys: [
      Parameter(
        "pid", .number(1...UInt64(Int32.max)),
        "the process whose space the CPU loads first; the one it has loaded if not given"),
      Parameter("cpu", .number(0...UInt64(Int32.max)), "the CPU; the process's, else 0, if not given"),
    ],
    summary: "translates an address as a CPU's hardware does, for a read by the kernel, and says what answered",
    execute: { arguments, machine in
      let address = VirtualAddress(arguments.number("address") ?? 0)
      let mmu = machine.users.mmu
      var process: Process?
      if let number = arguments.number("pid") {
        let pid = ProcessID(Int32(number))
        guard let found = machine.users.process(pid) else { throw MemoryError.noSuchProcess(pid) }
        process = found
      }
      let cpu = arguments.cpu ?? process?.cpu ?? CPUID(0)
      try check(cpu, machine)
      guard machine.format.isCanonical(address) else { throw MemoryError.notCanonical(address) }
      // What would fault is refused before any CPU has seen it: no TLB holds what the tables do not have.
      let loaded = try mmu.loadedSpace(on: cpu).flatMap { machine.users.process(ProcessID(Int32(bitPattern: $0))) }
      guard let table = (process ?? loaded)?.space.pageTable ?? kernelTable(machine, for: address) else {
        throw Refusal(.badAddress, "\(cpu) has no process's space loaded; tlb switch loads one, and pid= names one")
      }
      let walk = table.walk(address)
      guard case .mapped = walk.outcome else { throw Refusal(.badAddress, walk.end(machine.format)) }
      if process != nil { try mmu.switchSpace(on: cpu, to: table) }
      let (result, source) = try mmu.trace(address, .read, user: false, on: cpu)
      guard case .success(let physical) = result else { throw MemoryError.notMapped(address) }
      return Translated(
        address: address, physical: physical, source: source, cpu: cpu,
        level: table.mapping(at: machine.format.untagged(address))?.level ?? 0)
    },
    print: { translated, machine, text in
      let source =
        switch translated.source {
        case .first: "hit in the L1 TLB"
        case .second: "hit in the L2 TLB"
        case .walk(let references, let fromRoot):
          "walk of \(references) \(references == 1 ? "entry" : "entries")\(fromRoot ? "" : ", the tables above cached")"
        }
      text.append(string: "\(translated.address) -> \(translated.physical), page of ")
      text.append(size: machine.format.pageSize(level: translated.level))
      text.append(string: ", \(translated.cpu): \(source)\n")
    })

  private struct Translated {
    var address: VirtualAddress
    var physical: PhysicalAddress
    var source: TranslationSource
    var cpu: CPUID
    var level: Int
  }

  private static func kernelTable(_ machine: Machine, for address: VirtualAddress) -> PageTable? {
    machine.format.isKernel(address) ? machine.kernelTable : nil
  }

  /// EINVAL for a CPU that the machine has not, as sched_setaffinity(2) has it.
  private static func check(_ cpu: CPUID, _ machine: Machine) throws(Refusal) {
    guard machine.cpu(cpu) != nil else { throw Refusal(.invalidArgument, MemoryError.noSuchCPU(cpu).description) }
  }

  // MARK: tlb flush

  static let flushTLB = Verb(
    "tlb flush",
    positional: [
      Parameter(
        "mode", .choice(["single", "range", "global", "full"]),
        "a page; COUNT pages; everything but global entries; everything"),
      Parameter(
        "address", .number(0...UInt64.max), "of the page or the first page, in the space that each CPU has loaded"),
      Parameter(
        "count", .number(1...UInt64.max), "base pages; above tlb_single_page_flush_ceiling everything is flushed"),
    ],
    required: 1,
    keys: [Parameter("cpus", .word, "a list, as 0-3,6; those that have translated anything if not given")],
    summary: "makes CPUs forget translations, from CPU 0",
    execute: { arguments, machine in
      guard let mode = arguments.token("mode") else { preconditionFailure("tlb flush's mode is required") }
      let (address, count) = (arguments.number("address"), arguments.number("count"))
      let (takesAddress, takesCount) = (mode == "single" || mode == "range", mode == "range")
      guard (address != nil) == takesAddress, (count != nil) == takesCount else {
        let wants = takesCount ? "ADDRESS and COUNT" : takesAddress ? "ADDRESS alone" : "nothing behind it"
        throw Refusal(.invalidArgument, "\(mode.quoted) takes \(wants)")
      }
      let start = VirtualAddress(address ?? 0)
      let named = try cpus(arguments, machine)
      return try machine.users.mmu.flush(
        takesCount
          ? .range(start, pageCount: count ?? 1)
          : takesAddress ? .single(start) : mode == "global" ? .global : .full, on: named)
    },
    print: { report, _, text in
      text.append(decimal: report.acknowledged)
      text.append(report.acknowledged == 1 ? " other CPU has acknowledged, " : " other CPUs have acknowledged, ")
      text.append(decimal: report.nanoseconds)
      text.append(" ns\n")
    })

  private static func cpus(_ arguments: borrowing Arguments, _ machine: Machine) throws(Refusal) -> [CPUID]? {
    guard let token = arguments.token("cpus") else { return nil }
    let limit = 8192
    guard let numbers = RangeList.parse(list: token.text, limit: limit), !numbers.isEmpty else {
      throw Refusal(.invalidArgument, "\(token.quoted) is no list of CPUs, as 0-3,6")
    }
    for number in numbers { try check(CPUID(number), machine) }
    return numbers.map { CPUID($0) }
  }

  // MARK: tlb switch

  static let switchTLB = Verb(
    "tlb switch",
    positional: [
      Parameter("cpu", .number(0...UInt64(Int32.max)), "the CPU"),
      Parameter(
        "pid", .number(0...UInt64(Int32.max)),
        "the process whose space it loads; 0 for a kernel thread, which borrows the space that is there"),
    ],
    required: 2,
    summary: "switches a CPU to a process's address space",
    execute: { arguments, machine in
      let cpu = arguments.cpu ?? CPUID(0)
      try check(cpu, machine)
      let pid = ProcessID(Int32(arguments.number("pid") ?? 0))
      if pid.rawValue == 0 {
        try machine.users.mmu.enterLazyMode(on: cpu)
      } else {
        guard let process = machine.users.process(pid) else { throw MemoryError.noSuchProcess(pid) }
        try machine.users.mmu.switchSpace(on: cpu, to: process.space.pageTable)
      }
      return (cpu, pid)
    },
    print: { outcome, _, text in
      let (cpu, pid) = outcome
      text.append(string: pid.rawValue == 0 ? "\(cpu) runs the kernel, lazily\n" : "\(cpu) runs \(pid)\n")
    })
}
