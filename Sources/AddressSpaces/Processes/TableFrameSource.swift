public import MemoryTypes
public import PhysicalMemory
public import Translation

/// Hands the frame allocator's frames to page tables.
public final class TableFrameSource: TableSource {
  private let physical: PhysicalMemory
  public init(_ physical: PhysicalMemory) { self.physical = physical }

  public func allocateTable(owner: UInt32, cpu: CPUID) throws(MemoryError) -> FrameNumber {
    try physical.allocate(FrameRequest(cpu: cpu, zeroed: true, owner: FrameOwner(.pageTable, id: owner))).start
  }

  public func read(at address: PhysicalAddress) -> UInt64 {
    address.rawValue <= physical.bytes.size.rawValue &- 8 ? physical.bytes.load64(address) : 0
  }

  public func freeTable(_ frame: FrameNumber) {
    do throws(MemoryError) {
      try physical.free(FrameRange(start: frame, count: FrameCount(1)), cpu: CPUID(0))
    } catch { preconditionFailure("a table's frame could not be given back: \(error)") }
  }
}
