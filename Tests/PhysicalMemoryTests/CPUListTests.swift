import Glibc
import MemoryTypes
import Synchronization
import Testing
import Topology

@testable import PhysicalMemory

/// The way through a CPU's list, which is compiled into its callers: whatever it does not serve is served or refused all the same.
@Suite struct CPUListTests {
  /// A machine of whole blocks, which its zone gives to the last frame.
  private func make(frames: Int = 4096, cpus: Int = 2) throws -> PhysicalMemory {
    try unguarded(machine([[4096..<4096 + frames]], cpus: [cpus]))
  }

  @Test(arguments: [1, 2, 4, 8, 512])
  func aDoubleFreeIsRefusedWhereverTheFramesLie(count: Int) throws {
    let memory = try make()
    let range = try memory.allocate(FrameRequest(count, align: count))
    try memory.free(range, cpu: CPUID(0))
    // In the list, and drained to the zone.
    for cpu in 0..<2 {
      #expect(throws: MemoryError.notAllocated(range.start)) { try memory.free(range, cpu: CPUID(cpu)) }
    }
    memory.drainLists()
    for cpu in 0..<2 {
      #expect(throws: MemoryError.notAllocated(range.start)) { try memory.free(range, cpu: CPUID(cpu)) }
    }
    #expect(memory.snapshot().free == 4096)
    #expect(memory.verify() == [])
  }

