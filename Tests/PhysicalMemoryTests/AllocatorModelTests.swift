import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// The allocator against a naive model, a set of ranges, over random histories.
@Suite struct AllocatorModelTests {
  /// Machines of odd bases and sizes: the ranges of one node, in frames.
  static let shapes: [[Range<Int>]] = [
    [5000..<5001], [4096..<4099], [4090..<4100], [0..<511], [3..<514], [4097..<6000], [4096..<8192 + 77],
    [777..<1025, 1100..<5000, 9000..<9513],
    [0..<0x9f, 0x100..<262_144], [4096..<16_777_216 + 4096],
    isSanitized ? [1 << 28 - 100_000..<1 << 28] : [1 << 32 - 100_000..<1 << 32],
  ]

  @Test(arguments: shapes.indices, [1, 2, 3] as [UInt64])
  func agreesWithModel(shape: Int, seed: UInt64) throws {
    let ranges = Self.shapes[shape]
    let reserved =
      ranges[0].count > 100
      ? [
        (ranges[0].lowerBound..<ranges[0].lowerBound + 3, "first"),
        (ranges[0].lowerBound + 7..<ranges[0].lowerBound + 9, "second"),
      ] : []
    let memory = try unguarded(machine([ranges], reserved: reserved))
    var random = SplitMix64(seed: seed)
    var held: [FrameRange] = []
    let managed = ranges.reduce(0) { $0 + $1.count } - reserved.reduce(0) { $0 + $1.0.count }
    var free = managed
    #expect(memory.snapshot().free == free, "shape \(shape) seed \(seed)")
    for step in 0..<400 {
      let context = "shape \(shape) seed \(seed) step \(step)"
      let growing = step % 200 < 120
      if random.below(10) < (growing ? 7 : 3) {
        let count = [1, 1, 1, 2, 3, 4, 8, 16, 100, 511, 512, 513, 700, 1024, 5000, 1 + random.below(600)].randomElement(
          using: &random)!
        let align = [1, 1, 1, 2, 8, 64, 512, 1024].randomElement(using: &random)!
        let mobility = Mobility.allCases.randomElement(using: &random)!
        do {
          let got = try memory.allocate(FrameRequest(count, align: align, cpu: random.below(2), mobility: mobility))
          let first = Int(got.start.rawValue)
          #expect(got.count.rawValue == UInt64(count), "\(context)")
          #expect(first % align == 0, "\(context)")
          #expect(ranges.contains { $0.contains(first) && $0.contains(first + count - 1) }, "\(context): \(got)")
          #expect(!reserved.contains { $0.0.overlaps(first..<first + count) }, "\(context)")
          if let other = held.first(where: { $0.overlaps(got) }) {
            Issue.record("\(context): \(got) overlaps \(other)")
          }
          held.append(got)
          free -= count
        } catch {
          #expect(error == .outOfMemory(count: FrameCount(UInt64(count))), "\(context)")
          // A single frame is refused only where there is none.
          if count == 1, align == 1 { #expect(free == 0, "\(context)") }
        }
      } else if let index = held.indices.randomElement(using: &random) {
        let range = held.remove(at: index)
        try memory.free(range, cpu: CPUID(random.below(2)))
        free += Int(range.count.rawValue)
        #expect(throws: MemoryError.notAllocated(range.start), "\(context)") { try memory.free(range, cpu: CPUID(0)) }
      }
      let snapshot = memory.snapshot()
      #expect(snapshot.free == free, "\(context)")
      #expect(snapshot.managed == managed, "\(context)")
      if step % 50 == 0 {
        #expect(memory.verify() == [], "\(context)")
        var listed: [FrameRange] = []
        memory.forEachAllocation {
          listed.append($0.range)
          return true
        }
        #expect(listed == held.sorted { $0.start < $1.start }, "\(context)")
        for range in held.prefix(20) {
          let inside = range.start + FrameCount(UInt64(random.below(Int(range.count.rawValue))))
          #expect(memory.allocation(containing: inside)?.range == range, "\(context)")
        }
      }
    }
    for range in held { try memory.free(range, cpu: CPUID(0)) }
    memory.drainLists()
    #expect(memory.verify() == [])
    let fresh = try unguarded(machine([ranges], reserved: reserved))
    // All merges back to what a fresh machine has.
    #expect(totalChunks(memory) == totalChunks(fresh))
  }

  private func totalChunks(_ memory: PhysicalMemory) -> [[Int]] {
    memory.snapshot().nodes.flatMap { $0.zones.map(\.freeByOrder) }
  }

  @Test(arguments: [1, 3, 64, 511, 512, 1024])
  func exhaustionAndRecovery(count: Int) throws {
    let ranges = [0x123..<0x9000]
    let memory = try unguarded(machine([ranges]))
    let before = totalChunks(memory)
    var held: [FrameRange] = []
    while let range = try? memory.allocate(FrameRequest(count)) { held.append(range) }
    #expect(memory.verify() == [])
    if count == 1 { #expect(held.count == 0x9000 - 0x123) }
    if count == 512 { #expect(held.count == 0x9000 / 512 - 1) }
    for range in held.shuffled() { try memory.free(range, cpu: CPUID(1)) }
    memory.drainLists()
    #expect(memory.verify() == [])
    #expect(totalChunks(memory) == before)
  }

  @Test func resetIsAFreshMachine() throws {
    let description = machine([[0..<0x9000], [0x10000..<0x20000]])
    let memory = try unguarded(description)
    for count in [1, 2, 700, 512, 33] { _ = try memory.allocate(FrameRequest(count, node: count % 2)) }
    memory.reset()
    #expect(memory.verify() == [])
    #expect(try memory.snapshot() == unguarded(description).snapshot())
  }

  @Test func tailOfLargeRequestGoesBack() throws {
    let memory = try unguarded(machine([[4096..<8192]]))
    let range = try memory.allocate(FrameRequest(700))
    #expect(range.start.rawValue % 1024 == 0)
    #expect(memory.snapshot().free == 4096 - 700)
    #expect(memory.allocation(containing: range.start + FrameCount(699))?.range == range)
    #expect(memory.allocation(containing: range.start + FrameCount(700)) == nil)
    try memory.free(range, cpu: CPUID(0))
    #expect(memory.verify() == [])
    #expect(memory.snapshot().nodes[0].zones[0].freeByOrder[10] == 4)
  }
}
