internal import MemoryTypes
public import Synchronization

/// The first word of what is known of a frame: written for the first frame of an allocation, zero for what was never handed out.
///
/// An atomic because a frame that is given back is looked up before it is known which lock guards it. `state` changes only under a lock:
/// that of the CPU's list for `listed` and `allocatedFromList`, else its zone's.
@frozen @usableFromInline struct EntryWord: Equatable {
  @usableFromInline var bits: UInt64

  enum State: UInt64 {
    /// Not the first frame of anything.
    case none
    /// The first frame of an allocation that the zone gave.
    case allocatedFromZone
    /// The first frame of an allocation that a CPU's list gave.
    case allocatedFromList
    /// Free, in a CPU's list.
    case listed
  }

  // bits 0-1 state, 2 may hold data, 3 linked, 4-5 mobility, 6-8 the list's slot; then
  // of an allocation: 9-11 owner kind, 12-31 count - 1 or the list's CPU, 32-63 owner id
  // of a listed frame: 12-63 the next one of the list, plus 1

  @inlinable static var mayHoldData: UInt64 { 1 << 2 }
  /// References or mapping of the allocation were written. Without it they need not be looked at.
  @inlinable static var linked: UInt64 { 1 << 3 }

  @inlinable @inline(__always) init(bits: UInt64) { self.bits = bits }

  @inline(__always)
  init(zoneAllocation count: Int, mobility: Mobility, owner: FrameOwner) {
    bits =
      State.allocatedFromZone.rawValue | UInt64(mobility.rawValue) << 4 | UInt64(owner.kind.rawValue) << 9
      | UInt64(count - 1) << 12 | UInt64(owner.id) << 32
  }

  /// An allocation from a list of that CPU. `bits`: `FrameRequest.listBits`.
  @inlinable @inline(__always)
  init(listBits bits: UInt64, cpu: Int) { self.bits = bits | UInt64(truncatingIfNeeded: cpu) << 12 }

  /// A listed frame. `next`: the frame behind it, plus 1; 0 at the end.
  @inline(__always)
  init(listed slot: Int, mobility: Int, next: UInt64) {
    bits =
      State.listed.rawValue | UInt64(truncatingIfNeeded: mobility) << 4 | UInt64(truncatingIfNeeded: slot) << 6
      | next << 12
  }

  /// What an allocation from a list becomes when it is given back.
  @inlinable @inline(__always)
  func listed(next: UInt64) -> EntryWord {
    // 3: `State.listed`.
    EntryWord(bits: bits & (31 << 4) | 3 | Self.mayHoldData | next << 12)
  }

  /// Whether this is an allocation from that list, never linked: the other bits are anything.
  @inlinable @inline(__always)
  func isUnlinked(slot: Int, cpu: Int) -> Bool {
    // 2: `State.allocatedFromList`.
    let wanted = 2 | UInt64(truncatingIfNeeded: slot) << 6 | UInt64(truncatingIfNeeded: cpu) << 12
    return (bits ^ wanted) & (3 | Self.linked | 7 << 6 | 0xF_FFFF << 12) == 0
  }

  @inline(__always) var state: State {
    switch bits & 3 {
    case 0: .none
    case 1: .allocatedFromZone
    case 2: .allocatedFromList
    default: .listed
    }
  }
  @inline(__always) var isAllocated: Bool { bits & 3 == 1 || bits & 3 == 2 }
  @inline(__always) var isLinked: Bool { bits & Self.linked != 0 }
  @inline(__always) var mobilityIndex: Int { Int(truncatingIfNeeded: bits >> 4 & 3) }
  @inline(__always) var mobility: Mobility { Mobility(rawValue: UInt8(bits >> 4 & 3)) ?? .unmovable }
  @inlinable @inline(__always) var kindIndex: Int { Int(truncatingIfNeeded: bits >> 9 & 7) }
  @inline(__always) var owner: FrameOwner {
    FrameOwner(FrameOwner.Kind(rawValue: UInt8(bits >> 9 & 7)) ?? .kernel, id: UInt32(bits >> 32))
  }
  @inlinable @inline(__always) var slot: Int { Int(truncatingIfNeeded: bits >> 6 & 7) }
  /// Which of a CPU list's lists: `CPUList.head`.
  @inlinable @inline(__always) var head: Int { Int(truncatingIfNeeded: bits >> 4 & 31) }
  @inline(__always) var cpu: Int { Int(truncatingIfNeeded: bits >> 12 & 0xF_FFFF) }
  /// Of a listed frame: the one behind it, plus 1; 0 at the end.
  @inlinable @inline(__always) var nextListed: UInt64 { bits >> 12 }
  /// Frames of the allocation that begins here, or of the listed frame.
  @inline(__always) var count: Int {
    bits & 3 == State.allocatedFromZone.rawValue
      ? Int(truncatingIfNeeded: bits >> 12 & 0xF_FFFF) + 1 : CPUList.frames(ofSlot: slot)
  }

