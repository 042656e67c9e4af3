public import MemoryTypes
internal import PhysicalMemory
internal import Topology
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
  public var processIDs: [ProcessID] { [InitProcess.id] }

  public func status(of process: ProcessID) -> ProcessStatus? {
    guard process == InitProcess.id else { return nil }
    let resident = memory.frameSize.bytes(initProcess.resident)
    let none = ByteCount(0)
    return ProcessStatus(
      name: "init", parent: ProcessID(0), size: resident, peakSize: resident, locked: none, resident: resident,
      peakResident: resident, residentAnonymous: resident, residentFile: none, residentShared: none, data: resident,
      stack: none, executable: none,
      pageTables: memory.frameSize.bytes(FrameCount(UInt64(initProcess.table.tableCount))), hugePages: none,
      cpusAllowed: description.cpus.map(\.id))
  }
}
