public import MemoryTypes

/// A process: its address space, its CPU, its policy, and what it has been charged with.
public final class Process {
  public let pid: ProcessID
  public let parent: ProcessID
  /// As `comm` and `status` show it: at most 15 bytes (`TASK_COMM_LEN`).
  public let name: String
  @safe @exclusivity(unchecked) public internal(set) var space: AddressSpace
  /// The lowest address of its stack in the kernel.
  public let kernelStack: VirtualAddress
  /// Where it runs: new pages come from that CPU's node.
  @safe @exclusivity(unchecked) public internal(set) var cpu: CPUID
  /// The CPUs that it may run on, ascending.
  public internal(set) var allowedCPUs: [CPUID]
  /// set_mempolicy's; nil: the default, local.
  @safe @exclusivity(unchecked) public internal(set) var policy: MemoryPolicy?
  /// The node that interleaving took last (`il_prev`).
  var lastInterleaved = NodeMask.capacity - 1
  @safe @exclusivity(unchecked) public internal(set) var minorFaults: UInt64 = 0
  @safe @exclusivity(unchecked) public internal(set) var majorFaults: UInt64 = 0
  /// Killed while it was in a call: ends when that is over.
  var isKilled = false
  /// -1000 (never killed) to 1000.
  public var oomScoreAdjustment = 0

  init(
    pid: ProcessID, parent: ProcessID, name: String, space: AddressSpace, kernelStack: VirtualAddress, cpu: CPUID,
    allowedCPUs: [CPUID]
  ) {
    self.kernelStack = kernelStack
    self.pid = pid
    self.parent = parent
    var shown = name
    while shown.utf8.count > 15 { shown.removeLast() }
    self.name = shown
    self.space = space
    self.cpu = cpu
    self.allowedCPUs = allowedCPUs
  }

  /// The end of the heap at first: what scripts count breaks from.
  public var breakStart: UInt64 { space.layout.heapStart }
}

/// What the kernel does to a process instead of returning to it.
public enum Signal: Hashable, Sendable {
  public enum Code: Int32, Sendable { case mapError = 1, accessError = 2, kernel = 128, busAddress = 3 }
  case segmentation(Code)
  case bus
  /// Out of memory: the process is gone.
  case killed

  /// As transcripts print it.
  public var text: String {
    switch self {
    case .segmentation(.mapError): "SIGSEGV SEGV_MAPERR"
    case .segmentation(.accessError): "SIGSEGV SEGV_ACCERR"
    case .segmentation: "SIGSEGV"
    case .bus: "SIGBUS"
    case .killed: "SIGKILL"
    }
  }
}
