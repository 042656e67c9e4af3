public import MemoryTypes

#if canImport(Glibc)
  internal import Glibc
#endif

/// Where page-table frames come from and go back to.
public protocol TableSource: AnyObject {
  /// A frame for a table of space `owner`, near `cpu`: of zeroes, or `zeroed` false: of anything.
  func allocateTable(owner: UInt32, cpu: CPUID, zeroed: Bool) throws(MemoryError) -> FrameNumber
  /// Frames of anything for tables, as many as are at hand of those that the buffer has room for; how many.
  func takeTables(owner: UInt32, cpu: CPUID, into buffer: UnsafeMutableBufferPointer<FrameNumber>) -> Int
  /// Takes back what `allocateTable` gave, on the CPU that has no more use for it.
  func freeTable(_ frame: FrameNumber, cpu: CPUID)
  /// The 8 bytes at an address that is a multiple of 8; 0 where there is no memory. For entries of frames that are no
  /// tables of ours, which something else that was written over an entry leads to.
  func read(at address: PhysicalAddress) -> UInt64
  /// Where a frame lies.
  func node(of frame: FrameNumber) -> NodeID
}

/// Who may have a say in where tables lie.
public protocol TablePlacement: AnyObject {
  /// Whether it has one in where tables of space `owner` lie that are made now.
  func placesTables(of owner: UInt32) -> Bool
  /// A frame for one where it has. Throws `outOfMemory`.
  func placeTable(of owner: UInt32, zeroed: Bool) throws(MemoryError) -> FrameNumber
}

/// The frames that hold page tables, and for each how many of its entries are in use: one for the whole machine.
///
/// Entries are read and written where they lie in the emulated memory. What the hardware's formats leave no room for
/// stands in one record a frame, beside the memory, committed on first use: bits 0 to 13 count the entries in use, bit
/// 14 marks tables that `PageTables` leaves out, bit 15 all of them, bits 16 to 63 link frames that wait for a flush. Not thread-safe for one table; tables
/// of different spaces may be used by different threads if `source` may.
@safe public final class TableFrames {
  /// Host address of physical address 0.
  @usableFromInline let base: UnsafeMutableRawPointer
  /// The end of physical memory: tables lie below.
  public let size: ByteCount
  public let frameSize: FrameSize
  @usableFromInline let shift: UInt64
  @usableFromInline let frameCount: UInt64
  @usableFromInline let records: UnsafeMutablePointer<UInt64>
  private let source: any TableSource
  private let keeper: AnyObject?
  /// Asked before the source is.
  public weak var placement: (any TablePlacement)?
  /// How many tables there are on each node that Linux does not count (`NR_PAGETABLE`): the kernel's, and of a process those above the two
  /// lowest levels.
  @safe private var uncounted: [Int] = []

  @usableFromInline static var tableMark: UInt64 { 1 << 15 }
  @usableFromInline static var uncountedMark: UInt64 { 1 << 14 }
  @usableFromInline static var liveMask: UInt64 { uncountedMark - 1 }

