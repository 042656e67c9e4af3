public import MemoryTypes

/// The free frames that a CPU keeps of one zone (Linux's `per_cpu_pages`), and what it counts of that zone.
///
/// A list for each of the orders 0 to 3 and 9 (its *slots*) and each mobility; the frames of a list are chained through their words in the
/// frame table, last in, first out. Zeroed memory is an empty list. All fields are guarded by the lock in the last bytes of its 896, which
/// is no field, so that an access to the list as a whole is none to the lock.
@frozen @usableFromInline struct CPUList: ~Copyable {
  /// Frames that may be held in orders 0 to 3, and in order 9, less those that are: below 0 there are too many. The limits are set when the
  /// zone gets to know the list. Numbers of their own, as a load that spans both waits until a store to one is in the cache.
  @usableFromInline var room: Int32
  @usableFromInline var roomLarge: Int32
  @usableFromInline var high: Int32
  @usableFromInline var highLarge: Int32
  /// The first frame of each list, plus 1; 0 where it is empty. Index: `head`.
  @usableFromInline var heads: InlineArray<20, UInt64>
  /// What went through the list since the start. Index: `traffic`. One number a change, as the next lock waits for all that is stored.
  @usableFromInline var traffic: InlineArray<40, Traffic>
  /// Allocations that another node should have served (`numa_miss`), and those whose CPU is of another node (`numa_other`).
  @usableFromInline var numaMisses: UInt64
  @usableFromInline var numaOthers: UInt64
  /// How many blocks of order 9 the last refill was to bring, and how many had been given back by then.
  var grant: Int32
  var freesAtGrant: UInt64
  /// 1 once the zone knows that this list is in use.
  @usableFromInline var registered: UInt32

  /// Allocations and frees of a slot's size, of one kind of owner.
  @frozen @usableFromInline struct Traffic {
    @usableFromInline var allocations: UInt64
    @usableFromInline var frees: UInt64
  }

  static let slots = 5
  /// Bytes from one list to the next: whole cache lines.
  @inlinable static var stride: Int { 896 }

  /// The lock that guards the list at that place.
  @inlinable @inline(__always)
  static func lock(of list: UnsafeMutablePointer<CPUList>) -> UnsafeMutablePointer<Lock> {
    // SAFETY: the list's fields end before, the next list begins behind; zeroed memory is a free lock.
    unsafe (UnsafeMutableRawPointer(list) + (stride - MemoryLayout<Lock>.size)).assumingMemoryBound(to: Lock.self)
  }

  @inline(__always)
  static func order(ofSlot slot: Int) -> Int { slot == 4 ? 9 : slot }

  @inlinable @inline(__always)
  static func frames(ofSlot slot: Int) -> Int { 1 &<< (slot &+ (slot &>> 2) &* 5) }

  /// The place in `heads` of a slot's list of a mobility.
  @inline(__always)
  static func head(_ slot: Int, _ mobility: Int) -> Int { slot &<< 2 | mobility }

  /// The place in `traffic` of a slot's size and a kind of owner, of which there are at most 8.
  @inlinable @inline(__always)
  static func traffic(_ slot: Int, kind: Int) -> Int { slot &<< 3 | kind }

  /// Every slot with every mobility.
  static let all = (0..<slots).flatMap { slot in (0..<3).map { (slot: slot, mobility: $0) } }

  /// Frames that the list holds.
  var held: Int { Int(high) - Int(room) + Int(highLarge) - Int(roomLarge) }

  /// What the elements of `traffic` are read through. It changes nothing; but of what is not the caller's to change the compiler makes a copy,
  /// all 640 bytes, before it reads a number.
  @inline(__always)
  private mutating func read<Result>(_ body: (UnsafePointer<Traffic>) -> Result) -> Result {
    // SAFETY: an array's elements lie in it one behind the other, and the pointer does not outlive the call.
    unsafe withUnsafeMutablePointer(to: &traffic) {
      unsafe body(UnsafeRawPointer($0).assumingMemoryBound(to: Traffic.self))
    }
  }

