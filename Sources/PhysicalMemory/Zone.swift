internal import MemoryTypes
internal import Synchronization
internal import Topology

/// The frames of one kind of zone on one node, and the hybrid allocator over them.
///
/// A *block* is 512 frames, naturally aligned by frame number. A free block belongs to the buddy system (orders 9 to 20, a tree of bits an
/// order and mobility). A block that is taken apart is a bitmap of 512 bits, 1 for used; it lies in one of nine classes by the logarithm
/// of its free frames, and goes back to the buddy system with its last used frame. A block that the zone holds in part has bits
/// that stay used. All metadata is zero for memory that was never handed out, and is never initialised.
///
/// Everything but the constants is guarded by the zone's lock, which `PhysicalMemory` keeps beside.
@safe struct Zone: ~Copyable {
  /// All free frames but those in CPU lists: what the buddy system and the bitmaps have. First, so that nothing that is read without
  /// the lock has the address of the zone as a whole.
  var free = 0
  let nodeIndex: Int
  let node: NodeID
  let kind: ZoneKind
  /// The frames that the zone may ever have: what its structures have room for.
  let reach: Range<Int>
  let firstBlock: Int
  let blockCount: Int
  /// What of it is memory, ascending, in frames, adjacent ranges joined; nothing in a zone that is not populated.
  var present: [Range<Int>]
  var presentFrames: Int
  /// Present less reserved.
  var managed: Int
  /// Frames that were ever given to it to manage.
  var handedOver = 0

  // The bitmaps
  /// Eight words a block.
  let bits: HostArray<UInt64>
  /// Used frames of a block that is taken apart, 1 to 512; 0: the block is whole.
  let used: HostArray<UInt16>
  /// A block's mobility, XOR 1: zero means movable, as Linux initialises `pageblock_flags`.
  let blockMobility: HostArray<UInt8>
  /// How many blocks are of each mobility but movable, which all others are.
  var strangeBlocks = InlineArray<4, Int>(repeating: 0)
  /// Blocks that are taken apart or begin a large allocation: what an enumeration looks at.
  let occupied: BitTree
  /// Whole free blocks whose bytes the host may still hold.
  let discardable: BitTree
  var discardableCount = 0
  private let treeWords: HostArray<UInt64>
  /// SAFETY: made in init and freed in deinit: one for each order of the buddy system, and that of the classes behind.
  private let shapes: UnsafeMutablePointer<BitTreeShape>
  private let classPlaces: TreePlaces
  /// Classes that have a block, a bit each, by mobility.
  var classMask = InlineArray<4, UInt16>(repeating: 0)

  // The buddy system
  private let buddyPlaces: InlineArray<12, TreePlaces>
  /// From a mobility's buddy trees to the next's.
  private let buddyStride: TreePlaces
  /// Orders that have a free chunk, a bit each (bit 0 is order 9), by mobility.
  var buddyMask = InlineArray<4, UInt16>(repeating: 0)

  /// Free chunks by order, as a buddy system of orders 0 to 20 would have them. Index: mobility * 21 + order.
  var chunks = InlineArray<84, Int>(repeating: 0)

  // Isolation: blocks of the fourth mobility, out of which nothing is taken
  var isolatedBlocks = 0
  /// Free frames in them; `free` leaves these out.
  var isolated = 0

  /// Requests of at least this many frames look at the buddy system first: 1 to 512.
  var threshold = 512
  var watermarks = Watermarks()
  /// What `watermarks.boost` may grow to (`boost_watermark`); 0: nothing.
  var maximumBoost = 0
  /// How much the CPUs' lists of this zone hold.
  var limits = CPUListLimits(high: 48, batch: 32, highLarge: 2)

  // Counters
  var bitmapCounts = PathCounts()
  var buddyCounts = PathCounts()
  /// Frames handed out past the CPU lists since the start, and those of them that are out still, by kind of owner; sums with the
  /// lists' own.
  var allocatedFrames: UInt64 = 0
  var kinds = InlineArray<8, Int>(repeating: 0)
  var numa = NUMACounts()
  /// `numa_foreign`: counted by those who were served elsewhere, without this zone's lock.
  let foreign = Atomic<UInt64>(0)
  /// The CPUs whose lists of this zone were ever used, ascending.
  private(set) var registered: [Int] = []

