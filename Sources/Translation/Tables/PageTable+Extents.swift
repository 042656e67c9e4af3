public import MemoryTypes

/// Pages of one size that follow one another both in the space and in memory, with the same flags.
@frozen public struct MappedExtent: Hashable, Sendable {
  public var start: VirtualAddress
  public var physical: PhysicalAddress
  /// Of the level's size.
  public var pageCount: UInt64
  public var level: Int
  /// What the tables on the way leave of them; without `present` where frames are held.
  public var flags: PageFlags
}

extension PageTable {
  /// Shows what is mapped or held at the addresses from `first` to `last`, ascending, in as few pieces as say it: in a space the
  /// kernel's half as well, which belongs to it. Addresses that are not canonical have nothing.
  ///
  /// - Complexity: O(entries in use).
  public func forEachExtent(
    from first: VirtualAddress = VirtualAddress(0), through last: VirtualAddress = VirtualAddress(.max),
    _ body: (MappedExtent) -> Void
  ) {
    let tables = isKernel ? [self] : [self, kernel!]
    for table in tables {
      let half = table.isKernel ? format.layout.kernel : format.layout.user
      let start = max(first.rawValue, half.first.rawValue) & (.max &<< format.pageShift)
      let end = min(last.rawValue, half.last.rawValue)
      guard start <= end else { continue }
      var extent: MappedExtent?
      let range = PageRange(VirtualAddress(start), pageCount: (end - start) &>> format.pageShift + 1)
      do throws(MemoryError) {
        try table.forEachMapping(in: range) { mapping, effective in
          let size = format.pageSize(level: mapping.level).rawValue
          if let open = extent, open.level == mapping.level, open.flags == effective,
            open.start.rawValue &+ open.pageCount &* size == mapping.address.rawValue,
            open.physical.rawValue &+ open.pageCount &* size == mapping.physical.rawValue
          {
            extent?.pageCount += 1
            return true
          }
          if let extent { body(extent) }
          extent = MappedExtent(
            start: mapping.address, physical: mapping.physical, pageCount: 1, level: mapping.level, flags: effective)
          return true
        }
      } catch { preconditionFailure("a range inside a half: \(error)") }
      if let extent { body(extent) }
    }
  }
}
