internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Moving a page to another frame without its holders noticing (mm/migrate.c).
extension UserMemory {
  /// The node whose memory a frame is.
  func node(of frame: FrameNumber) -> NodeID {
    let ranges = settings.nodeFrames
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) >> 1
      if ranges[middle].frames.end <= frame { low = middle + 1 } else { high = middle }
    }
    precondition(low < ranges.count && ranges[low].frames.contains(frame), "a page outside of memory")
    return ranges[low].node
  }

  func owner(of frame: FrameNumber) -> FrameOwner {
    physical.allocation(containing: frame)?.owner ?? FrameOwner(.anonymous)
  }

  /// Copies `frame` to `target`, leads every entry and the cache to the copy and gives the old frame back. Answers false, with nothing
  /// changed, where there is no target. Costs a look at every area of every process where more than one entry shows the page.
  func migrate(_ frame: FrameNumber, to target: FrameNumber?) -> Bool {
    guard let target else { return false }
    copyPage(frame, to: target)
    // SAFETY: frames of this machine.
    let record = unsafe records[frame].pointee
    unsafe records[target].pointee = record
    forEachMapping(of: frame, record) { space, address, entry in
      space.table.replace(address, target, entry.flags)
    }
    if !record.flags.contains(.anonymous) { recache(frame, as: target, index: record.index) }
    // SAFETY: a frame of this machine; its holders are the target's now.
    unsafe records[frame].pointee = PageRecord(mapCount: 0, references: 1, index: 0, flags: [])
    putPage(frame, cpu: currentCPU)
    events.migrated += 1
    return true
  }

  /// Every entry that shows a page (`rmap_walk`): where an area's linear space has the page's index, its entry is looked at.
  func forEachMapping(
    of frame: FrameNumber, _ record: PageRecord, _ body: (AddressSpace, UInt64, UserTable.Entry) -> Void
  ) {
    var left = record.mapCount
    for pid in pids {
      guard left > 0, let space = process(pid)?.space else { continue }
      var found: [(UInt64, UserTable.Entry)] = []
      space.areas.forEach { area in
        guard record.index >= area.pageOffset, record.index - area.pageOffset < space.pages(area) else { return }
        let address = area.start + (record.index - area.pageOffset) << pageShift
        if let entry = space.table.entry(at: address), entry.frame == frame { found.append((address, entry)) }
      }
      for (address, entry) in found {
        body(space, address, entry)
        left -= 1
      }
    }
  }

  /// Puts another frame into the cache of the file that holds `frame`.
  private func recache(_ frame: FrameNumber, as target: FrameNumber, index: UInt64) {
    for pid in pids {
      guard let space = process(pid)?.space else { continue }
      var done = false
      space.areas.forEach { area in
        guard !done, let file = area.file, file.page(index) == frame else { return }
        file.setPage(index, target)
        done = true
      }
      if done { return }
    }
  }
}
