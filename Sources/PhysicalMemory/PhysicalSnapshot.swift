public import MemoryTypes

/// A machine's memory at one instant.
public struct PhysicalSnapshot: Equatable, Sendable {
  public var frameSize: FrameSize
  /// In ascending order, memory-less ones included.
  public var nodes: [NodeSnapshot]

  public struct NodeSnapshot: Equatable, Sendable {
    public var node: NodeID
    /// Those that have memory, lowest first; none on a memory-less node.
    public var zones: [ZoneSnapshot]
    /// Those of the machine's kinds that the node has no memory in, lowest first: all zero, but they get memory when it is put there.
    public var emptyZones: [ZoneSnapshot]
    /// Frames by who holds them. Index: `FrameOwner.Kind.rawValue`.
    public var framesByOwner: [FrameCount]
    public var present: FrameCount { zones.reduce(.zero) { $0 + $1.present } }
    public var managed: FrameCount { zones.reduce(.zero) { $0 + $1.managed } }
    public var free: FrameCount { zones.reduce(.zero) { $0 + $1.free } }
    public var used: FrameCount { zones.reduce(.zero) { $0 + $1.used } }
    public var reserved: FrameCount { present - managed }
    public var numa: NUMACounters { zones.reduce(NUMACounters()) { $0 + $1.numa } }
    public func frames(of kind: FrameOwner.Kind) -> FrameCount { framesByOwner[Int(kind.rawValue)] }
  }

  public struct ZoneSnapshot: Equatable, Sendable {
    public var kind: ZoneKind
    /// The first frame (`start_pfn`).
    public var start: FrameNumber
    /// From the first frame to the last, holes included.
    public var spanned: FrameCount
    public var present: FrameCount
    /// Present less reserved.
    public var managed: FrameCount
    /// All free frames: those in CPU lists too (Linux's NR_FREE_PAGES leaves these out).
    public var free: FrameCount
    /// Free frames in CPU lists, of orders 0 to 3 and of order 9.
    public var listed: FrameCount
    /// Free frames in isolated blocks, which nobody gets; `free` leaves them out, as NR_FREE_PAGES does.
    public var isolated: FrameCount
    /// Free chunks of orders 0 to 9, and in 10 those of that order and above in chunks of order 10, as a buddy system would have them. CPU lists
    /// are left out, isolated blocks are not.
    public var freeByOrder: [Int]
    /// Free chunks of each order 0 to 20, by mobility (`Mobility.rawValue`); CPU lists are left out.
    public var freeByMobility: [[Int]]
    /// Free chunks of each order 0 to 20 in isolated blocks.
    public var isolatedByOrder: [Int]
    public var watermarks: Marks
    public var numa: NUMACounters
    /// Frames that were handed out since the start.
    public var allocatedFrames: UInt64
    /// Frames that came back, and those that the zone was given to manage, which it counts as coming back (`memblock_free_all`).
    public var freedFrames: UInt64
    /// Requests below the threshold, and the others.
    public var bitmap: PathCounters
    public var buddy: PathCounters
    /// The same requests by who served them: CPU lists; bitmaps and the buddy system past those.
    public var fromLists: PathCounters
    public var fromBitmaps: PathCounters
    public var fromBuddy: PathCounters
    /// CPUs whose lists were used, ascending.
    public var lists: [ListSnapshot]
    /// What every CPU's list may hold, used or not, in frames, and how many it moves at once.
    public var listHigh: Int
    public var listBatch: Int
    /// Blocks of 512 frames by mobility (`Mobility.rawValue`), partly present ones among them, isolated ones left out. What nobody ever had
    /// is movable.
    public var blocksByMobility: [Int]
    public var isolatedBlocks: Int
    public var used: FrameCount { managed - free - isolated }
    public var reserved: FrameCount { present - managed }
    public var isPopulated: Bool { present.rawValue > 0 }
  }

  /// A zone's watermarks, as zoneinfo has them.
  public struct Marks: Equatable, Sendable {
    public var min: FrameCount
    public var low: FrameCount
    public var high: FrameCount
    public var boost: FrameCount
    /// What is kept from requests whose highest zone is of that kind. Index: `ZoneKind.rawValue`.
    public var protection: [FrameCount]
  }

  /// What a CPU keeps of a zone (a `pageset` of zoneinfo).
  public struct ListSnapshot: Equatable, Sendable {
    public var cpu: CPUID
    /// Frames held.
    public var count: Int
    public var high: Int
    public var batch: Int
  }

  /// Linux's numastat, in allocations.
  public struct NUMACounters: Equatable, Sendable {
    public var hit: UInt64 = 0
    public var miss: UInt64 = 0
    public var foreign: UInt64 = 0
    public var interleaveHit: UInt64 = 0
    public var local: UInt64 = 0
    public var other: UInt64 = 0
    public init() {}
    public static func + (a: Self, b: Self) -> Self {
      var sum = a
      sum.hit += b.hit
      sum.miss += b.miss
      sum.foreign += b.foreign
      sum.interleaveHit += b.interleaveHit
      sum.local += b.local
      sum.other += b.other
      return sum
    }
  }

  /// What the bitmaps or the buddy system did.
  public struct PathCounters: Equatable, Sendable {
    public var allocations: UInt64
    public var frees: UInt64
    /// Requests that no zone could serve, counted in the zone that they preferred.
    public var failures: UInt64
  }
}

/// What a node's zones hold in sum, in frames.
public struct NodeTotals: Sendable {
  public var managed = 0
  /// CPU lists included.
  public var free = 0
  /// Of those, in High zones.
  public var highManaged = 0
  public var highFree = 0
  public var numa = PhysicalSnapshot.NUMACounters()
  /// By who holds them. Index: `FrameOwner.Kind.rawValue`.
  var framesByOwner = InlineArray<8, Int>(repeating: 0)
  public func frames(of kind: FrameOwner.Kind) -> Int { framesByOwner[Int(kind.rawValue)] }
}
