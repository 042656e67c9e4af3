internal import MemoryTypes
internal import Translation

extension UserMemory {
  /// On an entry that a process has not written through since `clear_refs` said so, or that a read made since: what bit 55 of pagemap tells.
  /// Linux has a bit of the opposite sense in the entry (`_PAGE_SOFT_DIRTY`).
  static var unwrittenMark: PageFlags { .software1 }
  /// Linux has that bit on x86-64 alone (HAVE_ARCH_SOFT_DIRTY).
  var tracksWrites: Bool { format.architecture == .x86_64 }

  /// Takes everything for unwritten, so that what a process writes to from now on shows in pagemap and `VmFlags`
  /// (`clear_refs_write`, CLEAR_REFS_SOFT_DIRTY). O(areas, entries in use).
  public func clearWritten(by process: Process) {
    if !tracksWrites { return }
    currentCPU = process.cpu
    let space = process.space
    space.forEachArea { area in
      area.flags.remove(.softDirty)
      if !area.flags.isDisjoint(with: [.frameMap, .hugeTLB]) { return }
      space.table.change(area.start, area.end, removing: .writable, inserting: Self.unwrittenMark)
    }
  }

  /// Whose pages `clear_refs` makes look unused.
  public enum ClearedAreas: Int, Sendable { case all = 1, anonymous = 2, files = 3 }

  /// Makes a process's pages look as if nobody had used them, so that what it uses from now on shows in `Referenced`
  /// (`clear_refs_pte_range`). CPUs forget what they hold of them: they would not mark a page again. O(entries in use).
  public func clearReferences(of process: Process, in areas: ClearedAreas) {
    currentCPU = process.cpu
    let space = process.space
    space.forEachArea { area in
      if area.flags.contains(.frameMap) { return }
      switch areas {
      case .all: break
      case .anonymous: if !area.isAnonymous { return }
      case .files: if area.isAnonymous { return }
      }
      space.table.change(area.start, area.end, removing: .accessed, inserting: []) { _, entry in
        // SAFETY: a frame of this machine.
        if isOrdinary(entry) { unsafe records[head(of: entry.frame)].pointee.flags.remove(.referenced) }
      }
    }
  }
}

extension Area {
  /// Writes show in its entries, so that these become writable by faults (`vma_soft_dirty_enabled`).
  var watchesWrites: Bool { flags.isDisjoint(with: [.softDirty, .hugeTLB]) }
  /// What a read's entry is marked with.
  var readMark: PageFlags { watchesWrites ? UserMemory.unwrittenMark : [] }
}

extension UserTable.Entry {
  /// Of an area that watches writes; frames that `map` shows are nobody's to watch.
  var isWritten: Bool { !showsFrames && !flags.contains(UserMemory.unwrittenMark) }
  /// A page that is dirty counts as written to when it has moved (`remove_migration_pte`).
  var flagsWhenMigrated: PageFlags { flags.contains(.dirty) ? flags.subtracting(UserMemory.unwrittenMark) : flags }
}
