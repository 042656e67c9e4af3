/// Up to 128 areas, ascending, with their bounds beside them: in memory that counts no references, so that a search is loads and compares. It
/// reads samples of the ends, then a group of 4 areas, one line of the host's memory.
///
/// Bounds are kept in 31 bits, as pages of 4 KiB behind the block's base; a block spans less than 8 TiB, but for the end of its last area,
/// which may lie anywhere.
@safe struct AreaBlock {
  static var capacity: Int { 128 }
  /// Ends that lie too far behind the base: the area has them. Below `none`, above every other key.
  private static var far: Int32 { .max - 1 }
  /// Stands where no area is.
  private static var none: Int32 { .max }
  private static var pageShift: UInt64 { 12 }
  /// A base is a multiple of 16 GiB, so that 23 bits hold those of addresses of 57.
  private static var baseShift: UInt64 { 22 }

  /// SAFETY: every fourth end but the last, and a word: below every key, the base in bits 8 to 30 and the count in the lower 8. These are two
  /// lines of the host's memory. Then groups, a line each: 4 ends, 4 starts and 4 areas. Each area before the count is held. Who made the block
  /// frees it.
  private let words: UnsafeMutablePointer<Int32>
  private static var header: Int { 32 }
  private static var groupWords: Int { 16 }
  private static var size: Int { header + capacity / 4 * groupWords }

