public import MemoryTypes

/// Who asks for frames: what an allocation is put down to.
public struct AllocationPlace: Equatable, Sendable {
  /// The number of the line that is being carried out, or was last; 0 while the machine boots.
  public var line: UInt32
  /// The process whose call it is; 0 for the kernel's own work.
  public var pid: Int32
  /// The process's name.
  public var command: String
  /// The word, the call or the file that asks.
  public var name: String
  /// The line as it was written; empty where there is none.
  public var text: String

  public init(line: UInt32, pid: Int32 = 0, command: String = "swapper", name: String, text: String = "") {
    self.line = line
    self.pid = pid
    self.command = command
    self.name = name
    self.text = text
  }
}

/// Why an allocation was moved (Linux's `enum migrate_reason`).
public enum MigrationReason: UInt8, CaseIterable, Sendable {
  case compaction, memoryFailure, memoryHotplug, systemCall, bind, balancing, contiguous, longTermPin, demotion

  /// `migrate_reason_names`.
  public var name: StaticString {
    switch self {
    case .compaction: "compaction"
    case .memoryFailure: "memory_failure"
    case .memoryHotplug: "memory_hotplug"
    case .systemCall: "syscall_or_cpuset"
    case .bind: "mempolicy_mbind"
    case .balancing: "numa_misplaced"
    case .contiguous: "contig_range"
    case .longTermPin: "longterm_pin"
    case .demotion: "demotion"
    }
  }
}

/// Who asked for each allocation, and when frames were last given back (mm/page_owner.c): beside the frame table, on host memory that is
/// committed where frames are used. Guarded as `AllocationWatch` is.
@safe public final class PageOwners: @unchecked Sendable {
  /// Of an allocation's first frame, but for `freed`. Zero is what a frame begins with.
  private struct Entry {
    /// The place's index, plus 1; 0 while the frame begins no allocation.
    var place: UInt32 = 0
    var mask: UInt32 = 0
    /// The line in which the frame was last given back; 0 where it never was.
    var freed: UInt32 = 0
    /// `MigrationReason`, plus 1; 0 where the allocation was never moved.
    var moved: UInt32 = 0
  }

  /// What is known of an allocation.
  public struct Record: Sendable {
    public var place: AllocationPlace
    /// Linux's gfp_mask for such a request.
    public var mask: AllocationMask
    /// The line in which its first frame was given back before; 0 where it never was.
    public var freed: UInt32
    public var moved: MigrationReason?
  }

  private let mapping: HostMapping
  private let entries: HostArray<Entry>
  /// Those that have asked for anything, in the order in which they did.
  private var places: [AllocationPlace] = []
  /// Whether the current place is the last of them.
  private var isKnown = false
  /// Who asks from now on.
  public var place = AllocationPlace(line: 0, name: "boot") {
    didSet { isKnown = false }
  }

  init(frames: Int) throws(MemoryError) {
    mapping = try HostMapping(size: frames * MemoryLayout<Entry>.stride, access: .readWrite)
    unsafe entries = HostArray(mapping.base, count: frames)
  }

  func reset() {
    mapping.discard(offset: 0, size: mapping.size)
    places = []
    isKnown = false
  }

  /// Nil for frames that begin no allocation.
  public func record(of frame: FrameNumber) -> Record? {
    guard frame.rawValue < UInt64(entries.count) else { return nil }
    let entry = entries[Int(frame.rawValue)]
    guard entry.place > 0 else { return nil }
    return Record(
      place: places[Int(entry.place) - 1], mask: AllocationMask(rawValue: entry.mask), freed: entry.freed,
      moved: entry.moved == 0 ? nil : MigrationReason(rawValue: UInt8(entry.moved - 1)))
  }

  func allocated(_ range: FrameRange, _ request: FrameRequest) {
    if !isKnown {
      places.append(place)
      isKnown = true
    }
    let frame = Int(range.start.rawValue)
    entries[frame] = Entry(
      place: UInt32(places.count), mask: AllocationMask(request).rawValue, freed: entries[frame].freed)
  }

  func freed(_ range: FrameRange) {
    let start = Int(range.start.rawValue)
    for frame in start..<start + Int(range.count.rawValue) { entries[frame].freed = place.line }
    entries[start].place = 0
  }