  /// Allocations and frees since the start, of the sizes of these slots.
  mutating func total(ofSlots slots: Range<Int>) -> Traffic {
    unsafe read { traffic in
      var total = Traffic(allocations: 0, frees: 0)
      for place in CPUList.traffic(slots.lowerBound, kind: 0)..<CPUList.traffic(slots.upperBound, kind: 0) {
        total.allocations &+= unsafe traffic[place].allocations
        total.frees &+= unsafe traffic[place].frees
      }
      return total
    }
  }

  /// Frames handed out since the start.
  mutating func allocatedFrames() -> UInt64 {
    var frames: UInt64 = 0
    for slot in 0..<CPUList.slots {
      frames += total(ofSlots: slot..<slot + 1).allocations << UInt64(CPUList.order(ofSlot: slot))
    }
    return frames
  }

  /// Adds, by kind of owner, frames handed out less frames taken back by this list; only sums over all lists mean anything.
  mutating func addFrames(to frames: inout InlineArray<8, Int>) {
    unsafe read { traffic in
      for slot in 0..<CPUList.slots {
        for kind in 0..<8 {
          let place = CPUList.traffic(slot, kind: kind)
          let out = unsafe traffic[place].allocations &- traffic[place].frees
          frames[kind] &+= Int(truncatingIfNeeded: out) &<< CPUList.order(ofSlot: slot)
        }
      }
    }
  }

  /// Counts allocations of one kind that leave the list.
  @inlinable @inline(__always)
  mutating func countAllocation(_ slot: Int, kind: Int, _ count: Int = 1) {
    _ = addHeld(slot, 0 &- CPUList.frames(ofSlot: slot) &* count)
    unsafe traffic[unchecked: CPUList.traffic(slot, kind: kind)].allocations &+= UInt64(truncatingIfNeeded: count)
  }

  /// Counts allocations of one kind that come back to the list; whether that holds more of its kind than it should then.
  @inlinable @inline(__always)
  mutating func countFree(_ slot: Int, kind: Int, _ count: Int = 1) -> Bool {
    unsafe traffic[unchecked: CPUList.traffic(slot, kind: kind)].frees &+= UInt64(truncatingIfNeeded: count)
    return addHeld(slot, CPUList.frames(ofSlot: slot) &* count)
  }

  /// How many blocks of order 9 a refill brings: twice as many as the last one while none is given back (`nr_pcp_alloc` in Linux 6.7), as
  /// many as the list may hold at most.
  mutating func nextGrant() -> Int {
    let frees = total(ofSlots: 4..<5).frees
    grant = freesAtGrant == frees ? max(1, min(grant * 2, (highLarge + 1) >> 9)) : 1
    freesAtGrant = frees
    return Int(grant)
  }

  mutating func setLimits(_ limits: CPUListLimits) {
    room += Int32(limits.high) - high
    high = Int32(limits.high)
    // One frame less: half go back as soon as the list is full, so that those of a long run are whole chunks of the buddy system.
    let large = Int32(limits.highLarge << 9) - 1
    roomLarge += large - highLarge
    highLarge = large
  }

  /// Notes frames that the list gets; whether it holds too many then.
  @inlinable @inline(__always)
  mutating func addHeld(_ slot: Int, _ frames: Int) -> Bool {
    if slot == 4 {
      roomLarge &-= Int32(truncatingIfNeeded: frames)
      return roomLarge < 0
    }
    room &-= Int32(truncatingIfNeeded: frames)
    return room < 0
  }

  /// Back to a list that was never used; the lock is held.
  mutating func clear() {
    registered = 0
    room = high
    roomLarge = highLarge
    grant = 0
    freesAtGrant = 0
    heads = InlineArray(repeating: 0)
    traffic = InlineArray(repeating: Traffic(allocations: 0, frees: 0))
    numaMisses = 0
    numaOthers = 0
  }
}

/// How much a CPU list holds (Linux's `high` and `batch` of a pageset, VeridianOS's list constants).
struct CPUListLimits: Equatable {
  /// Frames of orders 0 to 3 above which a batch goes back to the zone.
  var high: Int
  /// Frames that a refill or a drain moves, of orders 0 to 3.
  var batch: Int
  /// Order-9 allocations of which half go back when so many are held.
  var highLarge: Int
}
