public import MemoryTypes
public import PhysicalMemory
public import Topology
public import Translation

/// A machine that runs: its memory, its kernel's page table, its processes, and the one order in which things happen to them.
///
/// Everything but `description` is guarded by `lock`, which its users take for a whole line or a whole file: lines take effect one
/// at a time, and a reader sees the machine between two of them.
public final class Machine: @unchecked Sendable {
  public let description: MachineDescription
  public let lock = Lock()
  let shape: ShapeIndex

  public let memory: PhysicalMemory
  /// The form of the machine's page tables.
  public let format: PageFormat
  /// What booting made; nil only while `reset` replaces it.
  private var booted: Booted?
  public var hugePages: HugePages
  public var power = DevicePower()
  /// How many lines have begun since the machine was made: the number of the current one.
  public private(set) var line: UInt32 = 0

  /// Boots the machine: reserves what is reserved, maps physical memory for the kernel, and starts process 1.
  ///
  /// - Throws: `overlappingReservations`; `hostRefusedMapping`; `outOfMemory` where the machine cannot hold its own page tables.
  public init(_ description: MachineDescription) throws(MemoryError) {
    self.description = description
    shape = ShapeIndex(description)
    memory = try PhysicalMemory(description)
    guard let format = PageFormat.named(description.resolvedPaging.rawValue, for: description.architecture) else {
      preconditionFailure("\(description.resolvedPaging) is no page format of \(description.architecture)")
    }
    self.format = format
    hugePages = HugePages(pageSizes: format.pageSizes, nodes: description.nodes.map(\.id))
    booted = try Booted(description, memory, format)
  }

  /// The kernel's half: physical memory at `format.layout.physicalMap`.
  public var kernelTable: PageTable { booted!.kernelTable }
  /// Process 1.
  public var initProcess: InitProcess { booted!.initProcess }

  public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }

  /// A line takes effect now. The caller holds `lock`.
  public func beginLine() { line &+= 1 }

  /// Everything as it was after booting: processes, tables, pools and allocations go, and the bytes of all memory with them.
  ///
  /// Does not fail: what fitted into this memory once fits again.
  public func reset() {
    // The tables give their frames back before all memory becomes free.
    booted = nil
    hugePages = HugePages(pageSizes: format.pageSizes, nodes: description.nodes.map(\.id))
    memory.reset()
    do throws(MemoryError) {
      booted = try Booted(description, memory, format)
    } catch { preconditionFailure("the machine booted once, and cannot again: \(error)") }
  }
}

/// What booting makes of a machine's empty memory.
private struct Booted {
  // A space goes before the kernel whose half it shares: members are destroyed in this order.
  let initProcess: InitProcess
  let kernelTable: PageTable

  init(_ description: MachineDescription, _ memory: PhysicalMemory, _ format: PageFormat) throws(MemoryError) {
    let frames = try unsafe TableFrames(
      base: memory.bytes.base, size: memory.bytes.size, frameSize: memory.frameSize, source: TableFrameSource(memory),
      keeper: memory)
    kernelTable = try PageTable(kernelOf: frames, format: format)
    let map = format.layout.physicalMap
    for node in description.nodes {
      for range in node.memory {
        // Where the map is smaller than memory, the rest is High memory, and the kernel has no address for it.
        let end = min(range.end.rawValue, map.size.rawValue)
        guard range.start.rawValue < end else { continue }
        let part = PhysicalRange(start: range.start, size: ByteCount(end - range.start.rawValue))
        try kernelTable.map(
          map.first + ByteCount(range.start.rawValue), to: memory.frameSize.framesInside(part),
          flags: [.present, .writable, .global, .accessed, .dirty])
      }
    }
    initProcess = try InitProcess(memory: memory, kernel: kernelTable, description: description)
  }
}

/// Page tables come from the zone that the kernel can address, near the CPU that asks.
private final class TableFrameSource: TableSource {
  private let memory: PhysicalMemory

  init(_ memory: PhysicalMemory) { self.memory = memory }

  func allocateTable(owner: UInt32, cpu: CPUID) throws(MemoryError) -> FrameNumber {
    try memory.allocate(FrameRequest(cpu: cpu, zeroed: true, owner: FrameOwner(.pageTable, id: owner))).start
  }

  func freeTable(_ frame: FrameNumber) {
    do throws(MemoryError) {
      try memory.free(FrameRange(start: frame, count: FrameCount(1)), cpu: CPUID(0))
    } catch { preconditionFailure("a page table's frame is gone: \(error)") }
  }
}
