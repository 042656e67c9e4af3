import MemoryTypes
import Testing
import Topology

@Suite struct YAMLTests {
  @Test(arguments: Preset.allCases) func presetsAreValidAndReadBack(_ preset: Preset) throws {
    let machine = preset.machine
    #expect(machine.validate() == [])
    #expect(machine.name == preset.rawValue)
    #expect(!machine.summary.isEmpty)
    #expect(try MachineDescription(yaml: machine.yaml, source: "preset") == machine)
  }

  @Test func settingsAndOddTextsReadBack() throws {
    var machine = Preset.hmat.machine
    machine.summary = "with \"quotes\", a \\ and \u{1}, ünïcode: # no comment"
    for (key, value) in [
      ("profile", "linux"), ("zones", "dma,normal,movable"), ("paging", "5level"), ("wx", "off"), ("seed", "7"),
    ] {
      try machine.settings.set(key, value)
    }
    machine.reserved = []
    machine.caches = []
    machine.performance = []
    #expect(try MachineDescription(yaml: machine.yaml, source: "settings") == machine)
  }

  @Test func shortFormIsLaidOutAroundTheDeviceWindow() throws {
    let machine = try MachineDescription(
      yaml: """
        nodes:
          - {cpus: 0-3, memory: 2G}
          - {cpus: 4-7, memory: 2G}
          - {memory: 1G, kind: cxl}
        """, source: "short", name: "short")
    #expect(machine.name == "short")
    #expect(machine.architecture == .x86_64)
    let memory = machine.nodes.map { $0.memory.map(\.description) }
    #expect(
      memory == [
        ["0x0-0x7fffffff"], ["0x80000000-0xbfffffff", "0x100000000-0x13fffffff"], ["0x140000000-0x17fffffff"],
      ])
    #expect(machine.cpus.map(\.node.rawValue) == [0, 0, 0, 0, 1, 1, 1, 1])
    #expect(machine.cpus.map(\.package) == [0, 0, 0, 0, 1, 1, 1, 1])
    #expect(machine.distances == [[10, 20, 20], [20, 10, 20], [20, 20, 10]])
    #expect(machine.reserved.contains { $0.description == "Kernel code" })
    #expect(try MachineDescription(yaml: machine.yaml, source: "short") == machine)
  }

  @Test(arguments: ["x86_64", "i386", "aarch64", "riscv64"], ["16M", "64M", "300M", "3G", "5G"])
  func anySizeOnAnyArchitectureIsAMachine(architecture: String, size: String) throws {
    let text = """
      architecture: \(architecture)
      nodes: [{cpus: 0, memory: \(size)}, {memory: \(size)}]
      """
    let machine = try MachineDescription(yaml: text, source: "sizes")
    for node in machine.nodes {
      let frames = node.memory.reduce(0) { $0 + machine.frameSize.framesInside($1).count.rawValue }
      let withheld = machine.reservations(of: node).reduce(0) { $0 + $1.frames.count.rawValue }
      #expect(withheld < frames / 2, "\(node.id)")
    }
  }

  @Test func rangesMayNameTheirSize() throws {
    let machine = try MachineDescription(
      yaml: "nodes: [{cpus: 0, memory: [1G+512M, 0x80000000-0x8fffffff]}]", source: "r")
    #expect(machine.nodes[0].memory.map(\.description) == ["0x40000000-0x5fffffff", "0x80000000-0x8fffffff"])
  }

  /// Each text with the lines that report it, in full.
  @Test(arguments: [
    ("", ["m: empty: expected a machine description"]),
    ("# nothing\n", ["m: empty: expected a machine description"]),
    ("[", ["m:2:1: not YAML: while parsing a flow node did not find expected node content"]),
    ("a: b: c", ["m:1:5: not YAML: mapping values are not allowed in this context"]),
    (
      "four nodes",
      [
        "m:1:1: machine: expected keys with values (name, summary, architecture, memory_block_size, settings, cpus, caches, nodes, "
          + "distances, reserved, performance, linux_paging), found 'four nodes'"
      ]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G, colour: red}]",
      ["m:1:31: node: unknown key 'colour': expected id, kind, cpus, memory, late_memory"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}, {cpus: 0}]",
      ["m:1:39: node 1: CPU 0 is in node 0 already: expected each CPU in one node"]
    ),
    ("nodes: [{cpus: 1, memory: 1G}]", ["m:1:8: CPUs: expected every id from 0 to 1, missing 0"]),
    ("nodes: [{memory: 1G}]", ["m:1:8: CPUs: expected at least one"]),
    ("nodes: [{cpus: 0}]", ["m:1:8: no node has memory: expected some"]),
    ("nodes: [{cpus: 0, memory: 0}]", ["m:1:8: no node has memory: expected some"]),
    (
      "nodes: []",
      [
        "m:1:8: nodes: expected at least one", "m:1:8: CPUs: expected at least one",
        "m:1:8: no node has memory: expected some",
      ]
    ),
    (
      "nodes:\n  - {cpus: 0, memory: 0x0-0x3fffffff}\n  - {memory: 512M+1G}",
      ["m:3:14: node 1: 0x20000000-0x5fffffff overlaps 0x0-0x3fffffff of node 0"]
    ),
    (
      "nodes: [{cpus: 0, memory: [0+1G, 0x30000000+4K]}]",
      ["m:1:34: node 0: 0x30000000-0x30000fff overlaps 0x0-0x3fffffff of node 0"]
    ),
    ("nodes: [{cpus: 0, memory: 0x100+1G}]", ["m:1:27: node 0: 0x100-0x400000ff is not aligned to frames of 4K"]),
    (
      "nodes: [{cpus: 0, memory: 0x10-0x1}]",
      ["m:1:27: node 0: memory: expected FIRST-LAST with FIRST before LAST, found '0x10-0x1'"]
    ),
    (
      "nodes: [{cpus: 0, memory: 16E}]",
      ["m:1:27: node 0: memory: expected FIRST-LAST or START+SIZE (as 0x0-0x3fffffff, 4G+1G), found '16E'"]
    ),
    (
      "nodes: [{cpus: 0, memory: 16777215T}]",
      ["m:1:27: node 0: memory: expected addresses below 0x10000000000000 (x86_64)"]
    ),
    (
      "nodes: [{cpus: 0, memory: 0x10000000000000+1G}]",
      ["m:1:27: node 0: expected addresses below 0x10000000000000 (x86_64)"]
    ),
    (
      "architecture: i386\nnodes: [{cpus: 0, memory: 128G}]",
      ["m:2:27: node 0: memory: expected addresses below 0x1000000000 (i386)"]
    ),
    (
      "nodes: [{cpus: 0-9999999, memory: 1G}]",
      ["m:1:16: node 0: cpus: expected a list of numbers below 8192 (as 0-3,8), found '0-9999999'"]
    ),
    ("nodes: [{cpus: 0, memory: 1G}, {id: 0}]", ["m:1:32: node 0 is there twice"]),
    ("nodes: [{id: 2, cpus: 0, memory: 1G}, {id: 1}]", ["m:1:39: node 1 follows node 2: expected ascending ids"]),
    ("nodes: [{id: 1024, cpus: 0, memory: 1G}]", ["m:1:14: node id: expected a number from 0 to 1023, found '1024'"]),
    (
      "nodes: [{cpus: 0, memory: 1G}]\ndistances: [[10, 20]]",
      ["m:2:13: distances, row 0: expected 1 numbers, found 2"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\ndistances: [[11]]", ["m:2:13: distances, row 0: expected 10 to itself, found 11"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}, {}]\ndistances:\n  - [10, 9]\n  - [256, 10]",
      [
        "m:3:5: distances, row 0, column 1: expected 10 to 255, found 9",
        "m:4:5: distances, row 1, column 0: expected 10 to 255, found 256",
      ]
    ),
    ("nodes: [{cpus: 0, memory: 1G}]\ndistances: []", ["m:2:12: distances: expected 1 rows, one a node, found 0"]),
    (
      "memory_block_size: 100M\nnodes: [{cpus: 0, memory: 1G}]",
      ["m:1:20: memory block size: expected a power of two from 16M to 1T, found 100M"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\nreserved:\n  - {range: 0x0-0xfff, kind: bios, description: A}\n  - {range: 0x800-0x1fff, kind: acpi, description: B}",
      ["m:4:5: reserved region 'B' (0x800-0x1fff) overlaps reserved region 'A' (0x0-0xfff)"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\nreserved: [{range: 0x0-0x3fffffff, kind: kernel}]",
      ["m:1:8: all memory is reserved: expected some that is free"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\nreserved: [{range: 2G+4K, kind: boot, description: B}]",
      ["m:2:12: reserved region 'B' (0x80000000-0x80000fff) is of kind boot, but lies in no node's memory"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\ncaches: [{level: 1, size: 64K, ways: 3, cpus: 0-1}]",
      [
        "m:2:10: level 1 unified cache: size 64K is not divisible by 3 ways of 64-byte lines",
        "m:2:10: level 1 unified cache: there is no CPU 1",
      ]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\ncaches: [{level: 1, size: 64K, cpus: 0}, {level: 1, size: 64K, cpus: 0}]",
      ["m:2:42: level 1 unified cache: CPU 0 has one already"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\nperformance: [{initiator: 0, target: 3, read_latency: 1, write_latency: 1, read_bandwidth: 1, write_bandwidth: 1}]",
      ["m:2:15: performance: there is no node 3"]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\nsettings: {paging: sv39, wx: perhaps, zones: [dma, high]}",
      [
        "m:2:20: setting paging: expected 4level, 5level on x86_64, found 'sv39'",
        "m:2:30: setting wx: expected enforce, off, found 'perhaps'",
        "m:2:46: setting zones: expected a list with normal in it, in this order, of dma, dma32, normal, high, movable, device, found 'dma,high'",
      ]
    ),
    (
      "nodes: [{cpus: 0, memory: 1G}]\ncpus: [{id: 0}, {id: 1}]",
      ["m:2:17: CPU 1 is in no node: expected it in one node's cpus"]
    ),
    (
      "nodes: [{cpus: 0-1, memory: 1G}]\ncpus: [{id: 0}]",
      ["m:2:7: cpus: nodes name CPU 1, which has no entry"]
    ),
    (
      "name: two words\nnodes: [{cpus: 0, memory: 1G}]",
      ["m:1:7: name: expected one word without '/', found 'two words'"]
    ),
  ])
  func mistakesAreReportedWithTheirLines(text: String, lines: [String]) {
    let error = #expect(throws: MachineSourceError.self) { try MachineDescription(yaml: text, source: "m") }
    #expect(error?.lines == lines)
  }

  @Test func allMistakesAreReportedAtOnce() {
    let text = """
      name: x
      speed: fast
      architecture: vax
      name: y
      nodes:
        - {id: 0, cpus: 0-3, memory: 1G}
        - {id: 1, cpus: 3, memory: much, memory: 2G}
      distances: [[10, 20], [20, "near"]]
      """
    let error = #expect(throws: MachineSourceError.self) { try MachineDescription(yaml: text, source: "m") }
    #expect(
      error?.lines == [
        "m:1:1: key 'name' is there more than once",
        "m:2:1: machine: unknown key 'speed': expected name, summary, architecture, memory_block_size, settings, cpus, caches, "
          + "nodes, distances, reserved, performance, linux_paging",
        "m:3:15: architecture: expected x86_64, i386, aarch64, riscv64, found 'vax'",
        "m:7:19: node 1: CPU 3 is in node 0 already: expected each CPU in one node",
        "m:7:22: key 'memory' is there more than once",
        "m:8:28: distance: expected a number from 0 to 65535, found 'near'",
      ])
  }

  @Test func whatNestsWithoutEndIsRefused() {
    for text in [
      String(repeating: "[", count: 200_000), String(repeating: "- ", count: 200_000),
      String(repeating: "{a: ", count: 200_000),
      String(repeating: "? ", count: 200_000), String(repeating: " ", count: 1000) + "a: 1",
    ] {
      let error = #expect(throws: MachineSourceError.self) { try MachineDescription(yaml: text, source: "m") }
      #expect(error?.lines == ["m:1:1: nested too deep: expected a machine description"])
    }
  }

  /// Damaged descriptions are refused or read, and what is read is valid.
  @Test(arguments: 0..<8 as Range<UInt64>) func damageIsNeverFatal(seed: UInt64) {
    var random = SeededNumbers(seed: seed)
    let original = Array(Preset.hmat.machine.yaml.utf8)
    let alphabet = Array("0123456789-:,[]{}\"' \nKMGTx#&*!|>%@".utf8)
    for _ in 0..<40 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let place = bytes.indices.randomElement(using: &random)!
        switch random.next() % 3 {
        case 0: bytes.remove(at: place)
        case 1: bytes[place] = alphabet.randomElement(using: &random)!
        default: bytes.insert(alphabet.randomElement(using: &random)!, at: place)
        }
      }
      do throws(MachineSourceError) {
        let machine = try MachineDescription(yaml: String(decoding: bytes, as: UTF8.self), source: "m")
        #expect(machine.validate() == [], "seed \(seed)")
      } catch {
        #expect(!error.lines.isEmpty, "seed \(seed)")
      }
    }
  }
}
