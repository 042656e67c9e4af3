public import MemoryTypes

/// The page tables of one address space, or of the kernel, bit for bit in emulated frames.
///
/// A kernel's table maps the kernel's half only, a space's own table the users' half only; every space sees the kernel's
/// half: through TTBR1 on AArch64, else through the upper entries of its root, which follow the kernel's (Linux's
/// `pgd_list` and `sync_global_pgds`). Not thread-safe: the machine's history has one step at a time.
///
/// Every change is all or nothing: one that throws has left no trace, tables made on the way included where empty ones are not kept.
@safe public final class PageTable {
  @usableFromInline let reference: FormatReference
  public var format: PageFormat {
    @inlinable @inline(__always) unsafeAddress { unsafe reference.pointer }
  }
  public let frames: TableFrames
  /// Who owns the table frames: the process, or 0 for the kernel.
  public let space: UInt32
  /// The kernel's half; nil in the kernel's own table.
  public let kernel: PageTable?
  /// The frame of the root table.
  public let rootFrame: FrameNumber
  /// Whether pages that are writable and executable are refused: always in the kernel's table.
  public let enforcesWriteXorExecute: Bool
  /// Whether tables without an entry stay until `freeTables`, as a process's do in Linux, and those that were made for a change that failed.
  let keepsTables: Bool
  /// Tables of this space, the root included.
  @safe @exclusivity(unchecked) public internal(set) var tableCount = 1
  /// Tables put aside for larger pages, which no entry leads to yet: see `deposit`. `tableCount` has them.
  var spareTables: [UInt64] = []
  /// The roots that repeat the upper entries of this one, which is the kernel's.
  var followers: Set<UInt64> = []
  /// The CPU that acts: near which a split takes its tables, and to whose list those go back that are left at the end.
  @safe @exclusivity(unchecked) public internal(set) var cpu = CPUID(0)
  /// A root entry of the kernel's table has changed and the followers do not know yet.
  var rootChanged = false
  /// What the MMU knows this space as: see `MMU.attach`.
  var context: Int {
    get { unsafe attachment.pointee }
    set { unsafe attachment.pointee = newValue }
  }
  /// SAFETY: made in init and freed in deinit, as the next: outside the object, reading them is a load and no more.
  @usableFromInline let attachment: UnsafeMutablePointer<Int>
  @usableFromInline let lastLeafTable: UnsafeMutablePointer<LeafTable>
  // What single pages need of the format.
  @usableFromInline let pageShift: UInt64
  @usableFromInline let pageMask: UInt64
  @usableFromInline let tableShift: UInt64
  @usableFromInline let entryMask: UInt64
  @usableFromInline let addressShift: UInt64
  /// Bits of a frame's number that an entry holds.
  @usableFromInline let frameBits: UInt64
  @usableFromInline let presentBit: UInt64

  /// The kernel's own table. Throws `outOfMemory`. Traps where the frames are not of the format's size.
  public init(kernelOf frames: TableFrames, format: PageFormat, cpu: CPUID = CPUID(0)) throws(MemoryError) {
    precondition(frames.frameSize == format.frameSize, "a page format of another frame size")
    let root = try frames.allocate(owner: 0, cpu: cpu, isCounted: false)
    rootFrame = FrameNumber(root)
    reference = FormatReference(format)
    self.frames = frames
    pageShift = format.pageShift
    pageMask = 1 << format.pageShift - 1
    tableShift = format.shifts[1]
    entryMask = format.indexMasks[0]
    addressShift = format.addressShift
    frameBits = format.physicalBits - format.pageShift
    presentBit = format.presentBit
    space = 0
    kernel = nil
    enforcesWriteXorExecute = true
    keepsTables = false
    unsafe attachment = .allocate(capacity: 1)
    unsafe attachment.initialize(to: -1)
    unsafe lastLeafTable = .allocate(capacity: 1)
    unsafe lastLeafTable.initialize(to: LeafTable(nowhere: frames.entries(root)))
  }

  /// An empty address space that shares the kernel's half. `space` is the process: not 0. `keepsTables`: empty ones stay until `freeTables`.
  /// Throws `outOfMemory`.
  public init(
    space: UInt32, kernel: PageTable, enforcesWriteXorExecute: Bool, keepsTables: Bool = false, cpu: CPUID = CPUID(0)
  ) throws(MemoryError) {
    precondition(space != 0 && kernel.kernel == nil, "a space needs a number and the kernel's table")
    reference = kernel.reference
    frames = kernel.frames
    let format = kernel.format
    pageShift = format.pageShift
    pageMask = 1 << format.pageShift - 1
    tableShift = format.shifts[1]
    entryMask = format.indexMasks[0]
    addressShift = format.addressShift
    frameBits = format.physicalBits - format.pageShift
    presentBit = format.presentBit
    self.space = space
    self.kernel = kernel
    self.enforcesWriteXorExecute = enforcesWriteXorExecute
    self.keepsTables = keepsTables
    let root = try frames.allocate(owner: space, cpu: cpu, isCounted: false)
    rootFrame = FrameNumber(root)
    unsafe attachment = .allocate(capacity: 1)
    unsafe attachment.initialize(to: -1)
    unsafe lastLeafTable = .allocate(capacity: 1)
    unsafe lastLeafTable.initialize(to: LeafTable(nowhere: frames.entries(root)))
    if sharesRoot {
      kernel.followers.insert(root)
      kernel.copyRoot(to: root)
    }
  }

  /// From now on this CPU acts.
  public func act(on cpu: CPUID) { self.cpu = cpu }

