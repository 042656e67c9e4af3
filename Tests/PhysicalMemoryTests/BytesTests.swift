import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// The bytes of the emulated memory.
@Suite struct BytesTests {
  private func read(_ memory: PhysicalMemory, _ address: UInt64, _ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    unsafe bytes.withUnsafeMutableBytes { unsafe memory.bytes.read(into: $0, at: PhysicalAddress(address)) }
    return bytes
  }

  private func write(_ memory: PhysicalMemory, _ bytes: [UInt8], _ address: UInt64) throws {
    // A typed error does not pass through withUnsafeBytes in Swift 6.3 (the compiler fails), hence the Result.
    let result = unsafe bytes.withUnsafeBytes { buffer in
      Result { try unsafe memory.bytes.write(buffer, at: PhysicalAddress(address)) }
    }
    try result.get()
  }

  @Test func readsWritesAndHoles() throws {
    // A hole of 16 MiB behind the first 16.
    let memory = try unguarded(machine([[0..<4096, 8192..<16384]]))
    #expect(memory.bytes.size == ByteCount(16384 << 12))
    #expect(memory.bytes.nextData(from: PhysicalAddress(0)) == nil)
    #expect(memory.bytes.nextHole(from: PhysicalAddress(5)) == PhysicalAddress(5))
    try write(memory, [1, 2, 3], 0xFFF)
    #expect(read(memory, 0xFFE, 5) == [0, 1, 2, 3, 0])
    #expect(memory.bytes.nextData(from: PhysicalAddress(0)) == PhysicalAddress(0))
    #expect(memory.bytes.nextHole(from: PhysicalAddress(0)) == PhysicalAddress(0x2000))
    #expect(memory.bytes.nextData(from: PhysicalAddress(0x2000)) == nil)
    // Across the hole: read as zero, refused for writing without an effect.
    #expect(read(memory, 4096 << 12 - 4, 8) == [UInt8](repeating: 0, count: 8))
    #expect(throws: MemoryError.noMemoryAt(PhysicalAddress(4096 << 12))) {
      try write(memory, [9, 9, 9, 9], 4096 << 12 - 2)
    }
    #expect(read(memory, 4096 << 12 - 4, 4) == [0, 0, 0, 0])
    #expect(throws: MemoryError.noMemoryAt(PhysicalAddress(16384 << 12))) { try write(memory, [9], 16384 << 12) }
    #expect(throws: MemoryError.noMemoryAt(PhysicalAddress(.max))) { try write(memory, [9, 9], .max) }
    #expect(read(memory, .max - 3, 8) == [UInt8](repeating: 0, count: 8))
    memory.reset()
    #expect(read(memory, 0xFFE, 5) == [0, 0, 0, 0, 0])
    #expect(memory.bytes.nextData(from: PhysicalAddress(0)) == nil)
  }

  @Test(arguments: [1, 2, 8, 100, 512, 700])
  func zeroedFramesReadZero(count: Int) throws {
    let memory = try unguarded(machine([[4096..<8192]]))
    for _ in 0..<3 {
      var held: [FrameRange] = []
      while held.reduce(0, { $0 + Int($1.count.rawValue) }) + 2 * count < 4096 {
        var request = FrameRequest(count)
        request.zeroed = true
        guard let range = try? memory.allocate(request) else { break }
        let bytes = Int(range.count.rawValue) << 12
        let start = range.start.rawValue << 12
        #expect(read(memory, start, bytes).allSatisfy { $0 == 0 })
        for offset in stride(from: 0, to: bytes, by: 512) {
          memory.bytes.store64(.max, at: PhysicalAddress(start + UInt64(offset)))
        }
        held.append(range)
      }
      for range in held { try memory.free(range, cpu: CPUID(0)) }
    }
    memory.drainLists()
    memory.trim()
    #expect(memory.bytes.nextData(from: PhysicalAddress(0)) == nil)
    #expect(memory.verify() == [])
  }

  @Test func zeroingUntouchedFramesCommitsNothing() throws {
    let memory = try unguarded(machine([[4096..<1 << 24]]))
    for count in [1, 8, 512, 1 << 20] {
      var request = FrameRequest(count)
      request.zeroed = true
      _ = try memory.allocate(request)
    }
    #expect(memory.bytes.nextData(from: PhysicalAddress(0)) == nil)
  }

  @Test(.enabled(if: !isSanitized, "a sanitizer leaves no room for 16 TiB")) func aHoleInATerabyteIsQuickToFind() throws
  {
    let memory = try unguarded(machine([[0..<1 << 32]]))
    try write(memory, [1], 1 << 43)
    #expect(memory.bytes.nextData(from: PhysicalAddress(1)) == PhysicalAddress(1 << 43))
    #expect(memory.bytes.nextHole(from: PhysicalAddress(1 << 43)) == PhysicalAddress(1 << 43 + 4096))
  }
}