  func owned(by owner: FrameOwner) -> EntryWord {
    EntryWord(bits: bits & ~(7 << 9 | 0xFFFF_FFFF << 32) | UInt64(owner.kind.rawValue) << 9 | UInt64(owner.id) << 32)
  }
}

/// The second word of an allocated frame's entry: references less 1 in bits 0 to 19, mapping in bits 20 to 63. Zero is what an
/// allocation begins with: one reference, no mapping; and zero it is wherever the first word is not `linked`.
enum FrameLink {
  static let maximumReferences: UInt64 = 1 << 20
  @inline(__always) static func references(_ link: UInt64) -> UInt64 { link & (maximumReferences - 1) + 1 }
  @inline(__always) static func mapping(_ link: UInt64) -> UInt64 { link >> 20 }
}

/// The entries of all frames, holes included: addressed by frame number, committed page by page as frames are handed out.
///
/// An entry's two words lie in arrays of their own, so that allocating and freeing touch 8 bytes of a frame; the second array is touched by
/// what is shared or mapped. Allocations of whole blocks (512 frames and more) keep their first word apart once more, in 8 bytes a block,
/// so that a thousand of them touch a few pages rather than one each. Of a block's first frame at most one of the two words has a
/// state.
@frozen @usableFromInline @safe struct FrameTable: @unchecked Sendable {
  @usableFromInline typealias Word = UnsafeMutablePointer<Atomic<UInt64>>
  @usableFromInline let words: Word
  private let links: Word
  @usableFromInline let blockWords: Word
  /// The first frame number that no table entry has.
  @usableFromInline let limit: Int

  /// Bytes of an array with a word a frame; the table is two of these, the links behind the words.
  static func wordsSize(limit: Int) -> Int { (limit * 8 + HostMapping.page - 1) & ~(HostMapping.page - 1) }

  /// Bytes of block words.
  static func blockWordsSize(limit: Int) -> Int { (limit >> 9 + 1) * 8 }

  init(_ base: UnsafeMutableRawPointer, blockWords: UnsafeMutableRawPointer, limit: Int) {
    precondition(MemoryLayout<Atomic<UInt64>>.size == 8 && MemoryLayout<Atomic<UInt64>>.stride == 8)
    // SAFETY: the memory is zeroed, of twice `limit` words, and used as this type alone; zero is a valid Atomic.
    unsafe words = base.bindMemory(to: Atomic<UInt64>.self, capacity: limit)
    unsafe links = (base + Self.wordsSize(limit: limit)).bindMemory(to: Atomic<UInt64>.self, capacity: limit)
    // SAFETY: likewise, a word for every block that begins in the table, and one more.
    unsafe self.blockWords = blockWords.bindMemory(to: Atomic<UInt64>.self, capacity: limit >> 9 + 1)
    self.limit = limit
  }

  // Relaxed throughout: what orders accesses to a frame's state is the lock that guards it. Reads without that lock are hints
  // that are read again under it, or of frames that the caller holds.

  /// Where the first word of an allocation lies that is a block or more, or less.
  @inlinable @inline(__always)
  func place(_ frame: Int, isBlock: Bool) -> Word {
    assert(frame >= 0 && frame < limit && (!isBlock || frame & 511 == 0))
    return unsafe isBlock ? blockWords + frame >> 9 : words + frame
  }

  @inline(__always)
  func word(_ frame: Int) -> EntryWord {
    assert(frame >= 0 && frame < limit)
    if frame & 511 == 0 {
      let word = blockWord(frame)
      if word.bits & 3 != 0 { return word }
    }
    // SAFETY: inside the table, as asserted.
    return unsafe EntryWord(bits: words[frame].load(ordering: .relaxed))
  }

  /// Sets the first word of a frame that begins less than a block.
  @inlinable @inline(__always)
  func setWord(_ frame: Int, _ word: EntryWord) {
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    unsafe words[frame].store(word.bits, ordering: .relaxed)
  }

  @inline(__always)
  func blockWord(_ frame: Int) -> EntryWord {
    // SAFETY: inside the table, as the frame is.
    unsafe EntryWord(bits: blockWords[frame >> 9].load(ordering: .relaxed))
  }

  /// Sets the first word of a frame that begins a block or more.
  @inline(__always)
  func setBlockWord(_ frame: Int, _ word: EntryWord) {
    assert(frame >= 0 && frame < limit && frame & 511 == 0)
    // SAFETY: inside the table, as asserted.
    unsafe blockWords[frame >> 9].store(word.bits, ordering: .relaxed)
  }

