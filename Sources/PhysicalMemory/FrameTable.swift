internal import MemoryTypes
internal import Synchronization

/// What is known of a frame: 16 bytes, written for the first frame of an allocation only, zero for what was never handed out.
///
/// Both words are atomics because a frame that is given back is looked up before it is known which lock guards it. `state` changes
/// only under a lock: that of the CPU list named in it (`listed`, `allocatedFromList`), else its zone's.
struct FrameEntry: ~Copyable {
  /// `EntryWord`.
  let word: Atomic<UInt64>
  /// References less 1 (20 bits) and mapping (44 bits); the next frame of the list, plus 1, while the frame lies in a CPU's list.
  let link: Atomic<UInt64>
}

/// The first word of a frame's entry.
struct EntryWord: Equatable {
  var bits: UInt64

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

  // bits 0-1 state, 2-3 mobility, 4-7 owner kind, 8 may hold data, 9 linked, 12-31 count - 1 or list place, 32-63 owner id,
  // or, of a listed block, the next one's number plus 1

  static let mayHoldData: UInt64 = 1 << 8
  /// Of a large allocation: its link in the frame table was written. Without it the link need not be looked at.
  static let linked: UInt64 = 1 << 9

  @inline(__always) init(bits: UInt64) { self.bits = bits }

  @inline(__always)
  init(zoneAllocation count: Int, mobility: Mobility, owner: FrameOwner) {
    bits =
      State.allocatedFromZone.rawValue | UInt64(mobility.rawValue) << 2 | UInt64(owner.kind.rawValue) << 4
      | UInt64(count - 1) << 12 | UInt64(owner.id) << 32
  }

  @inline(__always)
  init(listState: State, cpu: Int, slot: Int, mobility: UInt64, owner: FrameOwner) {
    bits =
      listState.rawValue | mobility << 2 | UInt64(owner.kind.rawValue) << 4
      | UInt64(cpu << 3 | slot) << 12 | UInt64(owner.id) << 32
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
  @inline(__always) var mobilityIndex: Int { Int(bits >> 2 & 3) }
  @inline(__always) var mobility: Mobility { Mobility(rawValue: UInt8(bits >> 2 & 3)) ?? .unmovable }
  @inline(__always) var kindIndex: Int { Int(bits >> 4 & 15) }
  @inline(__always) var owner: FrameOwner {
    FrameOwner(FrameOwner.Kind(rawValue: UInt8(bits >> 4 & 15)) ?? .kernel, id: UInt32(bits >> 32))
  }
  /// The first frame, plus 1, of the block behind this one in its list; 0 at the end.
  @inline(__always) var nextListed: UInt64 {
    let next = bits >> 32
    return next == 0 ? 0 : (next - 1) << 9 + 1
  }

  /// A listed block. `next` as in `nextListed`.
  @inline(__always)
  init(listedBlock cpu: Int, mobility: UInt64, next: UInt64) {
    let number = next == 0 ? 0 : (next - 1) >> 9 + 1
    bits = State.listed.rawValue | mobility << 2 | UInt64(cpu << 3 | 4) << 12 | number << 32
  }

  func owned(by owner: FrameOwner) -> EntryWord {
    EntryWord(bits: bits & ~(0xF << 4 | 0xFFFF_FFFF << 32) | UInt64(owner.kind.rawValue) << 4 | UInt64(owner.id) << 32)
  }
  @inline(__always) var slot: Int { Int(bits >> 12 & 7) }
  @inline(__always) var cpu: Int { Int(bits >> 15 & 0x1FFF) }
  /// Frames of the allocation that begins here.
  @inline(__always) var count: Int {
    bits & 3 == State.allocatedFromZone.rawValue ? Int(bits >> 12 & 0xF_FFFF) + 1 : 1 << CPUList.order(ofSlot: slot)
  }
}

/// The second word of an allocated frame's entry: references less 1 in bits 0 to 19, mapping in bits 20 to 63. Zero is what an
/// allocation begins with: one reference, no mapping.
enum FrameLink {
  static let maximumReferences: UInt64 = 1 << 20
  @inline(__always) static func references(_ link: UInt64) -> UInt64 { link & (maximumReferences - 1) + 1 }
  @inline(__always) static func mapping(_ link: UInt64) -> UInt64 { link >> 20 }
}

/// The entries of all frames, holes included: addressed by frame number, committed page by page as frames are handed out.
///
/// Allocations of whole blocks (512 frames and more) keep their first word apart, in 8 bytes a block, so that a thousand of them touch a
/// few pages rather than one each. Of a block's first frame at most one of the two words has a state.
@safe struct FrameTable: @unchecked Sendable {
  private let entries: UnsafeMutablePointer<FrameEntry>
  private let blockWords: UnsafeMutablePointer<Atomic<UInt64>>
  /// The first frame number that no table entry has.
  let limit: Int