  /// Over `size` bytes of memory from `base` on, which `keeper` keeps alive.
  ///
  /// Throws `hostRefusedMapping` where the host has no address space for 8 bytes a frame.
  public init(
    base: UnsafeMutableRawPointer, size: ByteCount, frameSize: FrameSize, source: any TableSource,
    keeper: AnyObject? = nil
  ) throws(MemoryError) {
    let frames = size.rawValue >> UInt64(frameSize.shift)
    let bytes = Int(max(frames, 1)) * 8
    // SAFETY: a fresh private mapping; its failure is checked before use.
    let mapping = unsafe mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
      throw .hostRefusedMapping(ByteCount(UInt64(bytes)), errno: errno)
    }
    unsafe self.base = unsafe base
    self.size = size
    self.frameSize = frameSize
    shift = UInt64(frameSize.shift)
    frameCount = frames
    unsafe records = unsafe mapping.bindMemory(to: UInt64.self, capacity: Int(max(frames, 1)))
    self.source = source
    self.keeper = keeper
  }

  deinit {
    // SAFETY: the mapping that init made, of that size; nobody can hold a record without self.
    unsafe munmap(records, Int(max(frameCount, 1)) * 8)
  }

  /// A table of zeroes; `isCounted`: among a node's `PageTables`. Throws what the source throws.
  func allocate(owner: UInt32, cpu: CPUID, isCounted: Bool) throws(MemoryError) -> UInt64 {
    let frame = try allocate(owner: owner, cpu: cpu, zeroed: true)
    if !isCounted {
      // SAFETY: a table of ours.
      unsafe records[Int(frame)] |= Self.uncountedMark
      countUncounted(frame, by: 1)
    }
    // What is read first the host maps to its page of zeros, and again when it is written.
    unsafe entries(frame)[0] = 0
    return frame
  }

  /// The same, or a table of anything, which nothing may lead to before all of it is written.
  func allocate(owner: UInt32, cpu: CPUID, zeroed: Bool) throws(MemoryError) -> UInt64 {
    let frame =
      if let placement, placement.placesTables(of: owner) {
        try placement.placeTable(of: owner, zeroed: zeroed).rawValue
      } else {
        try source.allocateTable(owner: owner, cpu: cpu, zeroed: zeroed).rawValue
      }
    precondition(frame < frameCount, "a page table outside of memory")
    // SAFETY: frame < frameCount, just checked.
    unsafe records[Int(frame)] = Self.tableMark
    return frame
  }

  private func countUncounted(_ frame: UInt64, by change: Int) {
    let node = source.node(of: FrameNumber(frame)).rawValue
    while uncounted.count <= node { uncounted.append(0) }
    uncounted[node] += change
  }

  public func uncountedTables(on node: NodeID) -> Int { node.rawValue < uncounted.count ? uncounted[node.rawValue] : 0 }

  /// Tables of anything, at least one. Throws what the source throws.
  func allocate(
    owner: UInt32, cpu: CPUID, into buffer: UnsafeMutableBufferPointer<FrameNumber>
  ) throws(MemoryError) -> Int {
    let isPlaced = placement?.placesTables(of: owner) ?? false
    let taken = isPlaced ? 0 : unsafe source.takeTables(owner: owner, cpu: cpu, into: buffer)
    if taken == 0 {
      unsafe buffer[0] = FrameNumber(try allocate(owner: owner, cpu: cpu, zeroed: false))
      return 1
    }
    for place in 0..<taken {
      let frame = unsafe buffer[place].rawValue
      precondition(frame < frameCount, "a page table outside of memory")
      // SAFETY: frame < frameCount, just checked.
      unsafe records[Int(frame)] = Self.tableMark
    }
    return taken
  }

  func free(_ frame: UInt64, cpu: CPUID) {
    // SAFETY: `frame` came from `allocate`, so that it is below frameCount.
    if unsafe records[Int(frame)] & Self.uncountedMark != 0 { countUncounted(frame, by: -1) }
    unsafe records[Int(frame)] = 0
    source.freeTable(FrameNumber(frame), cpu: cpu)
  }

  /// The entries of a frame below `frameCount`.
  @inlinable @inline(__always) func entries(_ frame: UInt64) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: frames below frameCount lie in the mapping at `base`, aligned to at least 4096.
    unsafe (base + Int(truncatingIfNeeded: frame &<< shift)).assumingMemoryBound(to: UInt64.self)
  }

  /// What the hardware reads there, whatever `frame` is.
  @inlinable @inline(__always) func load(_ frame: UInt64, _ index: Int) -> UInt64 {
    // SAFETY: a table of ours is memory, and an index is below its entries.
    if isTable(frame) { return unsafe entries(frame)[index] }
    return foreignEntry(frame, index)
  }

  @usableFromInline @inline(never) func foreignEntry(_ frame: UInt64, _ index: Int) -> UInt64 {
    source.read(at: PhysicalAddress(frame &<< shift + UInt64(index) * 8))
  }

  /// Whether `frame`, any number, is a table of ours. One that is not comes from an entry that someone else overwrote.
  @inlinable @inline(__always) func isTable(_ frame: UInt64) -> Bool {
    // SAFETY: read only below frameCount.
    unsafe frame < frameCount && records[Int(truncatingIfNeeded: frame)] & Self.tableMark != 0
  }

  /// The record of a frame that `isTable`.
  @inline(__always) func record(_ frame: UInt64) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: such frames are below frameCount.
    unsafe records + Int(truncatingIfNeeded: frame)
  }

  @inlinable @inline(__always) func live(_ frame: UInt64) -> Int {
    // SAFETY: for frames that `isTable`.
    unsafe Int(truncatingIfNeeded: records[Int(truncatingIfNeeded: frame)] & Self.liveMask)
  }

  /// Adds to the entries in use; returns how many there are now. Entries that were overwritten through `dev/mem` may make
  /// the count wrong, never wrap it.
  @inlinable @inline(__always) @discardableResult func addLive(_ frame: UInt64, _ count: Int) -> Int {
    let now = min(max(0, live(frame) &+ count), Int(Self.liveMask))
    // SAFETY: for frames that `isTable`.
    let record = unsafe records + Int(truncatingIfNeeded: frame)
    unsafe record.pointee =
      unsafe record.pointee & Self.uncountedMark | Self.tableMark | UInt64(truncatingIfNeeded: now)
    return now
  }

  /// Puts a table, which no entry leads to any more, in front of a list of tables that wait for a flush.
  func enlist(_ frame: UInt64, head: inout UInt64) {
    // SAFETY: for frames that `isTable`.
    unsafe records[Int(frame)] = unsafe records[Int(frame)] & Self.uncountedMark | Self.tableMark | (head &+ 1) << 16
    head = frame
  }

  /// Moves the tables of one list to the front of another.
  func splice(_ list: UInt64, onto head: inout UInt64) {
    var frame = list
    while frame != .max {
      // SAFETY: for frames that `isTable`.
      let next = unsafe (records[Int(frame)] >> 16) &- 1
      enlist(frame, head: &head)
      frame = next
    }
  }

  /// Gives back a list that `enlist` made; `head` is .max for none.
  func free(listFrom head: UInt64, cpu: CPUID) {
    var frame = head
    while frame != .max {
      // SAFETY: for frames that `isTable`.
      let next = unsafe (records[Int(frame)] >> 16) &- 1
      free(frame, cpu: cpu)
      frame = next
    }
  }
}