  /// `__split_page_owner`: each frame is an allocation of its own now.
  func split(_ range: FrameRange) {
    let start = Int(range.start.rawValue)
    let first = entries[start]
    for frame in start + 1..<start + Int(range.count.rawValue) {
      let freed = entries[frame].freed
      entries[frame] = first
      entries[frame].freed = freed
    }
  }

  /// `__folio_copy_owner`: what was known of the source is known of the target, and when it was allocated counts as when the target was last
  /// given back.
  func moved(_ source: FrameRange, to target: FrameRange, _ reason: MigrationReason) {
    var entry = entries[Int(source.start.rawValue)]
    guard entry.place > 0 else { return }
    entry.freed = places[Int(entry.place) - 1].line
    entry.moved = UInt32(reason.rawValue) + 1
    entries[Int(target.start.rawValue)] = entry
  }
}

extension PhysicalMemory {
  /// An allocation's holders have been led to other frames, which were allocated for that.
  public func noteMove(_ source: FrameRange, to target: FrameRange, _ reason: MigrationReason) {
    watch?.owners?.moved(source, to: target, reason)
  }
}

/// How Linux would have asked (`gfp_t`, include/linux/gfp_types.h of 6.1).
public struct AllocationMask: OptionSet, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  static let kernel = Self(rawValue: 0xCC0)
  static let highUserMovable = Self(rawValue: 0x10_0CCA)
  static let account = Self(rawValue: 0x40_0000)
  static let reclaimable = Self(rawValue: 0x10)
  static let zero = Self(rawValue: 0x100)
  static let thisNode = Self(rawValue: 0x20_0000)
  /// __GFP_COMP, __GFP_NOWARN and __GFP_RETRY_MAYFAIL, as hugetlb adds them.
  static let hugePage = Self(rawValue: 0x4_6000)
  /// __GFP_DMA, __GFP_HIGHMEM, __GFP_DMA32 and __GFP_MOVABLE.
  static let zones = Self(rawValue: 0xF)

  init(_ request: FrameRequest) {
    self =
      switch request.mobility {
      case .movable: .highUserMovable
      case .unmovable: request.owner.kind == .pageTable && request.owner.id != 0 ? [.kernel, .account] : .kernel
      case .reclaimable: [.kernel, .reclaimable]
      }
    if let zone = request.zone {
      subtract(.zones)
      if request.mobility == .movable { rawValue |= 0x8 }
      switch zone {
      case .dma: rawValue |= 0x1
      case .dma32: rawValue |= 0x4
      case .high, .movable: rawValue |= 0x2
      case .normal, .device: break
      }
    }
    if request.owner.kind == .hugePage { formUnion(.hugePage) }
    if request.zeroed { insert(.zero) }
    if request.onlyNode { insert(.thisNode) }
  }

  /// As `%pGg` prints it: names of what makes up the most, then of what is left (`__def_gfpflag_names`).
  public var names: String {
    var left = rawValue
    var names: [String] = []
    for (name, bits) in Self.all where left & bits == bits {
      names.append(name)
      left &= ~bits
    }
    if left != 0 { names.append("0x" + String(left, radix: 16)) }
    return names.isEmpty ? "none" : names.joined(separator: "|")
  }

  private static let all: [(String, UInt32)] = [
    ("GFP_HIGHUSER_MOVABLE", 0x10_0CCA), ("GFP_HIGHUSER", 0x10_0CC2), ("GFP_USER", 0x10_0CC0),
    ("GFP_KERNEL_ACCOUNT", 0x40_0CC0), ("GFP_KERNEL", 0xCC0), ("GFP_DMA", 0x1), ("__GFP_HIGHMEM", 0x2),
    ("GFP_DMA32", 0x4), ("__GFP_NOWARN", 0x2000), ("__GFP_RETRY_MAYFAIL", 0x4000), ("__GFP_COMP", 0x4_0000),
    ("__GFP_ZERO", 0x100), ("__GFP_THISNODE", 0x20_0000), ("__GFP_RECLAIMABLE", 0x10), ("__GFP_MOVABLE", 0x8),
    ("__GFP_ACCOUNT", 0x40_0000),
  ]
}
