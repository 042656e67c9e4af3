/// Up to 128 areas, ascending, with their bounds beside them: in memory that counts no references, so that a search is loads and compares. It
/// reads samples of the ends, then a group of 8 areas.
@safe struct AreaBlock {
  static var capacity: Int { 128 }
  /// SAFETY: the count and every eighth end but the last, two lines of the host's memory; groups of 8 ends, 8 starts and 8 areas, a line each.
  /// Behind the count ends are `SortedKeys.none`; each area before it is held. Who made the block frees it.
  private let words: UnsafeMutablePointer<UInt64>
  private static var header: Int { 16 }
  private static var size: Int { header + 3 * capacity }

  init() {
    unsafe words = UnsafeMutableRawPointer.allocate(byteCount: Self.size * 8, alignment: 128)
      .bindMemory(to: UInt64.self, capacity: Self.size)
    unsafe words[0] = 0
    unsafe (words + 1).update(repeating: SortedKeys.none, count: Self.size - 1)
  }

  func free() {
    for slot in 0..<count { unsafe unretained(slot).release() }
    unsafe words.deallocate()
  }

  @inline(__always) private(set) var count: Int {
    get { unsafe Int(truncatingIfNeeded: words[0]) }
    nonmutating set { unsafe words[0] = UInt64(truncatingIfNeeded: newValue) }
  }

  /// The end in a slot; the start is 8 words behind it, the area 16.
  @inline(__always) private func place(_ slot: Int) -> UnsafeMutablePointer<UInt64> {
    assert(slot >= 0 && slot < Self.capacity)
    return unsafe words + (Self.header &+ slot &>> 3 &* 24 &+ slot & 7)
  }

  @inline(__always) func start(_ slot: Int) -> UInt64 {
    assert(slot < count)
    return unsafe place(slot)[8]
  }
  @inline(__always) func end(_ slot: Int) -> UInt64 {
    assert(slot < count)
    return unsafe place(slot)[0]
  }
  func area(_ slot: Int) -> Area { unsafe unretained(slot).takeUnretainedValue() }
  /// SAFETY: for the caller to use while the block holds it.
  @inline(__always) func unretained(_ slot: Int) -> Unmanaged<Area> {
    assert(slot < count)
    return unsafe .fromOpaque(UnsafeRawPointer(bitPattern: UInt(place(slot)[16]))!)
  }

  /// How many areas end at or below `address`, which is below `SortedKeys.none`.
  @inline(__always) func position(after address: UInt64) -> Int {
    // SAFETY: 15 samples; 8 ends of a group.
    let group = unsafe SortedKeys.count(atOrBelow: address, words + 1, steps: 4)
    let ends = unsafe words + (Self.header &+ group &* 24)
    let place = unsafe SortedKeys.count(atOrBelow: address, ends, steps: 3)
    return unsafe (group &<< 3 | place) &+ (ends[place] <= address ? 1 : 0)
  }

  /// The slot of the area that starts at `start`, or of the first that starts above it.
  func position(from start: UInt64) -> Int {
    // What ends at or below it starts below it; so may others where one grows over its neighbours.
    var slot = position(after: start)
    while slot < count, self.start(slot) < start { slot += 1 }
    return slot
  }

  func setBounds(_ slot: Int, _ start: UInt64, _ end: UInt64) {
    let place = unsafe place(slot)
    unsafe place[0] = end
    unsafe place[8] = start
    if slot & 7 == 7, slot < Self.capacity - 1 { unsafe words[1 + slot >> 3] = end }
  }

  /// Moves what is in a slot to one that is free, or to another block's.
  private func move(_ slot: Int, to target: Int, of other: AreaBlock) {
    let (from, to) = unsafe (place(slot), other.place(target))
    unsafe to[16] = from[16]
    unsafe other.setBounds(target, from[8], from[0])
    setBounds(slot, SortedKeys.none, SortedKeys.none)
  }

  func insert(_ area: Area, at slot: Int) {
    precondition(count < Self.capacity)
    for behind in (slot..<count).reversed() { move(behind, to: behind + 1, of: self) }
    // The block holds the area from now on.
    unsafe place(slot)[16] = UInt64(UInt(bitPattern: Unmanaged.passRetained(area).toOpaque()))
    setBounds(slot, area.start, area.end)
    count += 1
  }

  func remove(at slot: Int) {
    unsafe unretained(slot).release()
    setBounds(slot, SortedKeys.none, SortedKeys.none)
    for behind in slot + 1..<count { move(behind, to: behind - 1, of: self) }
    count -= 1
  }

  /// `other` is empty.
  func moveUpperHalf(to other: AreaBlock) {
    let half = count / 2
    for slot in half..<count { move(slot, to: slot - half, of: other) }
    other.count = count - half
    count = half
  }

  /// Whether the samples are what the ends are, for `AreaIndex.verify`.
  var isSampled: Bool {
    (0..<15).allSatisfy { group in unsafe words[1 + group] == words[Self.header + group * 24 + 7] }
  }
}
