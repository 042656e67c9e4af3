import MemoryTypes
import Testing

@testable import PhysicalMemory

/// Allocations that become allocations of a frame each.
@Suite struct SplitTests {
  /// 512 frames come from a CPU's list, 1024 from the zone.
  @Test(arguments: [512, 1024]) func givesFramesBackOneByOne(_ count: Int) throws {
    let memory = try PhysicalMemory(machine([[0..<8192]]))
    let before = memory.snapshot().free
    let range = try memory.allocate(FrameRequest(count, align: count, mobility: .movable))
    memory.split(range)
    #expect(memory.verify().isEmpty)
    #expect(memory.snapshot().free == before - count)
    let start = Int(range.start.rawValue)
    #expect(memory.allocation(containing: FrameNumber(UInt64(start + 7)))?.range == frames(start + 7, 1))
    #expect(throws: MemoryError.self) { try memory.free(range, cpu: CPUID(0)) }
    // Every other one, then the rest.
    for first in [1, 0] {
      for frame in stride(from: first, to: count, by: 2) { try memory.free(frames(start + frame, 1), cpu: CPUID(0)) }
      #expect(memory.verify().isEmpty)
    }
    #expect(memory.snapshot().free == before)
    memory.drainLists()
    #expect(try memory.allocate(FrameRequest(2048, align: 2048)).count == FrameCount(2048))
  }
}
