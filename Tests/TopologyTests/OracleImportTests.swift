import Foundation
import MemoryTypes
import Testing
import Topology

private let shared = ProcessInfo.processInfo.environment["VERIDIANFS_SHARED"] ?? "/work/shared"
private let hasOracle = FileManager.default.fileExists(atPath: shared + "/oracle/expand")

/// Trees of real kernels, where they are at hand (the directory that VERIDIANFS_SHARED names).
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
    #expect(machine.cpus == expected.cpus)
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
      print(
        "\(name): \(machine.cpus.count) CPUs, \(machine.caches.count) caches, nodes \(totals) MiB, \(machine.performance.count) attributes, blocks \(machine.memoryBlockSize.rawValue >> 20) MiB"
      )
    }
  }
}
