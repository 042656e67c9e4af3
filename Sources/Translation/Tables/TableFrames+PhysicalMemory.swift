public import MemoryTypes
public import PhysicalMemory

extension TableFrames {
  /// The page-table frames of a machine: where `placement` has no say taken from the node of the CPU that asks, the nearest with room behind it, and
  /// counted as `pageTable` frames of the space. Throws `hostRefusedMapping`.
  public convenience init(_ memory: PhysicalMemory) throws(MemoryError) {
    // SAFETY: the source keeps the memory, and this keeps the source.
    try unsafe self.init(
      base: memory.bytes.base, size: memory.bytes.reach, frameSize: memory.frameSize, source: FrameAllocation(memory))
  }
}

/// Tables from the machine's frame allocator.
private final class FrameAllocation: TableSource {
  let memory: PhysicalMemory
  init(_ memory: PhysicalMemory) { self.memory = memory }

  func allocateTable(owner: UInt32, cpu: CPUID, zeroed: Bool) throws(MemoryError) -> FrameNumber {
    let request = FrameRequest(cpu: cpu, zeroed: zeroed, owner: FrameOwner(.pageTable, id: owner))
    if let frame = memory.allocateFromList(request) { return frame }
    return try memory.allocate(request).start
  }

  func takeTables(owner: UInt32, cpu: CPUID, into buffer: UnsafeMutableBufferPointer<FrameNumber>) -> Int {
    unsafe memory.allocateFromList(FrameRequest(cpu: cpu, owner: FrameOwner(.pageTable, id: owner)), into: buffer)
  }

  func read(at address: PhysicalAddress) -> UInt64 {
    var value: UInt64 = 0
    unsafe withUnsafeMutableBytes(of: &value) { unsafe memory.bytes.read(into: $0, at: address) }
    return UInt64(littleEndian: value)
  }

  func node(of frame: FrameNumber) -> NodeID { memory.place(of: frame).node }

  func freeTable(_ frame: FrameNumber, cpu: CPUID) {
    do throws(MemoryError) {
      try memory.free(FrameRange(start: frame, count: FrameCount(1)), cpu: cpu)
    } catch {
      preconditionFailure("a page table that the allocator does not know: \(error)")
    }
  }
}
