/// Up to 128 areas, ascending, with their bounds apart: in memory that counts no references, so that a search is loads and compares.
@safe struct AreaBlock {
  static var capacity: Int { 128 }
  /// SAFETY: a line with the count; `capacity` ends, and as many starts; as many areas, of which `count` are initialized. Who made the block
  /// frees it.
  private let base: UnsafeMutablePointer<UInt64>

  init() {
    unsafe base = UnsafeMutableRawPointer.allocate(byteCount: (8 + 3 * Self.capacity) * 8, alignment: 64)
      .bindMemory(to: UInt64.self, capacity: 8 + 3 * Self.capacity)
    unsafe base[0] = 0
  }

  func free() {
    unsafe areas.deinitialize(count: count)
    unsafe base.deallocate()
  }

  @inline(__always) private(set) var count: Int {
    get { unsafe Int(truncatingIfNeeded: base[0]) }
    nonmutating set { unsafe base[0] = UInt64(truncatingIfNeeded: newValue) }
  }

  @inline(__always) private var ends: UnsafeMutablePointer<UInt64> { unsafe base + 8 }
  @inline(__always) private var starts: UnsafeMutablePointer<UInt64> { unsafe base + 8 + Self.capacity }
  @inline(__always) private var areas: UnsafeMutablePointer<Area> {
    unsafe UnsafeMutableRawPointer(base + 8 + 2 * Self.capacity).assumingMemoryBound(to: Area.self)
  }

  @inline(__always) func start(_ slot: Int) -> UInt64 {
    assert(slot >= 0 && slot < count)
    return unsafe starts[slot]
  }
  @inline(__always) func end(_ slot: Int) -> UInt64 {
    assert(slot >= 0 && slot < count)
    return unsafe ends[slot]
  }
  @inline(__always) func area(_ slot: Int) -> Area {
    assert(slot >= 0 && slot < count)
    return unsafe areas[slot]
  }

  /// How many areas end at or below `address`.
  @inline(__always) func position(after address: UInt64) -> Int { unsafe Self.count(atOrBelow: address, ends, count) }
  /// How many areas start below `address`.
  @inline(__always) func position(from address: UInt64) -> Int {
    address == 0 ? 0 : unsafe Self.count(atOrBelow: address - 1, starts, count)
  }

  /// How many of ascending keys are not above an address: without branches that depend on it, which nobody could foresee.
  @inline(__always)
  static func count(atOrBelow address: UInt64, _ keys: UnsafePointer<UInt64>, _ count: Int) -> Int {
    if count == 0 { return 0 }
    var below = 0
    var rest = count
    // SAFETY: places below `count`.
    while rest > 1 {
      let half = rest &>> 1
      below &+= unsafe keys[below &+ half &- 1] <= address ? half : 0
      rest &-= half
    }
    return unsafe below &+ (keys[below] <= address ? 1 : 0)
  }

  func setBounds(_ slot: Int, _ start: UInt64, _ end: UInt64) {
    unsafe starts[slot] = start
    unsafe ends[slot] = end
  }

  func insert(_ area: Area, at slot: Int) {
    precondition(count < Self.capacity)
    // SAFETY: room for one more; what lies behind moves up.
    let behind = count - slot
    unsafe (starts + slot + 1).update(from: starts + slot, count: behind)
    unsafe (ends + slot + 1).update(from: ends + slot, count: behind)
    unsafe (areas + slot + 1).moveInitialize(from: areas + slot, count: behind)
    unsafe (areas + slot).initialize(to: area)
    setBounds(slot, area.start, area.end)
    count += 1
  }

  func remove(at slot: Int) {
    // SAFETY: the slot is below the count; what lies behind moves down.
    count -= 1
    let behind = count - slot
    unsafe (starts + slot).update(from: starts + slot + 1, count: behind)
    unsafe (ends + slot).update(from: ends + slot + 1, count: behind)
    unsafe (areas + slot).deinitialize(count: 1)
    unsafe (areas + slot).moveInitialize(from: areas + slot + 1, count: behind)
  }

  /// `other` is empty.
  func moveUpperHalf(to other: AreaBlock) {
    let half = count / 2
    let moved = count - half
    // SAFETY: both have room for as many.
    unsafe other.starts.update(from: starts + half, count: moved)
    unsafe other.ends.update(from: ends + half, count: moved)
    unsafe other.areas.moveInitialize(from: areas + half, count: moved)
    other.count = moved
    count = half
  }
}
