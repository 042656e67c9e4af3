import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// What is refused, with what, and that nothing changes then.
@Suite struct RefusalTests {
  private func make() throws -> PhysicalMemory {
    try unguarded(machine([[0..<0x8000], []], reserved: [(0..<0x100, "BIOS"), (0x200..<0x400, "Kernel code")]))
  }

  @Test func requests() throws {
    let memory = try make()
    let before = memory.snapshot()
    #expect(throws: MemoryError.invalidSize(FrameCount(0))) { try memory.allocate(FrameRequest(0)) }
    #expect(throws: MemoryError.invalidSize(FrameCount(1 << 20 + 1))) { try memory.allocate(FrameRequest(1 << 20 + 1)) }
    #expect(throws: MemoryError.invalidAlignment(FrameCount(3))) { try memory.allocate(FrameRequest(1, align: 3)) }
    #expect(throws: MemoryError.invalidAlignment(FrameCount(0))) { try memory.allocate(FrameRequest(1, align: 0)) }
    #expect(throws: MemoryError.noSuchCPU(CPUID(9))) { try memory.allocate(FrameRequest(1, cpu: 9)) }
    #expect(throws: MemoryError.noSuchNode(NodeID(7))) { try memory.allocate(FrameRequest(1, node: 7)) }
    #expect(throws: MemoryError.noSuchZone(.dma32, nil)) { try memory.allocate(FrameRequest(zone: .dma32)) }
    #expect(throws: MemoryError.noSuchZone(.normal, NodeID(1))) {
      try memory.allocate(FrameRequest(node: NodeID(1), onlyNode: true, zone: .normal))
    }
    #expect(memory.snapshot() == before)
  }

  @Test func frees() throws {
    let memory = try make()
    let one = try memory.allocate(FrameRequest(1))
    let some = try memory.allocate(FrameRequest(100))
    let large = try memory.allocate(FrameRequest(2048))
    let before = memory.snapshot()
    func refused(_ range: FrameRange, _ error: MemoryError) {
      #expect(throws: error) { try memory.free(range, cpu: CPUID(0)) }
    }
    refused(frames(0x50, 1), .reservedFrame(FrameNumber(0x50), region: "BIOS"))
    refused(frames(0x200, 512), .reservedFrame(FrameNumber(0x200), region: "Kernel code"))
    refused(frames(0x9000, 1), .noSuchFrame(FrameNumber(0x9000)))
    refused(frames(0x7fff, 1), .notAllocated(FrameNumber(0x7fff)))
    refused(
      frames(Int(one.start.rawValue), 2),
      .wrongAllocationSize(one.start, given: FrameCount(2), allocated: FrameCount(1)))
    refused(
      FrameRange(start: some.start + FrameCount(1), count: FrameCount(99)),
      .notAllocationStart(some.start + FrameCount(1), start: some.start))
    refused(
      FrameRange(start: large.start + FrameCount(1024), count: FrameCount(1024)),
      .notAllocationStart(large.start + FrameCount(1024), start: large.start))
    #expect(throws: MemoryError.noSuchCPU(CPUID(100))) { try memory.free(one, cpu: CPUID(100)) }
    try memory.retain(one.start)
    refused(one, .frameInUse(one.start, owner: "2 references"))
    #expect(try memory.release(one, cpu: CPUID(0)) == 1)
    #expect(memory.snapshot() == before)
    #expect(memory.verify() == [])
    #expect(try memory.release(one, cpu: CPUID(0)) == 0)
    refused(one, .notAllocated(one.start))
  }

  @Test func reservations() throws {
    #expect(throws: MemoryError.overlappingReservations("a (0x10000-0x1ffff)", "b (0x1f000-0x2ffff)")) {
      try unguarded(machine([[0..<0x8000]], reserved: [(0x10..<0x20, "a"), (0x1f..<0x30, "b")]))
    }
    // A reserved zone, and reservations that reach out of memory.
    let memory = try unguarded(
      machine([[0..<0x3000]], reserved: [(0..<0x1000, "all of DMA"), (0x2fff..<0x5000, "end")]))
    #expect(memory.snapshot().managed == 0x1fff)
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(FrameRequest(zone: .dma)) }
    #expect(memory.verify() == [])
  }

  @Test func holderData() throws {
    let memory = try make()
    let range = try memory.allocate(FrameRequest(8, mobility: .movable))
    try memory.setMapping(1 << 44 - 1, of: range.start)
    try memory.retain(range.start)
    #expect(memory.references(of: range.start) == 2)
    try memory.setOwner(FrameOwner(.pageCache, id: .max), of: range.start)
    #expect(
      memory.allocation(containing: range.start + FrameCount(3))
        == Allocation(
          range: range, owner: FrameOwner(.pageCache, id: .max), mobility: .movable, references: 2, mapping: 1 << 44 - 1
        ))
    #expect(memory.snapshot().nodes[0].frames(of: .pageCache).rawValue == 8)
    #expect(memory.verify() == [])
    #expect(throws: MemoryError.notAllocationStart(range.start + FrameCount(1), start: range.start)) {
      try memory.setMapping(0, of: range.start + FrameCount(1))
    }
  }
}
