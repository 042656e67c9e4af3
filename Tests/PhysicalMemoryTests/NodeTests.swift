import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// Nodes and zones: who serves whom, and how it is counted.
@Suite struct NodeTests {
  static let gib = 1 << 18

  private func fourNodes() throws -> PhysicalMemory {
    // Two nodes with CPUs, two without: distances of the real kernel's four-node machine.
    try unguarded(
      machine(
        (0..<4).map { [$0 * Self.gib..<($0 + 1) * Self.gib] }, cpus: [4, 4, 0, 0],
        distances: [[10, 21, 17, 28], [21, 10, 28, 17], [17, 28, 10, 28], [28, 17, 28, 10]]))
  }

  @Test func fallbackOrders() throws {
    let memory = try fourNodes()
    #expect(memory.nodes == (0..<4).map { NodeID($0) })
    #expect(
      (0..<4).map { memory.fallbackOrder(of: NodeID($0)).map(\.rawValue) } == [
        [0, 2, 1, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 1, 0, 2],
      ])
    #expect(memory.zones(of: NodeID(0)) == [.dma, .normal])
    #expect(memory.zones(of: NodeID(3)) == [.normal])
  }

  @Test func overflowGoesDownTheListAndIsCounted() throws {
    let memory = try unguarded(machine([[0..<8192], [8192..<9000], []], cpus: [1, 0, 1]))
    // CPU 1 lives on a node without memory.
    let local = try memory.allocate(FrameRequest(1, cpu: 1))
    #expect(local.start.rawValue < 8192)
    var numa = memory.snapshot().nodes[0].numa
    #expect((numa.hit, numa.local, numa.other) == (1, 0, 1))
    for _ in 0..<808 { _ = try memory.allocate(FrameRequest(1, node: 1)) }
    numa = memory.snapshot().nodes[1].numa
    #expect((numa.hit, numa.miss, numa.foreign, numa.local, numa.other) == (808, 0, 0, 0, 808))
    let elsewhere = try memory.allocate(FrameRequest(1, node: 1))
    #expect(elsewhere.start.rawValue < 8192)
    #expect(memory.snapshot().nodes[1].numa.foreign == 1)
    #expect(memory.snapshot().nodes[0].numa.miss == 1)
    var only = FrameRequest(1, node: 1)
    only.onlyNode = true
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(only) }
    #expect(memory.verify() == [])
  }

  @Test func dmaNeverFallsBack() throws {
    let memory = try unguarded(machine([[0..<8192]]))
    for _ in 0..<4096 {
      let range = try memory.allocate(FrameRequest(zone: .dma))
      #expect(range.start.rawValue < 4096)
    }
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(FrameRequest(zone: .dma)) }
    #expect(try memory.allocate(FrameRequest(1)).start.rawValue >= 4096)
  }

  @Test func manySizesOfMachine() throws {
    for bytes in [UInt64(1) << 40, 1 << 44] where bytes <= 1 << 40 || !isSanitized {
      let frames = Int(bytes >> 12)
      let memory = try unguarded(machine([[0..<frames]]))
      #expect(memory.snapshot().managed == frames)
      let large = try memory.allocate(FrameRequest(1 << 20, align: 1 << 20))
      let small = try memory.allocate(FrameRequest(3))
      #expect(memory.verify() == [])
      try memory.free(large, cpu: CPUID(0))
      try memory.free(small, cpu: CPUID(0))
      #expect(memory.snapshot().free == frames)
    }
  }
}
