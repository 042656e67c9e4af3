public import MemoryTypes

/// The table of base pages that a page table used last: single pages are mostly mapped and unmapped near one another, and then need no
/// walk from the root.
///
/// What it knows holds for as long as the table is in use (`PageTable.forgetLeafTable` where it goes) and its parent's entry is what it was.
@safe @usableFromInline struct LeafTable {
  /// An address divided by what a table of base pages covers; .max, which no address is then, for none. Whatever has this number lies in
  /// the page table's own half.
  @usableFromInline var number = UInt64.max
  /// SAFETY: all three lie in memory that outlives the page table: the table's entries, its record, its parent's entry.
  @usableFromInline var entries: UnsafeMutablePointer<UInt64>
  @usableFromInline var record: UnsafeMutablePointer<UInt64>
  @usableFromInline var parent: UnsafeMutablePointer<UInt64>
  @usableFromInline var parentEntry: UInt64 = 0
  /// Flags that pages here may have without further looking: USER where users are let through on the whole way.
  @usableFromInline var allowed: PageFlags = []
  /// The flags that were encoded last, and their bits.
  @usableFromInline var flags: PageFlags = []
  @usableFromInline var bits: UInt64 = 0
  /// The bits besides an address that were decoded last, and their flags; .max, which has bits of an address, for none.
  @usableFromInline var decodedBits = UInt64.max
  @usableFromInline var decodedFlags: PageFlags = []

  init(nowhere place: UnsafeMutablePointer<UInt64>) {
    unsafe entries = unsafe place
    unsafe record = unsafe place
    unsafe parent = unsafe place
  }
}

extension PageTable {
  func forgetLeafTable() { unsafe lastLeafTable.pointee.number = .max }

  /// Whether the last leaf table is that of an address.
  @inlinable @inline(__always) func hasLeafTable(of address: UInt64) -> Bool {
    // SAFETY: see `LeafTable`.
    if unsafe lastLeafTable.pointee.number == address &>> tableShift
      && lastLeafTable.pointee.parent.pointee == lastLeafTable.pointee.parentEntry
    {
      return true
    }
    return findLeafTable(of: VirtualAddress(address))
  }

  /// Walks down to the table of base pages of an address and remembers it; false where there is none, and where the address is not in the
  /// table's own half.
  @usableFromInline @inline(never) func findLeafTable(of address: VirtualAddress) -> Bool {
    let half = isKernel ? format.layout.kernel : format.layout.user
    guard half.contains(address) else { return false }
    let position = format.position(address)
    var table = rootFrame.rawValue
    var level = format.rootLevel
    var parent: UnsafeMutablePointer<UInt64>?
    var admits = !isKernel
    while level > 0 {
      // SAFETY: `table` is ours, the index within it.
      let entry = unsafe frames.entries(table) + format.index(position, level: level)
      guard let next = subtable(unsafe entry.pointee, level: level) else { return false }
      admits = unsafe admits && format.admitsUsers(entry.pointee, level: level)
      unsafe parent = unsafe entry
      table = next
      level -= 1
    }
    guard let parent = unsafe parent else { return false }
    unsafe lastLeafTable.pointee.number = address.rawValue &>> tableShift
    unsafe lastLeafTable.pointee.entries = unsafe frames.entries(table)
    unsafe lastLeafTable.pointee.record = unsafe frames.record(table)
    unsafe lastLeafTable.pointee.parent = unsafe parent
    unsafe lastLeafTable.pointee.parentEntry = unsafe parent.pointee
    unsafe lastLeafTable.pointee.allowed = PageFlags(rawValue: .max).subtracting(admits ? .global : .user)
    return true
  }

  /// Maps a base page where its table is the last one and nothing is to be refused; false leaves it to the general way, with nothing done.
  @inlinable @inline(__always) func mapBase(_ start: VirtualAddress, _ frame: UInt64, _ flags: PageFlags) -> Bool {
    if frame &>> frameBits != 0 || start.rawValue & pageMask != 0 { return false }
    guard let entry = unsafe emptyBaseEntry(start, for: flags) else { return false }
    _ = unsafe fill(entry, frame, flags)
    return true
  }

  /// The entry that the base page around an address would have, where its table is the last one or can be, nothing is mapped there, and nothing is to be refused of
  /// the flags; nil leaves it to the general way. What it points to is good until tables change.
  @inlinable @inline(__always)
  public func emptyBaseEntry(_ address: VirtualAddress, for flags: PageFlags) -> UnsafeMutablePointer<UInt64>? {
    let last = unsafe lastLeafTable
    let raw = address.rawValue
    // pages that are present, not writable and executable at once
    let both = flags.rawValue & flags.rawValue &>> 2
    if flags.rawValue & 1 == 0 || both & 2 != 0 { return nil }
    // SAFETY: see `LeafTable`; the index is within the table.
    if !hasLeafTable(of: raw) { return nil }
    if unsafe !flags.isSubset(of: last.pointee.allowed) { return nil }
    let entry = unsafe last.pointee.entries + Int(truncatingIfNeeded: raw &>> pageShift & entryMask)
    return unsafe entry.pointee == 0 ? entry : nil
  }

  /// Maps a frame by the entry that `emptyBaseEntry` has found a moment ago; what it is now.
  @inlinable @inline(__always)
  public func fill(_ entry: UnsafeMutablePointer<UInt64>, _ frame: UInt64, _ flags: PageFlags) -> UInt64 {
    let leaf = baseLeaf(frame, flags)
    unsafe entry.pointee = leaf
    // the count stays inside its bits, whatever has been written over entries
    let record = unsafe lastLeafTable.pointee.record.pointee
    unsafe lastLeafTable.pointee.record.pointee =
      record &+ (record & TableFrames.liveMask == TableFrames.liveMask ? 0 : 1)
    return leaf
  }

