internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage

extension Verb {
  // MARK: alloc

  static let alloc = Verb(
    "alloc",
    keys: [
      Parameter("order", .number(0...UInt64.max), "2^ORDER frames, naturally aligned: 0 to 20"),
      Parameter("count", .number(0...UInt64.max), "COUNT contiguous frames: 1 to 1048576; 1 if neither is given"),
      Parameter(
        "node", .number(0...UInt64(Int32.max)),
        "the node to prefer; others follow by distance. The CPU's own if not given"),
      Parameter("zone", .zone, "the highest zone that may serve; lower ones follow, and DMA never falls back"),
      Parameter("cpu", .number(0...UInt64(Int32.max)), "the CPU that asks; 0 if not given"),
      Parameter(
        "type", .choice(Mobility.allCases.map(\.description)),
        "what can become of the frames: whether compaction and the like may move them; unmovable if not given"),
      Parameter(
        "align", .number(1...UInt64.max),
        "bytes, a power of two: the address is a multiple of it, and of a frame in any case"),
      Parameter("owner", .word, "a name that list shows and that free owner=NAME frees by; the line if not given"),
      Parameter("zero", .flag, "the bytes read zero; else they are what was there before"),
    ],
    summary: "takes contiguous frames, and answers the first one's physical address",
    execute: { arguments, machine in
      var request = FrameRequest()
      if let order = arguments.number("order") {
        guard arguments.number("count") == nil else {
          throw Refusal(.invalidArgument, "order= and count= exclude each other")
        }
        guard order <= 20 else { throw MemoryError.invalidOrder(Int(clamping: order)) }
        request.count = FrameCount(order: Int(order))
        request.alignment = request.count
      } else {
        request.count = FrameCount(arguments.number("count") ?? 1)
      }
      request.cpu = arguments.cpu ?? request.cpu
      request.node = arguments.node
      request.zone = arguments.zone("zone")
      if let type = arguments.token("type") {
        request.mobility = Mobility.allCases.first { type == $0.description } ?? request.mobility
      }
      if let align = arguments.number("align") {
        guard align.nonzeroBitCount == 1 else {
          throw Refusal(.invalidArgument, "align=\(align) is no power of two")
        }
        let frames = FrameCount(max(1, align >> UInt64(machine.memory.frameSize.shift)))
        request.alignment = max(request.alignment, frames)
      }
      request.zeroed = arguments.flag("zero")
      let name = arguments.token("owner")?.text
      if name == "" { throw Refusal(.invalidArgument, "owner= lacks a name") }
      request.owner = name.map(machine.lineOwners.owner) ?? FrameOwner(.command, id: machine.line)
      let range = try machine.memory.allocate(request)
      // A name becomes known with the first frames that it holds.
      if let name { machine.lineOwners.add(name) }
      return range
    },
    print: { range, machine, text in
      text.append(address: machine.memory.frameSize.address(of: range.start))
      text.newline()
    })

  // MARK: free

  static let free = Verb(
    "free",
    positional: [
      Parameter("address", .word, "the physical address that alloc answered, or all: everything that alloc has taken")
    ],
    keys: [Parameter("owner", .word, "everything that alloc has taken under that name, wherever it lies now")],
    summary: "gives back what alloc has taken: an address, all, or an owner's",
    execute: { arguments, machine in
      if let name = arguments.token("owner") {
        if let address = arguments.token("address") {
          throw Refusal(.invalidArgument, "\(address.quoted) and owner= exclude each other")
        }
        guard machine.lineOwners.contains(name.text) else {
          throw Refusal(.invalidArgument, "\(name.quoted) is the owner of nothing: no alloc has named it")
        }
        let owner = machine.lineOwners.owner(name.text)
        return try giveBack(machine) { $0 == owner }
      }
      guard let token = arguments.token("address") else {
        throw Refusal(.invalidArgument, "free lacks ADDRESS or owner=; usage: \(arguments.usage)")
      }
      if token == "all" { return try giveBack(machine) { _ in true } }
      let size = machine.memory.frameSize.bytes.rawValue
      let address = try token.number()
      guard address % size == 0 else {
        throw Refusal(.invalidArgument, "\(token.quoted) is not the address of a frame: no multiple of \(size)")
      }
      let frame = machine.memory.frameSize.frame(of: PhysicalAddress(address))
      guard let allocation = machine.memory.allocation(containing: frame) else {
        // Whether it is free, reserved or no memory at all is the allocator's to say.
        try machine.memory.free(FrameRange(start: frame, count: FrameCount(1)), cpu: CPUID(0))
        throw MemoryError.notAllocated(frame)
      }
      guard allocation.range.start == frame else {
        throw MemoryError.notAllocationStart(frame, start: allocation.range.start)
      }
      guard allocation.owner.kind == .command else {
        throw MemoryError.frameInUse(frame, owner: machine.name(of: allocation.owner))
      }
      try machine.checkUnmapped(allocation.range)
      try machine.memory.free(allocation.range, cpu: CPUID(0))
      return (allocations: 1, frames: allocation.range.count)
    },
    print: { freed, machine, text in
      text.append("freed ")
      text.append(string: freed.frames.description)
      if freed.allocations != 1 { text.append(string: " in \(freed.allocations) allocations") }
      text.newline()
    })

  /// Frees what lines have taken, of the owners chosen.
  private static func giveBack(
    _ machine: Machine, _ chosen: (FrameOwner) -> Bool
  ) throws(MemoryError) -> (allocations: Int, frames: FrameCount) {
    var ranges: [FrameRange] = []
    machine.memory.forEachAllocation { allocation in
      if allocation.owner.kind == .command, chosen(allocation.owner) { ranges.append(allocation.range) }
      return true
    }
    for range in ranges { try machine.checkUnmapped(range) }
    for range in ranges { try machine.memory.free(range, cpu: CPUID(0)) }
    return (ranges.count, ranges.reduce(.zero) { $0 + $1.count })
  }

  // MARK: list

  static let list = Verb(
    "list", summary: "shows what is allocated, where, and by whom",
    execute: { _, machine in
      var runs: [Run] = []
      machine.memory.forEachAllocation { allocation in
        if let last = runs.last, last.continues(with: allocation) {
          runs[runs.count - 1].times += 1
        } else {
          runs.append(Run(allocation: allocation, times: 1))
        }
        return true
      }
      return runs
    },
    print: { runs, machine, text in
      text.append("ADDRESS              FRAMES      TIMES  NODE  MOBILITY     OWNER\n")
      for run in runs {
        text.append("0x")
        text.append(hex: machine.memory.frameSize.address(of: run.allocation.range.start).rawValue, width: 12)
        text.append(decimal: run.allocation.range.count.rawValue, width: 13)
        text.append(decimal: run.times, width: 11)
        text.append(decimal: machine.node(of: run.allocation.range.start)?.rawValue ?? -1, width: 6)
        text.append("  ")
        text.append(string: run.allocation.mobility.description, leftAlignedIn: 13)
        text.append(string: machine.name(of: run.allocation.owner))
        text.newline()
      }
    })

  /// Allocations of one size that follow one another and belong together.
  private struct Run {
    var allocation: Allocation
    var times: UInt64
    func continues(with next: Allocation) -> Bool {
      let behind = allocation.range.start.rawValue + allocation.range.count.rawValue * times
      return next.range.start.rawValue == behind && next.range.count == allocation.range.count
        && next.owner == allocation.owner && next.mobility == allocation.mobility
    }
  }
}

extension TextBuffer {
  /// `0x` and the digits.
  mutating func append(address: PhysicalAddress) {
    append("0x")
    append(hex: address.rawValue)
  }
}