  static let entrySize = 16

  /// Bytes of block words.
  static func blockWordsSize(limit: Int) -> Int { (limit >> 9 + 1) * 8 }

  init(_ base: UnsafeMutableRawPointer, blockWords: UnsafeMutableRawPointer, limit: Int) {
    precondition(MemoryLayout<FrameEntry>.size == Self.entrySize && MemoryLayout<FrameEntry>.stride == Self.entrySize)
    // SAFETY: the memory is zeroed, of `limit` entries, and used as this type alone; zero is a valid Atomic.
    unsafe entries = base.bindMemory(to: FrameEntry.self, capacity: limit)
    // SAFETY: likewise, a word for every block that begins in the table, and one more.
    unsafe self.blockWords = blockWords.bindMemory(to: Atomic<UInt64>.self, capacity: limit >> 9 + 1)
    self.limit = limit
  }

  // Relaxed throughout: what orders accesses to a frame's state is the lock that guards it. Reads without that lock are hints
  // that are read again under it, or of frames that the caller holds.

  @inline(__always)
  func word(_ frame: Int) -> EntryWord {
    assert(frame >= 0 && frame < limit)
    if frame & 511 == 0 {
      let word = blockWord(frame)
      if word.bits & 3 != 0 { return word }
    }
    // SAFETY: inside the table, as asserted.
    return unsafe EntryWord(bits: entries[frame].word.load(ordering: .relaxed))
  }

  /// Sets the first word of a frame that begins less than a block.
  @inline(__always)
  func setWord(_ frame: Int, _ word: EntryWord) {
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    unsafe entries[frame].word.store(word.bits, ordering: .relaxed)
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
    let bytes = frames.lowerBound * Self.entrySize..<frames.upperBound * Self.entrySize
    if bytes.lowerBound % HostMapping.page == 0, bytes.upperBound % HostMapping.page == 0 {
      mapping.discard(offset: bytes.lowerBound, size: bytes.count)
    } else {
      for frame in frames { setWord(frame, EntryWord(bits: 0)) }
    }
    for block in stride(from: frames.lowerBound, to: frames.upperBound, by: 512) {
      setBlockWord(block, EntryWord(bits: 0))
    }
  }

  /// Sets the first word of an allocation of `count` frames.
  @inline(__always)
  func setWord(_ frame: Int, _ word: EntryWord, count: Int) {
    if count >= 512 { setBlockWord(frame, word) } else { setWord(frame, word) }
  }

  @inline(__always)
  func link(_ frame: Int) -> UInt64 {
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    return unsafe entries[frame].link.load(ordering: .relaxed)
  }

  @inline(__always)
  func setLink(_ frame: Int, _ link: UInt64) {
    assert(frame >= 0 && frame < limit)
    // SAFETY: inside the table, as asserted.
    unsafe entries[frame].link.store(link, ordering: .relaxed)
  }

  /// References and mapping of an allocation.
  @inline(__always)
  func holderLink(_ frame: Int, _ word: EntryWord) -> UInt64 {
    word.count >= 512 && word.bits & EntryWord.linked == 0 ? 0 : link(frame)
  }

  /// Changes the link to `body` of what it was, unless that is nil; both values, or nil.
  @inline(__always)
  func updateLink(_ frame: Int, _ body: (UInt64) -> UInt64?) -> UInt64? {
    assert(frame >= 0 && frame < limit)
    var old = link(frame)
    while true {
      guard let new = body(old) else { return nil }
      // SAFETY: inside the table, as asserted. Acquiring and releasing: who drops the last reference sees what others did before.
      let (done, now) = unsafe entries[frame].link.compareExchange(
        expected: old, desired: new, ordering: .acquiringAndReleasing)
      if done { return new }
      old = now
    }
  }
}
