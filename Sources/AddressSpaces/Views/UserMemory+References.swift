internal import MemoryTypes
internal import Translation

extension UserMemory {
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
