import MemoryTypes

/// PCs and servers as they are sold, with round numbers.
extension MachineDescription {
  /// A PC's description from its processors and the memory of its nodes, laid out around the device window.
  private static func pc(
    _ name: String, _ summary: String, architecture: Architecture = .x86_64, processors: Processors, cpus: [CPU],
    memory: [(kind: Node.Kind, size: ByteCount)], lowEnd: UInt64 = 0xC000_0000, distances: [[Int]],
    performance: [MemoryPerformance] = []
  ) -> MachineDescription {
    var layout = MemoryLayout(architecture: architecture, lowEnd: lowEnd)
    let limit = UInt64(1) << UInt64(architecture.physicalAddressBits)
    let nodes = memory.enumerated().map { id, part in
      Node(id: NodeID(id), memory: layout.place(part.size.rawValue, limit: limit) ?? [], kind: part.kind)
    }
    var reserved =
      Reservations.firstMegabyte + Reservations.deviceWindow(lowEnd: lowEnd, deviceStart: lowEnd)
      + Reservations.kernel(at: 0x100_0000)
    // A 32-bit kernel reaches only its lowest 896 MiB, so that is where its frame descriptors are. Early allocations are as on four-node.
    let top: UInt64? = architecture == .i386 ? 896 << 20 : nil
    reserved += nodes.flatMap { Reservations.boot($0, top: top, more: 755) }
    var machine = MachineDescription(
      name: name, summary: summary, architecture: architecture, cpus: cpus, caches: processors.caches(of: cpus),
      nodes: nodes, distances: distances, reserved: reserved.inOrder, performance: performance)
    machine.memoryBlockSize = memoryBlockSize(nodes: nodes, paging: machine.resolvedPaging)
    return machine
  }

  static var laptop: MachineDescription {
    let processors = Processors(
      packages: 1, cores: 4, threads: 2, caches: .common(l2: .kib(512), l3: .mib(16), l3Cores: 4))
    return pc(
      "laptop", "x86-64, 4 cores of 2 threads, one node of 16 GiB", processors: processors,
      cpus: processors.cpus { _, _ in 0 }, memory: [(.dram, .gib(16))], distances: [[10]])
  }

  static var dualSocket: MachineDescription {
    let processors = Processors(
      packages: 2, cores: 16, threads: 2, caches: .common(l2: .mib(1), l3: .mib(32), l3Cores: 16))
    return pc(
      "dual-socket", "x86-64, 2 sockets of 16 cores of 2 threads, 2 x 64 GiB", processors: processors,
      cpus: processors.cpus { package, _ in package }, memory: [(.dram, .gib(64)), (.dram, .gib(64))],
      lowEnd: 0x8000_0000,
      distances: [[10, 21], [21, 10]])
  }

  /// Eight sockets with three links each, joined as a Möbius ladder (each to both neighbours and to the one opposite), so that one or two
  /// hops lead anywhere.
  static var eightSocket: MachineDescription {
    let processors = Processors(packages: 8, cores: 16, caches: .common(l2: .mib(1), l3: .mib(32), l3Cores: 16))
    let distances = (0..<8).map { from in
      (0..<8).map { to in
        switch (to - from + 8) % 8 {
        case 0: 10
        case 1, 4, 7: 21
        default: 31
        }
      }
    }
    return pc(
      "eight-socket", "x86-64, 8 sockets of 16 CPUs, 8 x 32 GiB, one or two hops apart", processors: processors,
      cpus: processors.cpus { package, _ in package }, memory: Array(repeating: (.dram, .gib(32)), count: 8),
      lowEnd: 0x8000_0000, distances: distances)
  }

  /// Two sockets, an expander behind each, and a larger one behind a switch that both reach alike.
  static var cxl: MachineDescription {
    let processors = Processors(packages: 2, cores: 8, caches: .common(l2: .mib(1), l3: .mib(32), l3Cores: 8))
    func sees(_ initiator: Int, _ target: Int, nanoseconds: Int, megabytes: Int) -> MemoryPerformance {
      MemoryPerformance(
        initiator: NodeID(initiator), target: NodeID(target), readLatency: nanoseconds, writeLatency: nanoseconds,
        readBandwidth: megabytes, writeBandwidth: megabytes)
    }
    return pc(
      "cxl", "x86-64, 2 sockets of 8 CPUs, 2 x 32 GiB DRAM, CXL expanders of 64, 64 and 128 GiB",
      processors: processors,
      cpus: processors.cpus { package, _ in package },
      memory: [(.dram, .gib(32)), (.dram, .gib(32)), (.cxl, .gib(64)), (.cxl, .gib(64)), (.cxl, .gib(128))],
      lowEnd: 0x8000_0000,
      distances: [
        [10, 21, 17, 28, 38], [21, 10, 28, 17, 38], [17, 28, 10, 38, 48], [28, 17, 38, 10, 48], [38, 38, 48, 48, 10],
      ],
      performance: [
        sees(0, 0, nanoseconds: 90, megabytes: 204_800), sees(1, 0, nanoseconds: 150, megabytes: 102_400),
        sees(0, 1, nanoseconds: 150, megabytes: 102_400), sees(1, 1, nanoseconds: 90, megabytes: 204_800),
        sees(0, 2, nanoseconds: 210, megabytes: 49_152), sees(1, 2, nanoseconds: 290, megabytes: 40_960),
        sees(0, 3, nanoseconds: 290, megabytes: 40_960), sees(1, 3, nanoseconds: 210, megabytes: 49_152),
        sees(0, 4, nanoseconds: 420, megabytes: 24_576), sees(1, 4, nanoseconds: 420, megabytes: 24_576),
      ])
  }

  /// Eight nodes of 2 TiB of addresses each, all of them RAM but for the device window.
  static var tera: MachineDescription {
    let processors = Processors(packages: 8, cores: 16, caches: .common(l2: .mib(2), l3: .mib(64), l3Cores: 16))
    let memory = (0..<8).map { (kind: Node.Kind.dram, size: $0 == 0 ? .tib(2) - .gib(1) : ByteCount.tib(2)) }
    return pc(
      "tera", "x86-64, 8 sockets of 16 CPUs, 16 TiB", processors: processors,
      cpus: processors.cpus { package, _ in package }, memory: memory,
      distances: (0..<8).map { from in (0..<8).map { $0 == from ? 10 : $0 / 4 == from / 4 ? 21 : 31 } })
  }

  static var i386HighMemory: MachineDescription {
    let processors = Processors(packages: 1, cores: 2, caches: .common(l2: .kib(512), l3: .mib(4), l3Cores: 2))
    return pc(
      "i386-highmem", "32-bit x86 with PAE, 2 CPUs, one node of 8 GiB, most of it high memory", architecture: .i386,
      processors: processors, cpus: processors.cpus { _, _ in 0 }, memory: [(.dram, .gib(8))], distances: [[10]])
  }
}
