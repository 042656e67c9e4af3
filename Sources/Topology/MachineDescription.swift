public import MemoryTypes

/// What a machine is: everything that a preset, a YAML file or a `/sys` tree says of it, and nothing of its state.
///
/// A description that came from `MachineSource` is valid: `validate()` has found no mistake in it.
public struct MachineDescription: Equatable, Sendable {
  /// The preset's or file's name: one word.
  public var name: String
  /// One line for `veridianfs machines`.
  public var summary: String
  public var architecture: Architecture
  /// In ascending order of their ids.
  public var cpus: [CPU]
  /// By level, then type, then first CPU.
  public var caches: [Cache]
  /// In ascending order of their ids; ids need not follow one another.
  public var nodes: [Node]
  /// SLIT distances: `distances[i][j]` from `nodes[i]` to `nodes[j]`; the diagonal is 10.
  public var distances: [[Int]]
  /// Parts of memory that are never handed out, and address ranges that are no memory but appear in `/proc/iomem`.
  public var reserved: [ReservedRegion]
  /// What initiators see of targets (ACPI HMAT). Empty where the machine does not say.
  public var performance: [MemoryPerformance]
  /// The size of a hot-plug block (`block_size_bytes`): a power of two, 128 MiB at least.
  public var memoryBlockSize: ByteCount
  /// What Linux runs with on these CPUs where that is not the architecture's default: five levels on an x86-64 with LA57.
  public var linuxPaging: Paging?
  public var settings: Settings

  public init(
    name: String,
    summary: String = "",
    architecture: Architecture,
    cpus: [CPU],
    caches: [Cache] = [],
    nodes: [Node],
    distances: [[Int]],
    reserved: [ReservedRegion] = [],
    performance: [MemoryPerformance] = [],
    memoryBlockSize: ByteCount = .mib(128),
    linuxPaging: Paging? = nil,
    settings: Settings = Settings()
  ) {
    self.name = name
    self.summary = summary
    self.architecture = architecture
    self.cpus = cpus
    self.caches = caches
    self.nodes = nodes
    self.distances = distances
    self.reserved = reserved
    self.performance = performance
    self.memoryBlockSize = memoryBlockSize
    self.linuxPaging = linuxPaging
    self.settings = settings
  }
}

/// A logical CPU.
public struct CPU: Equatable, Sendable {
  public var id: CPUID
  /// `physical_package_id`.
  public var package: Int
  /// `die_id` within the package.
  public var die: Int
  /// `core_id` within the package.
  public var core: Int
  /// Which of its core's hardware threads this is, from 0.
  public var thread: Int
  /// Where its local memory is.
  public var node: NodeID

  public init(id: CPUID, package: Int = 0, die: Int = 0, core: Int, thread: Int = 0, node: NodeID) {
    self.id = id
    self.package = package
    self.die = die
    self.core = core
    self.thread = thread
    self.node = node
  }
}

/// A cache and the CPUs that share it.
public struct Cache: Equatable, Sendable {
  public enum Kind: String, CaseIterable, Sendable {
    case data = "Data"
    case instruction = "Instruction"
    case unified = "Unified"
  }
  /// 1 to 4.
  public var level: Int
  public var kind: Kind
  public var size: ByteCount
  public var lineSize: Int
  public var ways: Int
  /// In ascending order.
  public var cpus: [CPUID]
  /// size / (lineSize * ways).
  public var sets: Int { ways == 0 || lineSize == 0 ? 0 : Int(size.rawValue) / (lineSize * ways) }

  public init(level: Int, kind: Kind, size: ByteCount, lineSize: Int = 64, ways: Int, cpus: [CPUID]) {
    self.level = level
    self.kind = kind
    self.size = size
    self.lineSize = lineSize
    self.ways = ways
    self.cpus = cpus
  }
}

/// A NUMA node: some memory, some CPUs, either of which may be none.
public struct Node: Equatable, Sendable {
  public var id: NodeID
  /// In ascending order, disjoint, aligned to the frame size; may be empty (a memory-less node).
  public var memory: [PhysicalRange]
  /// What the memory is: decides nothing but how it is described.
  public var kind: Kind
  public enum Kind: String, CaseIterable, Sendable { case dram, cxl, hbm, pmem }
  /// How much of the memory that the kernel manages it gets back only when it has booted (its initial ramdisk, its initialisation code), so
  /// that the watermarks that it boots with are computed without. Whole frames.
  public var lateMemory: ByteCount

  public init(id: NodeID, memory: [PhysicalRange], kind: Kind = .dram, lateMemory: ByteCount = ByteCount(0)) {
    self.id = id
    self.memory = memory
    self.kind = kind
    self.lateMemory = lateMemory
  }
}

/// A region that firmware or the kernel keeps for itself.
public struct ReservedRegion: Equatable, Sendable {
  public var range: PhysicalRange
  public var kind: Kind
  /// As `/proc/iomem` names it, say "Kernel code". Empty: `/proc/iomem` does not mention it (a hole that nobody claims).
  public var description: String
  /// The seed's five kinds.
  public enum Kind: String, CaseIterable, Sendable {
    /// Firmware, e820 type 2. Not memory to Linux ("present" leaves it out).
    case bios
    /// No memory at all: device registers, windows of a bus, holes. The only kind that may lie outside of nodes' memory, inside another
    /// region, or around others.
    case mmio
    /// ACPI tables and storage, e820 types 3 and 4. Not "present" either.
    case acpi
    /// The kernel image: present, not managed.
    case kernel
    /// What the kernel took before there was an allocator, its frame descriptors foremost: present, not managed, and not in `/proc/iomem`,
    /// where it is System RAM.
    case boot

    /// Whether Linux counts its frames as present, which it then does not manage.
    public var isPresent: Bool { self == .kernel || self == .boot }
  }
  public init(range: PhysicalRange, kind: Kind, description: String) {
    self.range = range
    self.kind = kind
    self.description = description
  }
}

/// What one initiator node sees of one target node, as ACPI's HMAT has it.
public struct MemoryPerformance: Equatable, Sendable {
  public var initiator: NodeID
  public var target: NodeID
  /// Nanoseconds.
  public var readLatency: Int
  public var writeLatency: Int
  /// MB/s, as sysfs prints them.
  public var readBandwidth: Int
  public var writeBandwidth: Int

  public init(
    initiator: NodeID,
    target: NodeID,
    readLatency: Int,
    writeLatency: Int,
    readBandwidth: Int,
    writeBandwidth: Int
  ) {
    self.initiator = initiator
    self.target = target
    self.readLatency = readLatency
    self.writeLatency = writeLatency
    self.readBandwidth = readBandwidth
    self.writeBandwidth = writeBandwidth
  }
}

/// The frames that a kind of zone spans on every node, before nodes and reservations are taken into account.
public struct ZoneSpan: Equatable, Sendable {
  public var kind: ZoneKind
  public var start: FrameNumber
  /// The first frame behind the zone.
  public var end: FrameNumber

  public init(kind: ZoneKind, start: FrameNumber, end: FrameNumber) {
    self.kind = kind
    self.start = start
    self.end = end
  }
}
