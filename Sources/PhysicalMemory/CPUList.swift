internal import MemoryTypes

/// The free frames that a CPU keeps of one zone (Linux's `per_cpu_pages`), and what it counts of that zone.
///
/// A list for each of the orders 0 to 3 and 9 and each mobility; the frames of a list are chained through their table entries,
/// last in, first out. Zeroed memory is an empty list. All fields are guarded by the
/// lock in the last bytes of its 256, which is no field, so that an access to the list as a whole is none to the lock.
struct CPUList: ~Copyable {
  /// What may be held of the two, in frames; set when the zone gets to know the list.
  var high: InlineArray<2, Int32>
  /// Frames held in orders 0 to 3, and in order 9.
  var heldByPath: InlineArray<2, Int32>
  /// The first frame of each list, plus 1; 0 where it is empty. Index: slot * 3 + mobility.
  var heads: InlineArray<15, UInt64>
  /// Allocations and frees since the start, by path (0: orders 0 to 3; 1: order 9).
  var allocations: InlineArray<2, UInt64>
  var frees: InlineArray<2, UInt64>
  /// Allocations among them that another node should have served (`numa_miss`), and those whose CPU is of another node (`numa_other`).
  var numaMisses: UInt64
  var numaOthers: UInt64
  /// Frames handed out of orders 0 to 3.
  var smallFrames: UInt64
  /// Frames handed out less frames taken back by this list, by kind of owner; only sums over all lists mean anything.
  var kinds: InlineArray<7, Int>
  /// 1 once the zone knows that this list is in use.
  var registered: UInt32

  static let slots = 5
  /// Bytes from one list to the next: whole cache lines.
  static let stride = 256

  /// The lock that guards the list at that place.
  @inline(__always)
  static func lock(of list: UnsafeMutablePointer<CPUList>) -> UnsafeMutablePointer<Lock> {
    // SAFETY: the list's fields end before, the next list begins behind; zeroed memory is a free lock.
    unsafe (UnsafeMutableRawPointer(list) + (stride - MemoryLayout<Lock>.size)).assumingMemoryBound(to: Lock.self)
  }

  /// The list for allocations of `count` frames, aligned to their size: -1 where there is none.
  @inline(__always)
  static func slot(forCount count: UInt64) -> Int {
    if count & (count &- 1) != 0 { return -1 }
    let order = count.trailingZeroBitCount
    return order < 4 ? order : order == 9 ? 4 : -1
  }

  @inline(__always)
  static func order(ofSlot slot: Int) -> Int { slot == 4 ? 9 : slot }

  /// Frames that the list holds.
  var held: Int { Int(heldByPath[0]) + Int(heldByPath[1]) }

  /// Counts an allocation that leaves the list.
  @inline(__always)
  mutating func countAllocation(_ slot: Int, kind: Int) {
    let frames = 1 << CPUList.order(ofSlot: slot)
    addHeld(slot, -frames)
    unsafe allocations[unchecked: slot >> 2] &+= 1
    if slot != 4 { smallFrames &+= UInt64(truncatingIfNeeded: frames) }
    unsafe kinds[unchecked: kind] &+= frames
  }

  /// Counts an allocation that comes back to the list.
  @inline(__always)
  mutating func countFree(_ slot: Int, kind: Int) {
    let frames = 1 << CPUList.order(ofSlot: slot)
    addHeld(slot, frames)
    unsafe frees[unchecked: slot >> 2] &+= 1
    unsafe kinds[unchecked: kind] &-= frames
  }

  /// Whether the list holds more of the slot's kind than it should.
  @inline(__always)
  func isOver(_ slot: Int) -> Bool {
    unsafe heldByPath[unchecked: slot >> 2] > high[unchecked: slot >> 2]
  }

  mutating func setLimits(_ limits: CPUListLimits) {
    high[0] = Int32(limits.high)
    high[1] = Int32(limits.highLarge << 9)
  }

  @inline(__always)
  mutating func addHeld(_ slot: Int, _ frames: Int) {
    unsafe heldByPath[unchecked: slot >> 2] &+= Int32(truncatingIfNeeded: frames)
  }

  /// Back to a list that was never used; the lock is held.
  mutating func clear() {
    registered = 0
    heldByPath = InlineArray(repeating: 0)
    heads = InlineArray(repeating: 0)
    allocations = InlineArray(repeating: 0)
    frees = InlineArray(repeating: 0)
    numaMisses = 0
    numaOthers = 0
    smallFrames = 0
    kinds = InlineArray(repeating: 0)
  }
}

/// How much a CPU list holds (Linux's `high` and `batch` of a pageset, VeridianOS's list constants).
struct CPUListLimits: Equatable {
  /// Frames of orders 0 to 3 above which a batch goes back to the zone.
  var high: Int
  /// Frames that a refill or a drain moves, of orders 0 to 3.
  var batch: Int
  /// Order-9 allocations that may be held.
  var highLarge: Int
}