  static let maximumOrder = 20
  /// Those of the buddy system: 9 to `maximumOrder`.
  static let orders = 12
  static let blockFrames = 512
  static let classes = 9
  /// `Mobility`'s, and isolation (Linux's MIGRATE_ISOLATE).
  static let mobilities = 4

  /// Words of trees: of their leaves, and of what is above these, which lies apart.
  struct TreePlaces {
    var leaves = 0
    var upper = 0
  }

  /// Words of metadata that a zone over these frames takes, and where its parts begin.
  ///
  /// The trees of a mobility's orders lie side by side, the few words of the large orders together, behind the upper levels of all of them,
  /// and the movable ones first. Of two orders one lies backward, so that they meet where memory begins: in its first 4 GiB a machine that
  /// is made has a chunk of most of them. So making one of any size touches about as many pages.
  struct Layout {
    let blocks: Int
    let firstBlock: Int
    let classShape: BitTreeShape
    /// Where the class trees begin; two more of their shape follow.
    let classPlaces: TreePlaces
    var buddyShapes: InlineArray<12, BitTreeShape>
    /// Where the trees of movable memory begin, by order.
    var buddyPlaces = InlineArray<12, TreePlaces>(repeating: TreePlaces())
    let buddyStride: TreePlaces
    let usedOffset: Int
    let mobilityOffset: Int
    let treesOffset: Int
    /// Bytes in all.
    let size: Int
    let treeWords: Int

    init(reach: Range<Int>) {
      firstBlock = reach.lowerBound >> 9
      blocks = max(1, (reach.upperBound - 1) >> 9 - firstBlock + 1)
      classShape = BitTreeShape(leaves: blocks)
      buddyShapes = InlineArray(repeating: classShape)
      var stride = TreePlaces()
      for order in (9...Zone.maximumOrder).reversed() {
        let leaves = (reach.upperBound - 1) >> order - reach.lowerBound >> order + 1
        var shape = BitTreeShape(leaves: max(1, leaves))
        shape.isMirrored = order < 18 && order & 1 != 0
        buddyShapes[order - 9] = shape
        buddyPlaces[order - 9] = stride
        if shape.isMirrored { buddyPlaces[order - 9].leaves += shape.leafWords }
        stride.leaves += shape.leafWords
        stride.upper += shape.upperWords
      }
      buddyStride = stride
      // The buddy trees' upper levels, their leaves, and so for the class trees and two more of the same shape.
      let classTrees = Zone.mobilities * Zone.classes + 2
      for order in 9...Zone.maximumOrder { buddyPlaces[order - 9].leaves += stride.upper * Zone.mobilities }
      let buddyWords = (stride.upper + stride.leaves) * Zone.mobilities
      classPlaces = TreePlaces(leaves: buddyWords + classShape.upperWords * classTrees, upper: buddyWords)
      let words = classPlaces.leaves + classShape.leafWords * classTrees
      usedOffset = blocks * 64
      mobilityOffset = usedOffset + (blocks * 2 + 63) & ~63
      treesOffset = (mobilityOffset + blocks + HostMapping.page - 1) & ~(HostMapping.page - 1)
      treeWords = words
      size = treesOffset + words * 8
    }
  }

  /// A zone without a free frame; `give` what it manages.
  init(
    nodeIndex: Int, node: NodeID, kind: ZoneKind, reach: Range<Int>, present: [Range<Int>], layout: Layout,
    metadata: UnsafeMutableRawPointer
  ) {
    self.nodeIndex = nodeIndex
    self.node = node
    self.kind = kind
    self.reach = reach
    firstBlock = layout.firstBlock
    blockCount = layout.blocks
    self.present = present
    presentFrames = present.reduce(0) { $0 + $1.count }
    managed = 0
    // SAFETY: the parts lie inside the layout's size, apart from each other, each at a multiple of 64 bytes.
    unsafe bits = HostArray(metadata, count: layout.blocks * 8)
    unsafe used = HostArray(metadata + layout.usedOffset, count: layout.blocks)
    unsafe blockMobility = HostArray(metadata + layout.mobilityOffset, count: layout.blocks)
    unsafe treeWords = HostArray(metadata + layout.treesOffset, count: layout.treeWords)
    unsafe shapes = .allocate(capacity: Zone.orders + 1)
    for index in 0..<Zone.orders { unsafe (shapes + index).initialize(to: layout.buddyShapes[index]) }
    unsafe (shapes + Zone.orders).initialize(to: layout.classShape)
    classPlaces = layout.classPlaces
    buddyPlaces = layout.buddyPlaces
    buddyStride = layout.buddyStride
    let classTrees = Zone.mobilities * Zone.classes
    unsafe occupied = Self.classTree(classTrees, treeWords, classPlaces, shapes + Zone.orders)
    unsafe discardable = Self.classTree(classTrees + 1, treeWords, classPlaces, shapes + Zone.orders)
  }

