import Glibc
import MemoryTypes

@testable import Translation

/// Physical memory for tables alone: a file that QEMU can read, or anonymous, and a source that checks what is given back.
@safe final class TestMemory: TableSource {
  let base: UnsafeMutableRawPointer
  let size: ByteCount
  let frameSize: FrameSize
  /// Frames from here on are never tables.
  let firstDataFrame: UInt64
  private var free: [UInt64] = []
  private(set) var inUse: Set<UInt64> = []
  /// The CPUs that tables were taken and given back on, in order.
  private(set) var takenOn: [CPUID] = []
  private(set) var givenBackOn: [CPUID] = []
  /// Allocations that are still granted; .max for no limit.
  var allowance = Int.max

  /// Tables lie below half of the memory, from frame 1 on.
  init(frameSize: FrameSize, frames: UInt64, file: String? = nil) {
    self.frameSize = frameSize
    size = frameSize.bytes(FrameCount(frames))
    firstDataFrame = frames / 2
    var descriptor: Int32 = -1
    if let file {
      descriptor = unsafe open(file, O_RDWR | O_CREAT | O_TRUNC, 0o600)
      precondition(descriptor >= 0 && ftruncate(descriptor, Int(size.rawValue)) == 0)
    }
    let flags = file == nil ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED
    // SAFETY: a fresh mapping, checked before use, unmapped in deinit.
    let mapping = unsafe mmap(
      nil, Int(size.rawValue), PROT_READ | PROT_WRITE, flags, descriptor, 0)
    if descriptor >= 0 { close(descriptor) }
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else { fatalError("no memory for the test") }
    unsafe base = unsafe mapping
    free = (1..<firstDataFrame).reversed()
  }

  deinit { unsafe munmap(base, Int(size.rawValue)) }

  func allocateTable(owner: UInt32, cpu: CPUID, zeroed: Bool) throws(MemoryError) -> FrameNumber {
    guard allowance > 0, let frame = free.popLast() else { throw .outOfMemory(count: FrameCount(1)) }
    if allowance != .max { allowance -= 1 }
    inUse.insert(frame)
    takenOn.append(cpu)
    // SAFETY: the frame lies in the mapping.
    unsafe memset(base + Int(frame << UInt64(frameSize.shift)), 0, Int(frameSize.bytes.rawValue))
    return FrameNumber(frame)
  }

  func takeTables(owner: UInt32, cpu: CPUID, into buffer: UnsafeMutableBufferPointer<FrameNumber>) -> Int { 0 }

  func node(of frame: FrameNumber) -> NodeID { NodeID(0) }

  func freeTable(_ frame: FrameNumber, cpu: CPUID) {
    precondition(inUse.remove(frame.rawValue) != nil, "a table was given back twice")
    givenBackOn.append(cpu)
    // whoever still follows it shall be seen to
    // SAFETY: the frame lies in the mapping.
    unsafe memset(base + Int(frame.rawValue << UInt64(frameSize.shift)), 0xFF, Int(frameSize.bytes.rawValue))
    free.append(frame.rawValue)
  }

  func read(at address: PhysicalAddress) -> UInt64 {
    // SAFETY: below the end of the mapping, which has no holes.
    if address.rawValue >= size.rawValue { return 0 }
    return unsafe base.load(fromByteOffset: Int(address.rawValue), as: UInt64.self)
  }

  func tableFrames() throws -> TableFrames {
    try unsafe TableFrames(base: base, size: size, frameSize: frameSize, source: self, keeper: self)
  }
}

/// SplitMix64: the same numbers for the same seed.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