  /// Frames and CPUs whose numbers do not fit the frame table's fields must not be taken for others.
  @Test(arguments: [1, 8, 512])
  func numbersOutOfRangeAreRefused(count: Int) throws {
    let memory = try make()
    let range = try memory.allocate(FrameRequest(count, align: count))
    for cpu in [2, 8192, 1 << 20, 1 << 32, Int.max, -1, Int.min] {
      #expect(throws: MemoryError.noSuchCPU(CPUID(cpu))) { try memory.free(range, cpu: CPUID(cpu)) }
      #expect(throws: MemoryError.noSuchCPU(CPUID(cpu))) {
        try memory.allocate(FrameRequest(count, align: count, cpu: cpu))
      }
    }
    for start in [1 << 20, 1 << 33, UInt64.max, 1 << 63] {
      let wrong = FrameRange(start: FrameNumber(start), count: range.count)
      #expect(throws: MemoryError.noSuchFrame(wrong.start)) { try memory.free(wrong, cpu: CPUID(0)) }
    }
    try memory.free(range, cpu: CPUID(0))
    #expect(memory.verify() == [])
  }

  @Test func aBlockIsFreedAsAWholeOnly() throws {
    let memory = try make()
    let block = try memory.allocate(FrameRequest(512, align: 512))
    for (start, count) in [(1, 512), (256, 512), (0, 1), (0, 8), (8, 8), (0, 256)] {
      let wrong = FrameRange(start: block.start + FrameCount(UInt64(start)), count: FrameCount(UInt64(count)))
      #expect(throws: MemoryError.self) { try memory.free(wrong, cpu: CPUID(0)) }
    }
    #expect(memory.allocation(containing: block.start)?.range == block)
    try memory.free(block, cpu: CPUID(0))
    // The same frames singly: the block's word and the first frame's are two.
    var held: [FrameRange] = []
    while let single = try? memory.allocate(FrameRequest(1)) { held.append(single) }
    #expect(throws: MemoryError.self) { try memory.free(block, cpu: CPUID(0)) }
    #expect(held.count == 4096)
    for range in held { try memory.free(range, cpu: CPUID(0)) }
    #expect(memory.verify() == [])
  }

  /// A list that is full of blocks which came back in order gives half of them to the buddy system: from the second time on as one chunk,
  /// wherever the first of them lay.
  @Test(arguments: 0..<4, [false, true])
  func blocksThatComeBackInOrderLeaveByWholeChunks(phase: Int, backward: Bool) throws {
    let memory = try make(frames: 4 << 20)
    var blocks = try (0..<64 + phase).map { _ in try memory.allocate(FrameRequest(512, align: 512)) }
    blocks.removeFirst(phase)
    if backward { blocks.reverse() }
    memory.drainLists()
    var held = 0
    var drops: [(count: Int, block: UInt64)] = []
    for block in blocks {
      try memory.free(block, cpu: CPUID(0))
      let now = memory.snapshot().nodes[0].zones.reduce(0) { $0 + Int($1.listed.rawValue) } / 512
      #expect(now < 8)
      if now <= held { drops.append((held + 1 - now, block.start.rawValue >> 9)) }
      held = now
    }
    #expect(drops.count > 10)
    for drop in drops.dropFirst() {
      #expect(drop.count == 4)
      #expect(drop.block % 4 == (backward ? 0 : 3))
    }
    #expect(memory.verify() == [])
  }

  @Test(arguments: [1, 4, 512])
  func whatOthersHoldIsNotFreed(count: Int) throws {
    let memory = try make()
    let range = try memory.allocate(FrameRequest(count, align: count))
    try memory.retain(range.start)
    try memory.setMapping(77, of: range.start)
    for cpu in 0..<2 {
      #expect(throws: MemoryError.frameInUse(range.start, owner: "2 references")) {
        try memory.free(range, cpu: CPUID(cpu))
      }
    }
    #expect(try memory.release(range, cpu: CPUID(1)) == 1)
    #expect(memory.mapping(of: range.start) == 77)
    try memory.free(range, cpu: CPUID(0))
    // Whoever gets the frames next finds nothing of it.
    let again = try memory.allocate(FrameRequest(count, align: count))
    #expect(again == range)
    #expect(memory.references(of: again.start) == 1 && memory.mapping(of: again.start) == 0)
    #expect(memory.verify() == [])
  }

  /// Owners change under locks, references without: neither is lost to the other.
  @Test func ownersAndReferencesOfOneFrame() throws {
    let memory = try make()
    let range = try memory.allocate(FrameRequest(1))
    onThreads(2) { thread in
      for step in 0..<2000 {
        if thread == 0 {
          try! memory.setOwner(FrameOwner(.command, id: UInt32(step)), of: range.start)
        } else {
          try! memory.retain(range.start)
        }
      }
    }
    #expect(memory.references(of: range.start) == 2001)
    #expect(memory.allocation(containing: range.start)?.owner == FrameOwner(.command, id: 1999))
    #expect(memory.verify() == [])
  }

  /// Two threads as one CPU, which contend for its list, and as two: of two who free at once one is refused.
  @Test(arguments: [1, 4, 512], [false, true])
  func racingFrees(count: Int, apart: Bool) throws {
    let memory = try make(frames: 512 * 64)
    var ranges: [FrameRange] = []
    for _ in 0..<(count == 512 ? 60 : 2000) { ranges.append(try memory.allocate(FrameRequest(count, align: count))) }
    let all = ranges
    let refused = Atomic<Int>(0)
    onThreads(2) { thread in
      for range in all {
        do throws(MemoryError) { try memory.free(range, cpu: CPUID(apart ? thread : 0)) } catch {
          if error == .notAllocated(range.start) { refused.add(1, ordering: .relaxed) }
        }
      }
    }
    #expect(refused.load(ordering: .relaxed) == all.count)
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == 512 * 64)
  }

  /// Batches beside single frames on two threads.
  @Test func racingBatches() throws {
    let memory = try make(cpus: 1)
    let doubles = Atomic<Int>(0)
    onThreads(2) { thread in
      var random = SplitMix64(seed: UInt64(thread))
      for _ in 0..<200 {
        var frames = [FrameNumber](repeating: FrameNumber(0), count: 1 + random.below(100))
        let result = unsafe frames.withUnsafeMutableBufferPointer { buffer in
          Result { try unsafe memory.allocateBatch(into: buffer, FrameRequest(1)) }
        }
        let taken = Array(frames.prefix(try! result.get()))
        for frame in taken {
          memory.bytes.store64(UInt64(thread), at: PhysicalAddress(frame.rawValue << 12))
        }
        for frame in taken where memory.bytes.load64(PhysicalAddress(frame.rawValue << 12)) != UInt64(thread) {
          doubles.add(1, ordering: .relaxed)
        }
        try! unsafe taken.withUnsafeBufferPointer { buffer in
          Result { try unsafe memory.freeBatch(buffer, cpu: CPUID(0)) }
        }.get()
      }
    }
    #expect(doubles.load(ordering: .relaxed) == 0)
    #expect(memory.snapshot().free == 4096)
    #expect(memory.verify() == [])
  }

  @Test func aBatchIsFreedUpToTheFirstThatIsRefused() throws {
    let memory = try make()
    var frames: [FrameNumber] = []
    for cpu in [0, 0, 1, 0] { frames.append(try memory.allocate(FrameRequest(1, cpu: cpu)).start) }
    let batch = [frames[0], frames[1], frames[2], frames[1], frames[3]]
    #expect(throws: MemoryError.notAllocated(frames[1])) {
      try unsafe batch.withUnsafeBufferPointer { buffer in
        Result { try unsafe memory.freeBatch(buffer, cpu: CPUID(0)) }
      }.get()
    }
    #expect(memory.snapshot().free == 4095)
    #expect(memory.references(of: frames[3]) == 1)
    #expect(memory.verify() == [])
  }

  /// Whole blocks come in larger grants the more are asked for, and go back side by side.
  @Test func blocksByTheHundred() throws {
    let frames = 1 << 23
    let memory = try make(frames: frames)
    var random = SplitMix64(seed: 11)
    var held: [FrameRange] = []
    for round in 0..<4 {
      while let block = try? memory.allocate(FrameRequest(512, align: 512, mobility: .movable)) { held.append(block) }
      #expect(held.count == frames / 512)
      #expect(Set(held.map(\.start)).count == held.count)
      #expect(memory.verify() == [])
      if round % 2 == 1 { held.shuffle(using: &random) }
      for block in held { try memory.free(block, cpu: CPUID(round % 2)) }
      held = []
      #expect(memory.verify() == [])
    }
    memory.drainLists()
    #expect(memory.snapshot().nodes[0].zones[0].freeByOrder[10] == frames / 1024)
  }
}