  /// `PageFormat.leaf` of a base page: most are like the last.
  @inlinable @inline(__always) func baseLeaf(_ frame: UInt64, _ flags: PageFlags) -> UInt64 {
    let last = unsafe lastLeafTable
    if unsafe last.pointee.flags != flags {
      unsafe last.pointee.flags = flags
      unsafe last.pointee.bits = format.leaf(PhysicalAddress(0), flags: flags, level: 0)
    }
    return unsafe (frame &<< pageShift) &>> addressShift | last.pointee.bits
  }

  /// `PageFormat.flags` of a base page.
  @inlinable @inline(__always) func baseFlags(_ raw: UInt64) -> PageFlags {
    let last = unsafe lastLeafTable
    let bits = raw & ~format.leafAddressMasks[0]
    if unsafe last.pointee.decodedBits != bits {
      unsafe last.pointee.decodedBits = bits
      unsafe last.pointee.decodedFlags = format.flags(bits)
    }
    return unsafe last.pointee.decodedFlags
  }

  /// The entry of a base page as it is, 0 for none; nil where there is no table of base pages for the address.
  @inlinable @inline(__always) public func baseEntry(at address: VirtualAddress) -> UInt64? {
    if !hasLeafTable(of: address.rawValue) { return nil }
    // SAFETY: see `LeafTable`; the index is within the table.
    return unsafe lastLeafTable.pointee.entries[Int(truncatingIfNeeded: address.rawValue &>> pageShift & entryMask)]
  }

  /// What an entry of a base page leads to, and its flags.
  @inlinable @inline(__always) public func decodeBase(_ raw: UInt64) -> (physical: PhysicalAddress, flags: PageFlags) {
    (format.leafAddress(raw, level: 0), baseFlags(raw))
  }

  /// Counts entries that were made in the last leaf table.
  @inlinable @inline(__always) func countInLeafTable(_ made: Int) {
    // SAFETY: see `LeafTable`. The count stays inside its bits, whatever has been written over entries.
    let record = unsafe lastLeafTable.pointee.record.pointee
    let live = min(record & TableFrames.liveMask &+ UInt64(truncatingIfNeeded: made), TableFrames.liveMask)
    unsafe lastLeafTable.pointee.record.pointee = record & ~TableFrames.liveMask | live
  }

  /// The entry of a base page whose table is the last one, where it is to have flags that need no further look, and has an entry; nil leaves
  /// it to the general way.
  @inlinable @inline(__always)
  func baseEntry(_ page: VirtualAddress, inserting flags: PageFlags) -> UnsafeMutablePointer<UInt64>? {
    let raw = page.rawValue
    let last = unsafe lastLeafTable
    // SAFETY: see `LeafTable`; the index is within the table.
    guard raw & pageMask == 0, hasLeafTable(of: raw), unsafe flags.isSubset(of: last.pointee.allowed) else {
      return nil
    }
    let entry = unsafe last.pointee.entries + Int(truncatingIfNeeded: raw &>> pageShift & entryMask)
    return unsafe entry.pointee == 0 ? nil : entry
  }

  /// `replace`, where `baseEntry` has found the entry and nothing is to be refused; what it was, 0 leaves it to the general way.
  @inlinable @inline(__always)
  func replaceBase(_ page: VirtualAddress, _ frame: UInt64, _ flags: PageFlags) -> UInt64 {
    let both = flags.rawValue & flags.rawValue &>> 2
    if flags.rawValue & 1 == 0 || both & 2 != 0 || frame &>> frameBits != 0 { return 0 }
    guard let entry = unsafe baseEntry(page, inserting: flags) else { return 0 }
    let old = unsafe entry.pointee
    unsafe entry.pointee = baseLeaf(frame, flags)
    return old
  }

  /// `change` of one base page, where `baseEntry` has found the entry and nothing is to be refused; what it was and is. (0, 0) leaves it to
  /// the general way.
  @inlinable @inline(__always)
  func changeBase(_ page: VirtualAddress, removing: PageFlags, inserting: PageFlags) -> (old: UInt64, new: UInt64) {
    guard let entry = unsafe baseEntry(page, inserting: inserting) else { return (0, 0) }
    let old = unsafe entry.pointee
    let flags = baseFlags(old).subtracting(removing).union(inserting)
    if enforcesWriteXorExecute, flags.isSuperset(of: [.writable, .executable]) { return (0, 0) }
    let new = old & format.leafAddressMasks[0] | baseLeaf(0, flags)
    unsafe entry.pointee = new
    return (old, new)
  }

  /// Takes a base page out where its table is the last one and keeps other entries; 0 leaves it to the general way, else its entry.
  @inlinable @inline(__always) func unmapBase(_ start: VirtualAddress) -> UInt64 {
    let raw = start.rawValue
    // SAFETY: see `LeafTable`; the index is within the table.
    if raw & pageMask != 0 || !hasLeafTable(of: raw) { return 0 }
    let last = unsafe lastLeafTable
    let entry = unsafe last.pointee.entries + Int(truncatingIfNeeded: raw &>> pageShift & entryMask)
    let old = unsafe entry.pointee
    let record = unsafe last.pointee.record.pointee
    if record & TableFrames.liveMask <= 1 { return 0 }
    if old != 0 {
      unsafe entry.pointee = 0
      unsafe last.pointee.record.pointee = record &- 1
    }
    return old
  }
}
