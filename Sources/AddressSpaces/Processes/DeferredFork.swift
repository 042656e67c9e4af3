internal import MemoryTypes
internal import Translation

/// What a fork has put off: whole tables of base pages that the child is to share with its parent, each made when either of the two first
/// reaches into it, all of them when anybody looks at more than that.
///
/// Nobody can tell that they are not there yet. Frames for the tables, sizes and counts are those of a fork that puts nothing off; the parent's
/// entries, which still allow writes, are out of the CPUs' reach, as they have forgotten them and every access asks here first; how many
/// entries show a page is only ever asked of one that the asker's own entries show (which made its table), or after `UserMemory.settle`.
final class DeferredFork {
  unowned let parent: AddressSpace
  unowned let child: AddressSpace
  /// Ascending; those that are made have no frame.
  @safe @exclusivity(unchecked) private var tables: [DeferredTable] = []
  private var left = 0
  /// The child counts its pages already.
  var isCounted = false

  init(parent: AddressSpace, child: AddressSpace) {
    self.parent = parent
    self.child = child
  }

  var isEmpty: Bool { left == 0 }

  /// Adds tables behind those that there are.
  func add(_ more: [DeferredTable]) {
    tables += more
    left += more.count
  }

  /// Takes out the table for an address, where there is one.
  func take(at address: UInt64) -> DeferredTable? {
    let shift = parent.settledTable.pages.leafTableShift
    var (low, high) = (0, tables.count)
    while low < high {
      let middle = (low + high) / 2
      if tables[middle].start.rawValue >> shift < address >> shift { low = middle + 1 } else { high = middle }
    }
    guard low < tables.count, tables[low].start.rawValue >> shift == address >> shift else { return nil }
    guard let table = tables[low].take() else { return nil }
    left -= 1
    return table
  }

  /// Takes out all that are left, ascending.
  func takeAll() -> [DeferredTable] {
    defer { (tables, left) = ([], 0) }
    return tables.indices.compactMap { tables[$0].take() }
  }
}

extension AddressSpace {
  /// The table of a space that has put nothing off: what is left of its fork is made first.
  @inline(__always) var table: UserTable {
    if deferredFork != nil { memory.settle(self) }
    return settledTable
  }

  /// Whether an address may be in a table that was put off; mostly it is in the one that was accessed before.
  @inline(__always) func isDeferred(at address: UInt64) -> Bool {
    deferredFork != nil && address &>> settledTable.pages.leafTableShift != lastSettled
  }
}

extension UserMemory {
  /// Makes what forks have put off, for those who look at pages in other ways than by a process's accesses.
  @inline(__always) public func settle() { if !deferringSpaces.isEmpty { settleAll() } }

  @inline(never) private func settleAll() {
    for space in deferringSpaces { settle(space) }
    deferringSpaces = []
  }

  /// Makes what the fork that a space is parent or child of has put off.
  @inline(never) func settle(_ space: AddressSpace) {
    guard let fork = space.deferredFork else { return }
    finish(fork)
    for table in fork.takeAll() { make(table, of: fork) }
  }

  /// Makes the table for an address, where it was put off.
  @inline(never) func settle(_ space: AddressSpace, at tagged: UInt64) {
    space.lastSettled = tagged &>> space.settledTable.pages.leafTableShift
    let address = format.untagged(VirtualAddress(tagged)).rawValue
    guard let fork = space.deferredFork, let table = fork.take(at: address) else { return }
    if fork.isEmpty { finish(fork) }
    make(table, of: fork)
  }

  private func finish(_ fork: DeferredFork) {
    fork.parent.deferredFork = nil
    fork.child.deferredFork = nil
    deferringSpaces.removeAll { $0 === fork.child }
  }

  private func make(_ table: DeferredTable, of fork: DeferredFork) {
    var anonymous: UInt64 = 0
    fork.parent.settledTable.pages.copyDeferred(
      table, to: fork.child.settledTable.pages, removing: .writable, forgetting: .accessed
    ) { frame, _ in if share(frame) == .anonymous { anonymous &+= 1 } }
    if !fork.isCounted { fork.child.counts.anonymousResident += anonymous }
  }

  /// What an entry of a base page shows.
  enum SharedPage { case zeros, anonymous, ofFile }

  /// Another process's entry shows a page as well (`copy_present_pte`).
  @inline(__always) func share(_ frame: FrameNumber) -> SharedPage {
    if frame == zeroFrame { return .zeros }
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    if unsafe record.pointee.references == 0 { pin(frame) } else { unsafe record.pointee.references &+= 1 }
    countEntry(of: frame, by: 1)
    if unsafe !record.pointee.flags.contains(.anonymous) { return .ofFile }
    unsafe record.pointee.flags.remove(.exclusive)
    return .anonymous
  }
}
