import MemoryTypes
import Testing
import Topology

@Suite struct ImportTests {
  private static let x86 = "processor : 0\nflags : fpu lm\nprocessor : 1\nflags : fpu lm\n"

  private func load(_ files: [String: String]) throws -> MachineDescription {
    let tree = try TemporaryTree(files)
    let machine = try MachineSource.load(tree.root)
    #expect(machine.validate() == [])
    #expect(try MachineDescription(yaml: machine.yaml, source: "imported") == machine)
    return machine
  }

  /// Two nodes in blocks of 2 GiB with the PC's hole in one, as a root reader sees them.
  private static let blocks = [
    "proc/cpuinfo": x86,
    "proc/iomem": """
    00000000-00000fff : Reserved
    00001000-0009ffff : System RAM
    000a0000-000fffff : Reserved
    00100000-bfffffff : System RAM
      01000000-01ffffff : Kernel code
    c0000000-febfffff : PCI Bus 0000:00
    100000000-1ffffffff : System RAM
    """,
    "sys/devices/system/cpu/present": "0-1\n", "sys/devices/system/cpu/cpu0/topology/core_id": "0\n",
    "sys/devices/system/cpu/cpu1/topology/core_id": "7\n",
    "sys/devices/system/memory/block_size_bytes": "80000000\n",
    "sys/devices/system/node/node0/memory0/state": "online", "sys/devices/system/node/node0/memory1/state": "online",
    "sys/devices/system/node/node0/cpulist": "0\n", "sys/devices/system/node/node0/distance": "10 21\n",
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:        3000000 kB\n",
    "sys/devices/system/node/node2/memory2/state": "online", "sys/devices/system/node/node2/memory3/state": "online",
    "sys/devices/system/node/node2/cpulist": "1\n", "sys/devices/system/node/node2/distance": "21 10\n",
    "sys/devices/system/node/node2/meminfo": "Node 2 MemTotal:        4194304 kB\n",
  ]

  @Test func blocksAndResourcesGiveTheMap() throws {
    let machine = try load(Self.blocks)
    #expect(machine.architecture == .x86_64)
    #expect(machine.nodes.map(\.id.rawValue) == [0, 2])
    let memory = machine.nodes.map { $0.memory.map(\.description) }
    #expect(memory == [["0x0-0xbfffffff"], ["0x100000000-0x1ffffffff"]])
    #expect(machine.memoryBlockSize == .gib(2))
    #expect(machine.cpus.map(\.node.rawValue) == [0, 2])
    #expect(machine.cpus.map(\.core) == [0, 7])
    #expect(machine.distances == [[10, 21], [21, 10]])
    #expect(machine.reserved.contains { $0.description == "Kernel code" && $0.kind == .kernel })
    // What the kernel did not manage is withheld, to the frame.
    let withheld = machine.reservations(of: machine.nodes[0]).reduce(0) { $0 + $1.frames.count.rawValue }
    #expect((3 << 20) - withheld * 4 == 3_000_000)
    #expect(machine.reservations(of: machine.nodes[1]).isEmpty)
  }

  @Test func resourcesWithoutAddressesAreNone() throws {
    var files = Self.blocks
    files["proc/iomem"] =
      "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n"
    let machine = try load(files)
    #expect(machine.nodes[0].memory.map(\.description) == ["0x0-0xbfffffff"])
    #expect(machine.reserved.map(\.kind) == [.boot])
  }

  @Test func amountsAloneAreLaidOut() throws {
    let machine = try load([
      "proc/cpuinfo": Self.x86, "sys/devices/system/node/node0/cpumap": "00000003\n",
      "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 3500001 kB\n",
      "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: 1048576 kB\n",
      "sys/devices/system/node/node1/distance": "20 10\n",
    ])
    let memory = machine.nodes.map { $0.memory.map(\.description) }
    #expect(memory == [["0x0-0xbfffffff", "0x100000000-0x1159f8fff"], ["0x118000000-0x157ffffff"]])
    #expect(machine.distances == [[10, 20], [20, 10]])
    #expect(machine.cpus.map(\.node.rawValue) == [0, 0])
  }

  @Test func withoutNodesThereIsOne() throws {
    let machine = try load(["proc/cpuinfo": Self.x86, "proc/meminfo": "MemTotal:       1000000 kB\n"])
    #expect(machine.nodes.map(\.id.rawValue) == [0])
    #expect(machine.cpus.count == 2)
    #expect(machine.nodes[0].memory.map(\.size) == [ByteCount(1_000_000 << 10)])
    #expect(machine.distances == [[10]])
  }

  @Test(arguments: [
    ("flags : fpu pae\n", Architecture.i386), ("CPU implementer : 0x41\n", .aarch64), ("isa : rv64imafdc\n", .riscv64),
    ("vendor : GenuineIntel\narch : IA-64\n", .x86_64),
  ])
  func architecturesAreTold(cpuinfo: String, architecture: Architecture) throws {
    let machine = try load(["proc/cpuinfo": cpuinfo, "proc/meminfo": "MemTotal: 1000000 kB\n"])
    #expect(machine.architecture == architecture)
  }

