internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Topology

extension Verb {
  // MARK: plug

  /// What no file can say: which node memory is added to. Blocks go and come by their own files.
  static let plug = Verb(
    "plug",
    positional: [
      Parameter("node", .number(0...UInt64(Int32.max)), "the node that gets the memory"),
      Parameter("size", .number(0...UInt64.max), "bytes: a multiple of block_size_bytes"),
    ],
    required: 2,
    keys: [Parameter("at", .number(0...UInt64.max), "its physical address; behind all memory if not given")],
    summary: "adds memory to a node, and answers where; auto_online_blocks says whether it is used at once",
    execute: { arguments, machine in
      guard let node = arguments.node, let size = arguments.number("size") else {
        preconditionFailure("plug's node and size are required")
      }
      let start = arguments.number("at").map { PhysicalAddress($0) } ?? machine.nextBlockAddress
      guard !start.rawValue.addingReportingOverflow(size).overflow else {
        throw Refusal(.outOfRange, "memory at \(start) of \(size) bytes passes the end of all addresses")
      }
      let range = PhysicalRange(start: start, size: ByteCount(size))
      try machine.addMemory(range, to: node)
      return range
    },
    print: { range, machine, text in
      let size = machine.description.memoryBlockSize.rawValue
      let first = range.start.rawValue / size
      let last = (range.end.rawValue - 1) / size
      text.append(string: range.description)
      text.append(string: first == last ? " memory\(first)\n" : " memory\(first) to memory\(last)\n")
    })
}
