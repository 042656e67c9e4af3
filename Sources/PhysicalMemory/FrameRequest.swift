public import MemoryTypes

/// A wish for contiguous frames (Linux's gfp flags, order and preferred node).
@frozen public struct FrameRequest: Sendable {
  /// 1 to 2^20 frames; need not be a power of two.
  public var count: FrameCount
  /// The first frame's number is a multiple of this: a power of two. `order=N` requests pass 2^N.
  public var alignment: FrameCount
  /// The CPU that asks: its home node is where the search begins, its lists are what it takes from.
  public var cpu: CPUID
  /// The node to prefer instead of the CPU's own (`alloc_pages_node`); others follow in the order of its fallback list.
  public var node: NodeID?
  /// Only `node` may serve (`__GFP_THISNODE`).
  public var onlyNode: Bool
  /// The highest kind of zone that may serve; lower ones follow. DMA never falls back. nil: the highest that suits `mobility`.
  public var zone: ZoneKind?
  public var mobility: Mobility
  /// The bytes shall read zero.
  public var zeroed: Bool
  public var owner: FrameOwner

  @inlinable public init(
    count: FrameCount = FrameCount(1), alignment: FrameCount = FrameCount(1), cpu: CPUID = CPUID(0),
    node: NodeID? = nil,
    onlyNode: Bool = false, zone: ZoneKind? = nil, mobility: Mobility = .unmovable, zeroed: Bool = false,
    owner: FrameOwner = .kernel
  ) {
    self.count = count
    self.alignment = alignment
    self.cpu = cpu
    self.node = node
    self.onlyNode = onlyNode
    self.zone = zone
    self.mobility = mobility
    self.zeroed = zeroed
    self.owner = owner
  }

  /// The slot of a CPU's list for blocks of `count` frames, aligned to their size; -1 where lists have none.
  @inlinable @inline(__always)
  static func slot(forCount count: UInt64) -> Int {
    if count & (count &- 1) != 0 { return -1 }
    let order = count.trailingZeroBitCount
    return order < 4 ? order : order == 9 ? 4 : -1
  }

  /// The slot of the CPU's own list that may serve the request without a further look; -1 where that takes one.
  @inlinable @inline(__always)
  var localSlot: Int { zeroed ? -1 : localListSlot }

  /// The same where bytes are zeroed by whoever takes the frames off the list.
  @inlinable @inline(__always)
  var localListSlot: Int {
    if node != nil || zone != nil { return -1 }
    if alignment.rawValue & (alignment.rawValue &- 1) != 0 || alignment.rawValue &- 1 >= count.rawValue { return -1 }
    return Self.slot(forCount: count.rawValue)
  }

  /// What the frame table says of an allocation from a list, but for the CPU: the bits of `EntryWord`.
  @inlinable @inline(__always)
  func listBits(_ slot: Int) -> UInt64 {
    2 | UInt64(truncatingIfNeeded: mobility.rawValue) << 4 | UInt64(truncatingIfNeeded: slot) << 6
      | UInt64(truncatingIfNeeded: owner.kind.rawValue) << 9 | UInt64(truncatingIfNeeded: owner.id) << 32
  }

  /// The highest kind of zone that may serve: what the request says, else what suits it (Linux's GFP_HIGHUSER_MOVABLE, GFP_HIGHUSER,
  /// GFP_KERNEL).
  @inlinable @inline(__always)
  var highestZone: ZoneKind {
    if let zone { return zone }
    if mobility == .movable { return .movable }
    return owner.kind == .anonymous ? .high : .normal
  }
}

/// Who holds a frame: what it is for, and which one of those.
@frozen public struct FrameOwner: Hashable, Sendable {
  public enum Kind: UInt8, Sendable, CaseIterable {
    /// The emulated kernel itself.
    case kernel
    /// A page-table frame; `id` is the process whose table it is, 0 the kernel's.
    case pageTable
    /// An `alloc` word; `id` is the number of the line that asked.
    case command
    /// A process's anonymous memory; `id` is its pid.
    case anonymous
    /// The page cache; `id` is the file's number.
    case pageCache
    /// A slab; `id` is the cache's number.
    case slab
    /// A pool of huge pages.
    case hugePage
  }
  public var kind: Kind
  public var id: UInt32
  @inlinable public init(_ kind: Kind, id: UInt32 = 0) {
    self.kind = kind
    self.id = id
  }
  @inlinable public static var kernel: FrameOwner { FrameOwner(.kernel) }
  /// Of a frame that was taken out of service for good (`soft_offline_page`, `hard_offline_page`).
  public static var poison: FrameOwner { FrameOwner(.kernel, id: .max) }
}

extension FrameOwner: CustomStringConvertible {
  /// Who that is, for people.
  public var description: String {
    switch kind {
    case .kernel: self == .poison ? "nobody, as it is out of service" : "the kernel"
    case .pageTable: id == 0 ? "the kernel's page table" : "the page table of process \(id)"
    case .command: "line \(id)"
    case .anonymous: "process \(id)"
    case .pageCache: "the page cache, file \(id)"
    case .slab: "slab cache \(id)"
    case .hugePage: "the pool of huge pages"
    }
  }
}