  deinit { unsafe shapes.deallocate() }

  /// The first frame, and the first behind the last (`zone_start_pfn`, `zone_end_pfn`): 0 and 0 without memory.
  var start: Int { present.first?.lowerBound ?? 0 }
  var end: Int { present.last?.upperBound ?? 0 }

  /// Back to a zone without a free frame; the metadata is zeroed by the caller.
  mutating func clear(present: [Range<Int>]) {
    self.present = present
    presentFrames = present.reduce(0) { $0 + $1.count }
    managed = 0
    handedOver = 0
    strangeBlocks = InlineArray(repeating: 0)
    free = 0
    isolatedBlocks = 0
    isolated = 0
    watermarks = Watermarks()
    discardableCount = 0
    classMask = InlineArray(repeating: 0)
    buddyMask = InlineArray(repeating: 0)
    chunks = InlineArray(repeating: 0)
    bitmapCounts = PathCounts()
    buddyCounts = PathCounts()
    allocatedFrames = 0
    kinds = InlineArray(repeating: 0)
    numa = NUMACounts()
    foreign.store(0, ordering: .relaxed)
    registered = []
  }

  /// A CPU's list of this zone comes into use.
  mutating func register(_ cpu: Int) {
    registered.insert(cpu, at: registered.firstIndex { $0 > cpu } ?? registered.count)
  }

  @inline(__always)
  private static func classTree(
    _ index: Int, _ words: HostArray<UInt64>, _ places: TreePlaces, _ shape: UnsafePointer<BitTreeShape>
  ) -> BitTree {
    unsafe BitTree(
      words: words, base: places.leaves + index * shape.pointee.leafWords,
      upper: places.upper + index * shape.pointee.upperWords, shape: shape)
  }

  /// The blocks of a mobility with 2^index to 2^(index+1) - 1 free frames.
  @inline(__always)
  func classTree(_ mobility: Int, _ index: Int) -> BitTree {
    unsafe Self.classTree(mobility * Zone.classes + index, treeWords, classPlaces, shapes + Zone.orders)
  }

  /// The free chunks of an order; a leaf is a chunk's number less that of the zone's first.
  @inline(__always)
  func buddyTree(_ mobility: Int, _ order: Int) -> BitTree {
    let place = unsafe buddyPlaces[unchecked: order - 9]
    // Movable, the second, lies first.
    let turn = mobility ^ 1
    return unsafe BitTree(
      words: treeWords, base: place.leaves + turn * buddyStride.leaves,
      upper: place.upper + turn * buddyStride.upper, shape: shapes + (order - 9))
  }

  /// The mobility of the zone's block `block` (counted from its first).
  @inline(__always)
  func mobility(ofBlock block: Int) -> Int { Int(blockMobility[block] ^ 1) }

  @inline(__always)
  func count(_ mobility: Int, _ order: Int) -> Int { unsafe chunks[unchecked: mobility * 21 + order] }

  @inline(__always)
  mutating func addChunks(_ mobility: Int, _ order: Int, _ delta: Int) {
    unsafe chunks[unchecked: mobility * 21 + order] &+= delta
  }
}

/// What one of the two ways to frames has done.
struct PathCounts: Equatable {
  var allocations: UInt64 = 0
  var frees: UInt64 = 0
  var failures: UInt64 = 0
}

/// Linux's `enum numa_stat_item`, in allocations (not frames).
struct NUMACounts: Equatable {
  var hit: UInt64 = 0
  var miss: UInt64 = 0
  var interleaveHit: UInt64 = 0
  var local: UInt64 = 0
  var other: UInt64 = 0
}