  /// Back to frames that were never handed out: whole blocks, all free. What the table's mapping holds of them goes back to the host.
  func forget(_ frames: Range<Int>, _ mapping: borrowing HostMapping) {
    if !discard(frames, mapping) { for frame in frames { setWord(frame, EntryWord(bits: 0)) } }
    for block in stride(from: frames.lowerBound, to: frames.upperBound, by: 512) {
      setBlockWord(block, EntryWord(bits: 0))
    }
  }

  /// Gives back to the host what the table's mapping holds of whole blocks, all free, where that is whole pages; whether it is.
  @discardableResult
  func discard(_ frames: Range<Int>, _ mapping: borrowing HostMapping) -> Bool {
    let bytes = frames.lowerBound * 8..<frames.upperBound * 8
    guard bytes.lowerBound % HostMapping.page == 0, bytes.upperBound % HostMapping.page == 0 else { return false }
    mapping.discard(offset: bytes.lowerBound, size: bytes.count)
    mapping.discard(offset: Self.wordsSize(limit: limit) + bytes.lowerBound, size: bytes.count)
    return true
  }

  /// Makes a frame one of a list. `next`: the frame behind it, plus 1; 0 at the end.
  @inline(__always)
  func list(_ frame: Int, slot: Int, mobility: Int, next: UInt64) {
    var word = EntryWord(listed: slot, mobility: mobility, next: next)
    if slot != 4 { word.bits |= self.word(frame).bits & EntryWord.mayHoldData }
    setWord(frame, word, count: CPUList.frames(ofSlot: slot))
  }

  /// Makes a listed frame one of no list; the one that was behind it, plus 1.
  @inline(__always)
  func unlist(_ frame: Int, slot: Int) -> UInt64 {
    // SAFETY: `place` stays inside the table.
    let place = unsafe place(frame, isBlock: slot == 4)
    let word = unsafe EntryWord(bits: place.pointee.load(ordering: .relaxed))
    unsafe place.pointee.store(slot == 4 ? 0 : word.bits & EntryWord.mayHoldData, ordering: .relaxed)
    return word.nextListed
  }

  /// Lets a frame, plus 1, follow another in its list.
  @inline(__always)
  func chain(_ frame: Int, to next: UInt64, slot: Int) {
    // SAFETY: `place` stays inside the table.
    let place = unsafe place(frame, isBlock: slot == 4)
    let bits = unsafe place.pointee.load(ordering: .relaxed) & 0xFFF
    unsafe place.pointee.store(bits | next << 12, ordering: .relaxed)
  }

  /// Sets the first word of an allocation of `count` frames.
  @inline(__always)
  func setWord(_ frame: Int, _ word: EntryWord, count: Int) {
    if count >= 512 { setBlockWord(frame, word) } else { setWord(frame, word) }
  }

  /// Sets the first word of an allocation to `new` unless it is no longer `old`; whether it did. For changes that somebody else's, which
  /// are made under another lock or none, must not be lost to.
  func exchangeWord(_ frame: Int, _ old: EntryWord, _ new: EntryWord) -> Bool {
    let place = unsafe place(frame, isBlock: old.count >= 512)
    return unsafe place.pointee.compareExchange(expected: old.bits, desired: new.bits, ordering: .relaxed).exchanged
  }

  /// Has the host commit the first words of a block's frames, a page of them, by a write that changes nothing: what is read first it maps to its
  /// page of zeros, and again when it is written.
  func commit(block: Int) {
    assert(block >= 0 && block << 9 < limit)
    // SAFETY: inside the table, as asserted.
    _ = unsafe words[block << 9].compareExchange(expected: 0, desired: 0, ordering: .relaxed)
  }

  @inline(__always)
  private func link(_ frame: Int) -> UInt64 {
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    return unsafe links[frame].load(ordering: .relaxed)
  }

  /// References and mapping of an allocation.
  @inline(__always)
  func holderLink(_ frame: Int, _ word: EntryWord) -> UInt64 { word.isLinked ? link(frame) : 0 }

  /// Forgets references and mapping of an allocation that is given back.
  @inline(__always)
  func clearLink(_ frame: Int, _ word: EntryWord) {
    if !word.isLinked { return }
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    unsafe links[frame].store(0, ordering: .relaxed)
  }

  /// Changes the link to `body` of what it was, unless that is nil; the new value, or nil.
  @inline(__always)
  func updateLink(_ frame: Int, _ body: (UInt64) -> UInt64?) -> UInt64? {
    assert(frame >= 0 && frame < limit)
    var old = link(frame)
    while true {
      guard let new = body(old) else { return nil }
      // SAFETY: inside the table, as asserted. Acquiring and releasing: who drops the last reference sees what others did before.
      let (done, now) = unsafe links[frame].compareExchange(
        expected: old, desired: new, ordering: .acquiringAndReleasing)
      if done { return new }
      old = now
    }
  }
}