  @Test func nonsenseIsRepaired() throws {
    let machine = try load([
      "proc/cpuinfo": Self.x86,
      // CPU 1 is possible but not there; every node claims both CPUs, and links tell whose they are.
      "sys/devices/system/cpu/present": "0,2\n", "sys/devices/system/cpu/cpu0/cache/index0/level": "1",
      "sys/devices/system/cpu/cpu0/cache/index0/type": "Data", "sys/devices/system/cpu/cpu0/cache/index0/size": "33K",
      "sys/devices/system/cpu/cpu0/cache/index0/ways_of_associativity": "7",
      "sys/devices/system/cpu/cpu0/cache/index1/level": "9", "sys/devices/system/cpu/cpu0/cache/index1/type": "Data",
      "sys/devices/system/cpu/cpu1/topology/core_id": "1", "sys/devices/system/cpu/cpu2/topology/core_id": "-1",
      "sys/devices/system/cpu/cpu2/topology/physical_package_id": "-1",
      "sys/devices/system/node/node0/cpulist": "0-7\n", "sys/devices/system/node/node1/cpulist": "0-7\n",
      "sys/devices/system/node/node0/cpu0": "-> ../../cpu/cpu0",
      "sys/devices/system/node/node1/cpu2": "-> ../../cpu/cpu2",
      "sys/devices/system/node/node0/distance": "0 5\n", "sys/devices/system/node/node1/distance": "999 11\n",
      "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 262144 kB\n",
      "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: x kB\n",
      "sys/devices/system/node/node0/memory0/state": "", "sys/devices/system/node/node0/memory1/state": "",
      "sys/devices/system/node/node1/memory1/state": "", "sys/devices/system/node/node1/memory99999999999/state": "",
      "sys/devices/system/node/node1/access0/initiators/node7": "-> ../../node7",
      "sys/devices/system/node/node1/access0/initiators/read_latency": "1",
      "sys/devices/system/node/node1/access0/initiators/read_bandwidth": "1",
    ])
    #expect(machine.cpus.map(\.id.rawValue) == [0, 1])
    #expect(machine.cpus.map(\.node.rawValue) == [0, 1])
    #expect(machine.cpus.map(\.package) == [0, 0])
    #expect(machine.distances == [[10, 20], [255, 10]])
    #expect(machine.caches.map(\.ways) == [0])
    #expect(machine.nodes.map(\.memory.count) == [1, 0])
    #expect(machine.performance.isEmpty)
  }

  @Test func attributesAreRead() throws {
    var files = Self.blocks
    for (name, value) in [
      ("read_latency", "80"), ("write_latency", "90"), ("read_bandwidth", "1000"), ("write_bandwidth", "900"),
    ] {
      files["sys/devices/system/node/node2/access0/initiators/\(name)"] = value + "\n"
    }
    files["sys/devices/system/node/node2/access0/initiators/node0"] = "-> ../../../node0"
    let machine = try load(files)
    #expect(
      machine.performance == [
        MemoryPerformance(
          initiator: NodeID(0), target: NodeID(2), readLatency: 80, writeLatency: 90, readBandwidth: 1000,
          writeBandwidth: 900)
      ])
  }

  @Test func thisMachineIsOne() throws {
    let machine = try MachineSource.load("/")
    #expect(machine.name == "host")
    #expect(!machine.cpus.isEmpty)
    #expect(try MachineDescription(yaml: machine.yaml, source: "host") == machine)
  }

  @Test func whatIsNoMachineIsRefused() throws {
    let empty = try TemporaryTree([:])
    #expect(
      throws: MachineSourceError(lines: [
        "\(empty.root): not a machine's root: expected sys/devices/system or proc/meminfo in it"
      ])
    ) {
      try MachineSource.load(empty.root)
    }
    let bare = try TemporaryTree(["sys/devices/system/cpu/online": "0\n"])
    let error = #expect(throws: MachineSourceError.self) { try MachineSource.load(bare.root) }
    #expect(error?.lines.first?.contains("no memory") == true)
  }
}

@Suite struct MachineSourceTests {
  @Test func presetsComeFirst() throws {
    #expect(try MachineSource.load("four-node") == Preset.fourNode.machine)
  }

  @Test func settingsComeLast() throws {
    let tree = try TemporaryTree(["m.yaml": "settings: {profile: linux, seed: 1}\nnodes: [{cpus: 0, memory: 1G}]\n"])
    let machine = try MachineSource.load(tree.root + "/m.yaml", settings: [("seed", "2"), ("aslr", "off")])
    #expect(machine.name == "m")
    #expect(machine.settings.profile == .linux)
    #expect(machine.settings.seed == 2)
    #expect(!machine.settings.aslr)
  }

  @Test func everyWrongSettingIsReported() {
    let error = #expect(throws: MachineSourceError.self) {
      try MachineSource.load("four-node", settings: [("seed", "x"), ("colour", "red"), ("thp", "never")])
    }
    #expect(error?.lines.count == 2)
    let misfit = #expect(throws: MachineSourceError.self) {
      try MachineSource.load("four-node", settings: [("paging", "sv39")])
    }
    #expect(misfit?.lines == ["four-node: setting paging: expected 4level, 5level on x86_64, found 'sv39'"])
  }

  @Test func whatIsNotThereNamesThePresets() {
    let error = #expect(throws: MachineSourceError.self) { try MachineSource.load("five-node") }
    #expect(error?.lines.count == 1)
    for preset in Preset.allCases { #expect(error?.lines.first?.contains(preset.rawValue) == true) }
  }
}