  /// Gives all table frames back. No CPU may have the table loaded any more; what it mapped is not looked at.
  deinit {
    precondition(followers.isEmpty, "the kernel's table went before a space's")
    kernel?.followers.remove(rootFrame.rawValue)
    freeTables(below: rootFrame.rawValue, level: format.rootLevel)
    for table in spareTables { frames.free(table, cpu: cpu) }
    frames.free(rootFrame.rawValue, cpu: cpu)
    unsafe attachment.deallocate()
    unsafe lastLeafTable.deallocate()
    // Spaces and the MMU hold the kernel's table, and with it the format.
    if kernel == nil { reference.free() }
  }

  @inlinable public var isKernel: Bool { kernel == nil }

  /// Whether both halves hang from one root.
  @inlinable var sharesRoot: Bool {
    if case .twoRoots = format.canonicalForm { return false }
    return true
  }

  /// The root that translates an address: the kernel's where the halves have one each.
  @inlinable func root(of address: VirtualAddress) -> UInt64 {
    if !sharesRoot, let kernel, format.isKernel(address) { return kernel.rootFrame.rawValue }
    return rootFrame.rawValue
  }

  /// The entries of the root that this table owns: the rest belongs to the other half.
  var ownRootEntries: Range<Int> {
    let count = Int(format.indexMasks[format.rootLevel]) + 1
    if !sharesRoot { return 0..<count }
    let first = format.index(format.position(format.layout.kernel.first), level: format.rootLevel)
    return isKernel ? first..<count : 0..<first
  }

  func copyRoot(to follower: UInt64) {
    // SAFETY: both are tables of ours, with that many entries.
    let (from, to) = unsafe (frames.entries(rootFrame.rawValue), frames.entries(follower))
    for i in ownRootEntries { unsafe to[i] = unsafe from[i] }
  }

  /// Hands changes of the kernel's root on to every space: at the end of each operation that made one.
  func syncFollowers() {
    rootChanged = false
    if !sharesRoot { return }
    for follower in followers { copyRoot(to: follower) }
  }

  /// How many tables a space has without the root, and without those next to it of five levels (`mm_pgtables_bytes`; `__p4d_alloc` counts
  /// none).
  ///
  /// - Complexity: O(entries of the root) with five levels, else O(1).
  public var tableCountBelowTop: Int {
    if format.rootLevel < 4 { return tableCount - 1 }
    // SAFETY: the root is a table of ours with that many entries.
    let next = ownRootEntries.count { subtable(unsafe frames.entries(rootFrame.rawValue)[$0], level: 4) != nil }
    return tableCount - 1 - next
  }

  private func freeTables(below table: UInt64, level: Int) {
    if level == 0 { return }
    let own = level == format.rootLevel ? ownRootEntries : 0..<Int(format.indexMasks[level]) + 1
    for i in own {
      // SAFETY: `table` is ours and has that many entries.
      let raw = unsafe frames.entries(table)[i]
      guard let next = subtable(raw, level: level) else { continue }
      freeTables(below: next, level: level - 1)
      frames.free(next, cpu: cpu)
    }
  }

  /// The table that an entry leads to, if it is one of ours.
  @inlinable @inline(__always) func subtable(_ raw: UInt64, level: Int) -> UInt64? {
    if format.kind(raw, level: level) != .table { return nil }
    let frame = format.tableAddress(raw).rawValue &>> format.pageShift
    return frames.isTable(frame) ? frame : nil
  }

  /// Entries of a table of `level`.
  @inlinable func entryCount(level: Int) -> Int { Int(truncatingIfNeeded: format.indexMasks[level]) + 1 }

  /// A range's first position, checked: canonical, aligned, not empty, in this table's half.
  @usableFromInline func check(_ range: PageRange) throws(MemoryError) -> UInt64 {
    let start = range.start.rawValue
    if range.pageCount == 1, start & (1 &<< format.pageShift - 1) == 0,
      start <= format.layout.user.last.rawValue, !isKernel
    {
      return start
    }
    guard format.isCanonical(range.start) else { throw .notCanonical(range.start) }
    guard start & (1 &<< format.pageShift - 1) == 0 else {
      throw .misaligned(range.start, format.pageSize(level: 0))
    }
    let (bytes, tooMany) = range.pageCount.multipliedReportingOverflow(by: 1 &<< format.pageShift)
    guard range.pageCount > 0, !tooMany else { throw .invalidSize(FrameCount(range.pageCount)) }
    let half = isKernel ? format.layout.kernel : format.layout.user
    guard half.contains(range.start) else {
      throw .outsideHalf(range.start, isKernel: isKernel)
    }
    guard bytes - 1 <= half.last.rawValue - start else {
      throw .notCanonical(VirtualAddress(half.last.rawValue &+ 1))
    }
    return format.position(range.start)
  }

  /// Refuses flags that contradict each other, the half, or W^X.
  @usableFromInline func check(_ flags: PageFlags, at address: VirtualAddress) throws(MemoryError) {
    if !flags.contains(.present), !flags.isDisjoint(with: [.writable, .executable]) {
      throw .invalidFlags("writable or executable, but not present")
    }
    if flags.contains(.user) {
      if isKernel { throw .invalidFlags("a users' page in the kernel's half") }
      if flags.contains(.global) { throw .invalidFlags("a users' page cannot be global") }
    }
    if enforcesWriteXorExecute, flags.isSuperset(of: [.writable, .executable]) {
      throw .writableAndExecutable(address)
    }
  }
}
