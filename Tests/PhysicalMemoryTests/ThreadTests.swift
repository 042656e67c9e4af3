import Glibc
import MemoryTypes
import Synchronization
import Testing
import Topology

@testable import PhysicalMemory

/// Many threads at once: nothing is handed out twice, nothing is lost, every instant is consistent.
@Suite struct ThreadTests {
  @Test func randomHistories() throws {
    let memory = try unguarded(machine([[0..<0x8000], [0x8000..<0x10000]]))
    let managed = memory.snapshot().managed
    let stop = Atomic<Bool>(false)
    let doubles = Atomic<Int>(0)
    onThreads(4) { thread in
      if thread == 3 {
        while !stop.load(ordering: .relaxed) {
          let snapshot = memory.snapshot()
          let held = snapshot.nodes.reduce(0) { $0 + $1.framesByOwner.reduce(0) { $0 + Int($1.rawValue) } }
          precondition(snapshot.free + held == managed)
          memory.drainLists()
          usleep(500)
        }
        return
      }
      var random = SplitMix64(seed: UInt64(thread))
      var held: [FrameRange] = []
      for _ in 0..<4000 {
        if random.below(2) == 0 || held.isEmpty {
          let count = [1, 1, 2, 4, 8, 3, 77, 512, 700].randomElement(using: &random)!
          guard let range = try? memory.allocate(FrameRequest(count, cpu: random.below(4), mobility: .movable)) else {
            continue
          }
          let address = PhysicalAddress(range.start.rawValue << 12)
          // Whoever holds a frame finds in it what they wrote.
          memory.bytes.store64(UInt64(thread), at: address)
          held.append(range)
        } else {
          let range = held.swapAt(random.below(held.count), removingLastOf: ())
          if memory.bytes.load64(PhysicalAddress(range.start.rawValue << 12)) != UInt64(thread) {
            doubles.add(1, ordering: .relaxed)
          }
          try! memory.free(range, cpu: CPUID(random.below(4)))
        }
      }
      for range in held { try! memory.free(range, cpu: CPUID(thread)) }
      if thread == 0 { stop.store(true, ordering: .relaxed) }
    }
    #expect(doubles.load(ordering: .relaxed) == 0)
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == managed)
  }

  @Test func ofTwoWhoFreeAtOnceOneIsRefused() throws {
    let memory = try unguarded(machine([[4096..<8192]]))
    var ranges: [FrameRange] = []
    for _ in 0..<2000 { ranges.append(try memory.allocate(FrameRequest(1))) }
    let all = ranges
    let refused = Atomic<Int>(0)
    onThreads(2) { thread in
      for range in all {
        do { try memory.free(range, cpu: CPUID(thread)) } catch { refused.add(1, ordering: .relaxed) }
      }
    }
    #expect(refused.load(ordering: .relaxed) == 2000)
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == 4096)
  }
}

extension Array {
  /// Takes out the element at `index`, in any order of the rest.
  fileprivate mutating func swapAt(_ index: Int, removingLastOf: Void) -> Element {
    swapAt(index, count - 1)
    return removeLast()
  }
}
