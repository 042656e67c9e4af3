/// Why the memory system refuses a request. Each case names what it refuses; a refused request has changed nothing.
///
/// The one mapping to errno is `Errno.init(_: MemoryError)` in `Commands`.
public enum MemoryError: Error, Hashable, Sendable {
  // Requests for frames
  /// No zone that the request may use has `count` contiguous frames.
  case outOfMemory(count: FrameCount)
  /// 0 frames, or more than any zone could ever hold.
  case invalidSize(FrameCount)
  /// An order above 20 (VeridianOS's largest).
  case invalidOrder(Int)
  /// An alignment that is not a power of two.
  case invalidAlignment(FrameCount)
  case noSuchNode(NodeID)
  case noSuchCPU(CPUID)
  /// The machine has no zone of this kind; with a node, that node has none.
  case noSuchZone(ZoneKind, NodeID?)
  // Frames given back or named
  /// No memory has this number.
  case noSuchFrame(FrameNumber)
  /// The frame is free already (a double free), or was never handed out.
  case notAllocated(FrameNumber)
  /// The frame lies inside an allocation that begins at another frame.
  case notAllocationStart(FrameNumber, start: FrameNumber)
  /// The allocation at the frame is not of this many frames.
  case wrongAllocationSize(FrameNumber, given: FrameCount, allocated: FrameCount)
  /// The frame is part of a reserved region.
  case reservedFrame(FrameNumber, region: String)
  /// The frame is held by something that alone may give it back: a page table, a process, the page cache.
  case frameInUse(FrameNumber, owner: String)
  /// The files' disks have no room for this many bytes more.
  case diskFull(ByteCount, capacity: ByteCount)
  // Making a machine
  case overlappingReservations(String, String)
  /// The host refused to map this many bytes of address space.
  case hostRefusedMapping(ByteCount, errno: Int32)
  // Memory that comes and goes
  /// The range cannot be isolated, moved or taken away now.
  case busy(FrameRange, reason: String)
  /// The range can never be isolated, set offline or online like that.
  case notPluggable(FrameRange, reason: String)
  /// There is memory, or something else, in the range already.
  case memoryExists(PhysicalRange, what: String)
  /// Memory that would end behind the last address that this machine can have.
  case beyondReach(PhysicalRange, limit: PhysicalAddress)
  /// A frame whose contents nothing can be done for: reserved, or the kernel's own.
  case unhandlable(FrameNumber, owner: String)
  /// A frame that is out of service already.
  case poisonedAlready(FrameNumber)
  /// A physical address where there is no memory.
  case noMemoryAt(PhysicalAddress)
  // Translation
  case notCanonical(VirtualAddress)
  case misaligned(VirtualAddress, ByteCount)
  case misalignedFrame(FrameNumber, ByteCount)
  case alreadyMapped(VirtualAddress)
  case notMapped(VirtualAddress)
  /// Writable and executable at once, where W^X is enforced.
  case writableAndExecutable(VirtualAddress)
  case invalidFlags(String)
  case unsupportedPageSize(ByteCount)
  case noSuchProcess(ProcessID)
  /// An address of the other half, or behind the last that a process may map.
  case outsideHalf(VirtualAddress, isKernel: Bool)
  /// Mapped by somebody who alone may change that.
  case foreignMapping(VirtualAddress, owner: String)
}

extension MemoryError: CustomStringConvertible {
  /// A sentence's worth of reason, in lower case and without a full stop.
  public var description: String {
    switch self {
    case .outOfMemory(let count):
      "out of memory: no \(count.rawValue == 1 ? "free frame" : "\(count.rawValue) contiguous free frames") in any zone that may serve this"
    case .invalidSize(let count): "invalid size: \(count)"
    case .invalidOrder(let order): "invalid order: \(order) (0 to 20)"
    case .invalidAlignment(let count): "invalid alignment: \(count) (a power of two)"
    case .noSuchNode(let node): "no such node: \(node.rawValue)"
    case .noSuchCPU(let cpu): "no such CPU: \(cpu.rawValue)"
    case .noSuchZone(let zone, nil): "no such zone: this machine has no \(zone) zone"
    case .noSuchZone(let zone, let node?): "no such zone: \(node) has no \(zone) zone"
    case .noSuchFrame(let frame): "\(frame) is no memory of this machine"
    case .notAllocated(let frame): "\(frame) is not allocated"
    case .notAllocationStart(let frame, let start): "\(frame) lies inside the allocation that begins at \(start)"
    case .wrongAllocationSize(let frame, let given, let allocated):
      "the allocation at \(frame) is of \(allocated), not of \(given)"
    case .reservedFrame(let frame, let region): "\(frame) is reserved (\(region))"
    case .frameInUse(let frame, let owner): "\(frame) is held by \(owner)"
    case .diskFull(let size, let capacity): "no room for \(size) on the files' disks, which hold \(capacity)"
    case .overlappingReservations(let a, let b): "reserved regions overlap: \(a) and \(b)"
    case .hostRefusedMapping(let size, let errno): "the host refused to map \(size) of address space (errno \(errno))"
    case .busy(let range, let reason): "\(range) cannot be isolated: \(reason)"
    case .notPluggable(let range, let reason): "\(range) cannot be set online or offline: \(reason)"
    case .memoryExists(let range, let what): "no memory can be added at \(range): there is \(what)"
    case .beyondReach(let range, let limit): "no memory can be added at \(range): this machine's ends at \(limit)"
    case .poisonedAlready(let frame): "\(frame) is out of service already"
    case .unhandlable(let frame, let owner): "\(frame) cannot be taken out of service: it is held by \(owner)"
    case .noMemoryAt(let address): "there is no memory at \(address)"
    case .notCanonical(let address): "\(address) is not canonical"
    case .misaligned(let address, let size): "\(address) is not aligned to \(size)"
    case .misalignedFrame(let frame, let size): "\(frame) is not aligned to \(size)"
    case .alreadyMapped(let address): "\(address) is mapped already"
    case .notMapped(let address): "\(address) is not mapped"
    case .writableAndExecutable(let address): "\(address) would be writable and executable (W^X)"
    case .invalidFlags(let reason): "invalid flags: \(reason)"
    case .unsupportedPageSize(let size): "this page format has no pages of \(size)"
    case .noSuchProcess(let pid): "no such process: \(pid.rawValue)"
    case .outsideHalf(let address, let isKernel):
      "\(address) is not in the \(isKernel ? "kernel's" : "users'") half"
    case .foreignMapping(let address, let owner): "\(address) is mapped by \(owner)"
    }
  }
}
