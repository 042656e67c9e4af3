import MemoryTypes
import Synchronization
import Testing
import Topology

@testable import PhysicalMemory

/// Watermarks, reserves, tunables, and batches.
@Suite struct WatermarkTests {
  @Test func asLinuxComputesThem() throws {
    // A node of 1 GiB with the zones DMA and Normal: min_free_kbytes is int_sqrt(16 * 1048576) = 4096.
    let memory = try PhysicalMemory(machine([[0..<262_144]]))
    #expect(memory.tunables.minFreeKilobytes == 4096)
    let zones = memory.snapshot().nodes[0].zones
    #expect(
      zones[0].watermarks.min.rawValue == 16 && zones[0].watermarks.low.rawValue == 20
        && zones[0].watermarks.high.rawValue == 24)
    #expect(zones[1].watermarks.min.rawValue == 1008)
    #expect(zones[1].watermarks.low.rawValue == 1008 + 258)
    #expect(zones[0].watermarks.protection.map(\.rawValue) == [0, 0, 1008, 1008, 1008, 1008])
  }

  @Test func onlyPageTablesGoBelowTheMinimum() throws {
    let memory = try PhysicalMemory(machine([[4096..<12288]]))
    let minimum = memory.snapshot().nodes[0].zones[0].watermarks.min
    while (try? memory.allocate(FrameRequest(1))) != nil {}
    #expect(memory.snapshot().nodes[0].free == minimum)
    var table = FrameRequest(1)
    table.owner = FrameOwner(.pageTable)
    for _ in 0..<minimum.rawValue { _ = try memory.allocate(table) }
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(table) }
    #expect(memory.snapshot().free == 0)
    #expect(memory.verify() == [])
  }

  @Test func lowMemoryIsKeptFromThoseWhoCouldGoElsewhere() throws {
    let memory = try PhysicalMemory(machine([[0..<262_144]]))
    while (try? memory.allocate(FrameRequest(1))) != nil {}
    let dma = memory.snapshot().nodes[0].zones[0]
    #expect(dma.free == dma.watermarks.min + dma.watermarks.protection[2])
    #expect(try memory.allocate(FrameRequest(zone: .dma)).start.rawValue < 4096)
  }

  /// Used by one thread.
  private final class Reclaimer: FrameReclaimer, @unchecked Sendable {
    let woken = Atomic<Int>(0)
    let memory: PhysicalMemory
    var held: [FrameRange] = []
    init(_ memory: PhysicalMemory) { self.memory = memory }
    func memoryIsLow(for request: FrameRequest) { woken.add(1, ordering: .relaxed) }
    func reclaim(for request: FrameRequest) -> Bool {
      guard let range = held.popLast() else { return false }
      return (try? memory.free(range, cpu: CPUID(0))) != nil
    }
  }

  @Test func reclaimIsAskedBeforeMemoryIsOut() throws {
    let memory = try unguarded(machine([[4096..<8192]]))
    let reclaimer = Reclaimer(memory)
    memory.setReclaimer(reclaimer)
    for _ in 0..<10 { reclaimer.held.append(try memory.allocate(FrameRequest(1))) }
    for _ in 0..<4096 { _ = try memory.allocate(FrameRequest(1)) }
    #expect(reclaimer.held.isEmpty && reclaimer.woken.load(ordering: .relaxed) > 0)
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(FrameRequest(1)) }
    memory.setReclaimer(nil)
  }

  @Test func linuxListSizes() throws {
    let memory = try PhysicalMemory(machine([[0..<262_144]], cpus: [4], profile: .linux))
    _ = try memory.allocate(FrameRequest(1))
    let list = memory.snapshot().nodes[0].zones[1].lists[0]
    #expect(list.batch == 63)
    #expect(list.high == max(252, Int(memory.snapshot().nodes[0].zones[1].watermarks.low.rawValue) / 4))
    var tunables = memory.tunables
    tunables.listHigh = 8
    tunables.hybridThreshold = 0
    memory.setTunables(tunables)
    #expect(memory.tunables.hybridThreshold == 1)
    #expect(memory.snapshot().nodes[0].zones[1].lists[0].high == 8)
  }

  @Test(arguments: [1, 5, 64, 512])
  func everyThresholdServes(threshold: Int) throws {
    let memory = try unguarded(machine([[4096..<16384]]))
    var tunables = memory.tunables
    tunables.hybridThreshold = threshold
    memory.setTunables(tunables)
    var random = SplitMix64(seed: UInt64(threshold))
    var held: [FrameRange] = []
    for _ in 0..<300 { if let range = try? memory.allocate(FrameRequest(1 + random.below(100))) { held.append(range) } }
    #expect(memory.verify() == [])
    for range in held { try memory.free(range, cpu: CPUID(1)) }
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == 12288)
  }

  @Test func batches() throws {
    let memory = try unguarded(machine([[4096..<8192]]))
    var frames = [FrameNumber](repeating: FrameNumber(0), count: 5000)
    let count = try unsafe frames.withUnsafeMutableBufferPointer { buffer in
      Result { try unsafe memory.allocateBatch(into: buffer, FrameRequest(1)) }
    }.get()
    #expect(count == 4096)
    #expect(Set(frames.prefix(count)).count == 4096)
    #expect(memory.verify() == [])
    let all = Array(frames.prefix(count))
    try unsafe all.withUnsafeBufferPointer { buffer in Result { try unsafe memory.freeBatch(buffer, cpu: CPUID(1)) } }
      .get()
    #expect(memory.snapshot().free == 4096)
    #expect(memory.verify() == [])
  }
}
