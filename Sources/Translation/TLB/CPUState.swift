/// One CPU's translation caches and what it has loaded.
///
/// Entries are stamped. A flush of a space, or of everything, gives out a new stamp, under which nothing is found: it
/// costs the same however much is cached (Linux does so with AArch64's ASIDs). When the stamps are used up, the caches are
/// emptied and the count begins again. Four kinds of entries have stamps of their own: a space's, the kernel's global
/// ones, the kernel's others (which no other space may find: they get a new one at each switch), and table entries.
@safe struct CPUState {
  /// A space that this CPU has entries of. Like Linux's `cpu_tlbstate.ctxs`.
  struct Slot {
    /// `Context.serial`; 0 for none.
    var serial: UInt64 = 0
    var stamp: UInt64 = 0
    var walkStamp: UInt64 = 0
    /// The context's generation up to which this CPU has flushed. The loaded slot's own, and its `walkStamp`, lie in `CPUFront`.
    var seen: UInt64 = 0
  }

  /// Linux's TLB_NR_DYN_ASIDS.
  static var slotCount: Int { 6 }
  /// Stamps are 16 bits of a tag, and 0 is never used.
  static var stampLimit: UInt64 { 0xFFFF }

  /// SAFETY: the MMU's, this CPU's own.
  let front: UnsafeMutablePointer<CPUFront>
  var slot = 0
  var lastStamp: UInt64 = 2
  var nextSlot = 0
  /// The index of the loaded space's context: 0, the kernel's, where none is loaded.
  var context: Int {
    get { unsafe front.pointee.context }
    nonmutating set { unsafe front.pointee.context = newValue }
  }
  /// Has translated something, or loaded a space: the kernel's changes concern it.
  var isActive = false
  var slots = InlineArray<6, Slot>(repeating: Slot())
  var globalStamp: UInt64 = 1
  var kernelStamp: UInt64 = 2
  var kernelWalkStamp: UInt64 = 1
  var kernelSeen: UInt64 = 0
  var counters = TLBCounters()
  var first: InlineArray<5, TLBCache>
  var second: TLBCache
  /// Table entries, by level; their pages are what the entry covers.
  var walks: InlineArray<5, TLBCache>

  /// bits 0-2 the level plus 1, 3-18 the stamp, 19-63 the page's number: 57-bit addresses have 45 bits of it.
  @inline(__always) static func tag(_ number: UInt64, stamp: UInt64, level: Int) -> UInt64 {
    number << 19 | stamp << 3 | UInt64(truncatingIfNeeded: level &+ 1)
  }

  @inline(__always) mutating func newStamp() -> UInt64 {
    if lastStamp == Self.stampLimit { restartStamps() }
    lastStamp &+= 1
    return lastStamp
  }

  @inline(__always) mutating func newWalkStamp() -> UInt64 {
    if unsafe front.pointee.lastWalkStamp == Self.stampLimit { restartStamps() }
    unsafe front.pointee.lastWalkStamp &+= 1
    return unsafe front.pointee.lastWalkStamp
  }

  /// Empties all caches and begins the stamps again; every slot gets its own.
  @inline(never) private mutating func restartStamps() {
    for level in 0..<5 {
      first[level].removeAll()
      walks[level].removeAll()
    }
    second.removeAll()
    globalStamp = 1
    kernelStamp = 2
    kernelWalkStamp = 1
    lastStamp = 2
    unsafe front.pointee.lastWalkStamp = 1
    putBack()
    for i in 0..<Self.slotCount {
      lastStamp += 1
      unsafe front.pointee.lastWalkStamp += 1
      slots[i].stamp = lastStamp
      slots[i].walkStamp = unsafe front.pointee.lastWalkStamp
    }
    takeOut()
  }

  /// Hands the loaded slot to `front`: where the loaded space or the slot has changed.
  @inline(__always) func takeOut() {
    // SAFETY: a slot is always below `slotCount`.
    let loaded = unsafe slots[unchecked: slot]
    unsafe front.pointee.userTag = context == 0 ? CPUFront.noTag : loaded.stamp << 3 | 1
    unsafe front.pointee.userWalkTag = context == 0 ? CPUFront.noTag : loaded.walkStamp << 3 | 2
    unsafe front.pointee.seen = loaded.seen
  }

  /// Takes back what `front` has of the loaded slot: before the slot is read or changed.
  @inline(__always) mutating func putBack() {
    if context == 0 { return }
    slots[slot].walkStamp = unsafe front.pointee.userWalkTag >> 3
    slots[slot].seen = unsafe front.pointee.seen
  }

  /// Forgets all of the space in a slot, cached table entries included.
  mutating func flush(slot: Int) {
    // in two steps: giving out a stamp may give every slot a new one
    let stamp = newStamp()
    slots[slot].stamp = stamp
    let walkStamp = newWalkStamp()
    putBack()
    slots[slot].walkStamp = walkStamp
    takeOut()
    counters.fullFlushes += 1
  }

  /// Forgets everything but global entries (`mov cr3`, `invpcid` type 3, as the seed's mode Global).
  mutating func flushNonGlobal() {
    for i in 0..<Self.slotCount where slots[i].serial != 0 {
      let stamp = newStamp()
      slots[i].stamp = stamp
      let walkStamp = newWalkStamp()
      putBack()
      slots[i].walkStamp = walkStamp
      takeOut()
    }
    renewKernelStamps()
    counters.fullFlushes += 1
  }

  mutating func flushAll() {
    flushNonGlobal()
    let stamp = newStamp()
    globalStamp = stamp
  }

  mutating func renewKernelStamps() {
    let stamp = newStamp()
    kernelStamp = stamp
    renewKernelWalks()
  }

  mutating func renewKernelWalks() {
    let walkStamp = newWalkStamp()
    kernelWalkStamp = walkStamp
  }

  /// Forgets the table entries of the loaded space.
  mutating func renewWalks() {
    let walkStamp = newWalkStamp()
    if context != 0 { unsafe front.pointee.userWalkTag = walkStamp << 3 | 2 }
  }
}