  init() {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.size * 4, alignment: 128)
    unsafe words = memory.bindMemory(to: Int32.self, capacity: Self.header)
    unsafe words.initialize(repeating: Self.none, count: Self.header)
    unsafe words[31] = .min
    for group in 0..<Self.capacity / 4 {
      let line = unsafe memory + (Self.header + group * Self.groupWords) * 4
      unsafe line.initializeMemory(as: Int32.self, repeating: Self.none, count: 8)
      unsafe (line + 32).initializeMemory(as: UInt.self, repeating: 0, count: 4)
    }
  }

  func free() {
    for slot in 0..<count { unsafe unretained(slot).release() }
    unsafe words.deallocate()
  }

  @inline(__always) private(set) var count: Int {
    get { unsafe Int(truncatingIfNeeded: words[31] & 0xff) }
    nonmutating set { unsafe words[31] = words[31] & ~0xff | Int32(newValue) }
  }

  /// The page that keys count from.
  @inline(__always) private var base: UInt64 {
    unsafe UInt64(truncatingIfNeeded: (words[31] & .max) &>> 8) &<< Self.baseShift
  }

  /// The end in a slot; the start is 4 words behind it.
  @inline(__always) private func place(_ slot: Int) -> UnsafeMutablePointer<Int32> {
    assert(slot >= 0 && slot < Self.capacity)
    return unsafe words + (Self.header &+ slot &>> 2 &* Self.groupWords &+ slot & 3)
  }

  @inline(__always) private func areaWord(_ slot: Int) -> UnsafeMutablePointer<UInt> {
    // SAFETY: the second half of a group's line.
    unsafe UnsafeMutableRawPointer(words + (Self.header &+ slot &>> 2 &* Self.groupWords &+ 8))
      .assumingMemoryBound(to: UInt.self) + slot & 3
  }

  func start(_ slot: Int) -> UInt64 {
    assert(slot < count)
    return unsafe (base + UInt64(place(slot)[4])) << Self.pageShift
  }
  func end(_ slot: Int) -> UInt64 {
    assert(slot < count)
    let key = unsafe place(slot)[0]
    if key == Self.far { return unsafe unretained(slot)._withUnsafeGuaranteedRef { $0.end } }
    return (base + UInt64(key)) << Self.pageShift
  }
  func area(_ slot: Int) -> Area { unsafe unretained(slot).takeUnretainedValue() }
  /// SAFETY: for the caller to use while the block holds it.
  @inline(__always) private func unretained(_ slot: Int) -> Unmanaged<Area> {
    unsafe .fromOpaque(UnsafeRawPointer(bitPattern: areaWord(slot).pointee)!)
  }

  // MARK: Searches

  /// The area that holds `address`. SAFETY: for the caller to use while the block holds it.
  @inline(__always) func find(_ address: UInt64) -> Unmanaged<Area>? {
    let page = address &>> Self.pageShift
    if page < base { return nil }
    let key = key(of: page)
    let slot = position(afterKey: key)
    if slot == Self.capacity { return nil }
    let place = unsafe place(slot)
    // Behind the last area starts are none.
    if unsafe place[4] > key { return nil }
    let found = unsafe unretained(slot)
    if key == Self.far &- 1, unsafe found._withUnsafeGuaranteedRef({ $0.end <= address }) { return nil }
    return unsafe found
  }

  /// How many areas end at or below `address`.
  @inline(__always) func position(after address: UInt64) -> Int {
    let page = address &>> Self.pageShift
    if page < base { return 0 }
    let slot = position(afterKey: key(of: page))
    return slot < count && end(slot) <= address ? slot + 1 : slot
  }

  /// Of a page at or above the base, which may lie behind what keys reach.
  @inline(__always) private func key(of page: UInt64) -> Int32 {
    Int32(truncatingIfNeeded: min(page &- base, UInt64(Self.far) &- 1))
  }

  /// How many areas' ends have keys that are not above one below `far`.
  @inline(__always) private func position(afterKey key: Int32) -> Int {
    let keys = SIMD4(repeating: key)
    let memory = unsafe UnsafeRawPointer(words)
    var counts = SIMD4<Int32>.zero
    for part in 0..<8 {
      // SAFETY: 31 samples and a word that counts as one, aligned as the block is.
      counts &+= unsafe Self.ones(memory.load(fromByteOffset: part &* 16, as: SIMD4<Int32>.self), keys)
    }
    let group = Int(truncatingIfNeeded: counts.wrappedSum() &- 1)
    // SAFETY: the 4 ends of one of the groups.
    let ends = unsafe memory.load(
      fromByteOffset: (Self.header &+ group &* Self.groupWords) &* 4, as: SIMD4<Int32>.self)
    return group &<< 2 &+ Int(truncatingIfNeeded: Self.ones(ends, keys).wrappedSum())
  }

  /// One where a value is not above a key.
  @inline(__always) private static func ones(_ values: SIMD4<Int32>, _ keys: SIMD4<Int32>) -> SIMD4<Int32> {
    SIMD4.zero.replacing(with: SIMD4(repeating: 1), where: values .<= keys)
  }

  /// The slot of the area that starts at `start`, or of the first that starts above it.
  func position(from start: UInt64) -> Int {
    // What ends at or below it starts below it; so may others where one grows over its neighbours.
    var slot = position(after: start)
    while slot < count, self.start(slot) < start { slot += 1 }
    return slot
  }

  // MARK: Changes

  /// Whether an area that starts there can be among these, or be the first of them.
  func reaches(_ start: UInt64) -> Bool {
    let page = start >> Self.pageShift
    let first = min(page & ~(1 << Self.baseShift - 1), count > 0 ? base : .max)
    let last = count > 0 ? max(page, self.start(count - 1) >> Self.pageShift) : page
    return last - first < UInt64(Self.far)
  }

  /// Makes keys count from a base at or below `start`, as far as that has to be.
  private func lower(to start: UInt64) {
    let page = start >> Self.pageShift
    if count > 0, page >= base { return }
    let old = base
    unsafe words[31] = .min | Int32(page >> Self.baseShift) << 8 | words[31] & 0xff
    let change = Int32(truncatingIfNeeded: old &- base)
    for slot in 0..<count {
      let place = unsafe place(slot)
      unsafe place[4] += change
      setEnd(slot, area(slot).end)
    }
  }

  func setBounds(_ slot: Int, _ start: UInt64, _ end: UInt64) {
    lower(to: start)
    unsafe place(slot)[4] = Int32(start >> Self.pageShift - base)
    setEnd(slot, end)
  }

  private func setEnd(_ slot: Int, _ end: UInt64) {
    setKey(slot, Int32(truncatingIfNeeded: min(end >> Self.pageShift - base, UInt64(Self.far))))
  }

  /// Sets that of an end.
  private func setKey(_ slot: Int, _ key: Int32) {
    unsafe place(slot)[0] = key
    if slot & 3 == 3, slot < Self.capacity - 1 { unsafe words[slot >> 2] = key }
  }

  private func clear(_ slot: Int) {
    setKey(slot, Self.none)
    unsafe place(slot)[4] = Self.none
  }

  /// Leaves what is in the slot, for others to replace.
  private func copy(_ slot: Int, to target: Int) {
    let (from, to) = unsafe (place(slot), place(target))
    unsafe areaWord(target).pointee = areaWord(slot).pointee
    unsafe to[4] = from[4]
    unsafe setKey(target, from[0])
  }

  /// `reaches` its start.
  func insert(_ area: Area, at slot: Int) {
    precondition(count < Self.capacity && reaches(area.start))
    lower(to: area.start)
    for behind in (slot..<count).reversed() { copy(behind, to: behind + 1) }
    // The block holds the area from now on.
    unsafe areaWord(slot).pointee = UInt(bitPattern: Unmanaged.passRetained(area).toOpaque())
    setBounds(slot, area.start, area.end)
    count += 1
  }

  func remove(at slot: Int) {
    unsafe unretained(slot).release()
    for behind in slot + 1..<count { copy(behind, to: behind - 1) }
    clear(count - 1)
    count -= 1
  }

  /// `other` is empty.
  func moveUpperHalf(to other: AreaBlock) {
    let half = count / 2
    for slot in half..<count {
      let (start, end) = (start(slot), end(slot))
      unsafe other.areaWord(slot - half).pointee = areaWord(slot).pointee
      other.setBounds(slot - half, start, end)
      other.count += 1
    }
    for slot in half..<count { clear(slot) }
    count = half
  }

  /// Whether the samples are what the ends are, for `AreaIndex.verify`.
  var isSampled: Bool {
    (0..<31).allSatisfy { group in unsafe words[group] == words[Self.header + group * Self.groupWords + 3] }
  }
}
