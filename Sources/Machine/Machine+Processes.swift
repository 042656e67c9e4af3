internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// What `/proc/PID/status` says of a process.
public struct ProcessStatus: Sendable {
  public var name: String
  public var parent: ProcessID
  public var size: ByteCount
  public var peakSize: ByteCount
  public var locked: ByteCount
  public var resident: ByteCount
  public var peakResident: ByteCount
  public var residentAnonymous: ByteCount
  public var residentFile: ByteCount
  public var residentShared: ByteCount
  public var data: ByteCount
  public var stack: ByteCount
  public var executable: ByteCount
  public var pageTables: ByteCount
  public var hugePages: ByteCount
  public var cpusAllowed: [CPUID]
}

extension Machine {
  /// In ascending order.
  public var processIDs: [ProcessID] { users.pids }

  public func status(of pid: ProcessID) -> ProcessStatus? {
    guard let process = users.process(pid) else { return nil }
    let counts = process.space.counts
    func size(_ pages: UInt64) -> ByteCount { memory.frameSize.bytes(FrameCount(pages)) }
    return ProcessStatus(
      name: process.name, parent: process.parent, size: size(counts.total), peakSize: size(counts.highestTotal),
      locked: size(counts.locked), resident: size(counts.resident),
      peakResident: size(max(counts.highestResident, counts.resident)),
      residentAnonymous: size(counts.anonymousResident),
      residentFile: size(counts.fileResident), residentShared: size(counts.sharedResident), data: size(counts.data),
      stack: size(counts.stack), executable: size(counts.executable),
      pageTables: size(UInt64(process.space.pageTable.tableCount)), hugePages: ByteCount(0),
      cpusAllowed: process.allowedCPUs)
  }
}
