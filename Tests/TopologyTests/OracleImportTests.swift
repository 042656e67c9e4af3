import Foundation
import MemoryTypes
import Testing
import Topology

/// What lies beside the repository, if anything: tests that use it are skipped where it is absent.
private let shared = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared").path
private let hasOracle = FileManager.default.fileExists(atPath: shared + "/oracle/expand")

/// Trees of real kernels, held against the presets that repeat them.
@Suite(.enabled(if: hasOracle, "needs the captures of real kernels")) struct OracleImportTests {
  private func imported(_ capture: String) throws -> MachineDescription {
    let tree = try TemporaryTree([:])
    let source = "\(shared)/oracle/captures/\(capture).jsonl.gz"
    try #require(try run("/usr/bin/env", ["python3", shared + "/oracle/expand", source, tree.root]) == 0)
    return try MachineSource.load(tree.root)
  }

  @Test(arguments: [Preset.fourNode, .hmat]) func captureEqualsPreset(_ preset: Preset) throws {
    let machine = try imported(preset.rawValue)
    let expected = preset.machine
    #expect(machine.architecture == expected.architecture)
    #expect(machine.cpus.map(\.id) == expected.cpus.map(\.id))
    #expect(machine.cpus.map(\.node) == expected.cpus.map(\.node))
    // QEMU shows four-node's two sockets as one.
    if preset != .fourNode { #expect(machine.cpus == expected.cpus) }
    #expect(machine.caches == expected.caches)
    #expect(machine.nodes.map(\.memory) == expected.nodes.map(\.memory))
    #expect(machine.distances == expected.distances)
    #expect(machine.memoryBlockSize == expected.memoryBlockSize)
    #expect(machine.memoryBlocks == expected.memoryBlocks)
    #expect(machine.performance == expected.performance)
    for (node, other) in zip(machine.nodes, expected.nodes) {
      func frames(_ machine: MachineDescription, _ node: Node, present: Bool) -> UInt64 {
        machine.reservations(of: node).filter { $0.kind.isPresent == present }.reduce(0) {
          $0 + $1.frames.count.rawValue
        }
      }
      #expect(frames(machine, node, present: true) == frames(expected, other, present: true))
      #expect(frames(machine, node, present: false) == frames(expected, other, present: false))
    }
    // What /proc/iomem showed is what the preset says.
    func shown(_ machine: MachineDescription) -> [String] {
      machine.reserved.filter { !$0.description.isEmpty && $0.kind != .boot }.map { "\($0.range) \($0.description)" }
    }
    #expect(shown(machine) == shown(expected))
    #expect(try MachineDescription(yaml: machine.yaml, source: "imported") == machine)
  }

  private struct Shape {
    var cpus: Int
    var nodes: [Int]
    var mebibytes: UInt64
    var caches: Int
    var attributes = 0
  }

  /// By the directory that each archive holds: what its files say, added up.
  private static let archives = [
    "16amd64-8n2c": Shape(cpus: 16, nodes: Array(0..<8), mebibytes: 65534, caches: 48),
    "256ia64-64n2s2c": Shape(cpus: 256, nodes: Array(0..<64), mebibytes: 504_788, caches: 0),
    "2arm-2c": Shape(cpus: 2, nodes: [0], mebibytes: 274, caches: 0),
    "64amd64-4s2n4ca2co": Shape(cpus: 64, nodes: Array(0..<8), mebibytes: 122_856, caches: 200),
    "8em64t-2s2ca2c-buggynuma": Shape(cpus: 8, nodes: Array(0..<8), mebibytes: 16384, caches: 20),
    "96em64t-4n4d3ca2co": Shape(cpus: 96, nodes: Array(0..<4), mebibytes: 516_086, caches: 256),
    "fakeheteromemtiers": Shape(cpus: 6, nodes: [0, 1, 2, 4, 6, 8, 9], mebibytes: 6272, caches: 19, attributes: 7),
    "memorysidecaches": Shape(cpus: 80, nodes: Array(0..<4), mebibytes: 1_811_030, caches: 122, attributes: 4),
  ]

  @Test func everyArchiveIsAMachine() throws {
    let archives = try FileManager.default.contentsOfDirectory(atPath: shared + "/machines").filter {
      $0.hasSuffix(".tar.bz2")
    }
    #expect(!archives.isEmpty)
    for archive in archives.sorted() {
      let tree = try TemporaryTree([:])
      try #require(try run("/usr/bin/env", ["tar", "xjf", "\(shared)/machines/\(archive)", "-C", tree.root]) == 0)
      let name = try #require(try FileManager.default.contentsOfDirectory(atPath: tree.root).first)
      let machine = try MachineSource.load("\(tree.root)/\(name)")
      #expect(try MachineDescription(yaml: machine.yaml, source: archive) == machine, "\(archive)")
      let totals = machine.nodes.map { node in node.memory.reduce(0) { $0 + $1.size.rawValue } >> 20 }
      let expected = try #require(Self.archives[name], "\(name): total of no known archive")
      #expect(machine.cpus.count == expected.cpus, "\(name)")
      #expect(machine.nodes.map(\.id.rawValue) == expected.nodes, "\(name)")
      #expect(totals.reduce(0, +) == expected.mebibytes, "\(name)")
      #expect(machine.caches.count == expected.caches, "\(name)")
      #expect(machine.performance.count == expected.attributes, "\(name)")
    }
  }
}
