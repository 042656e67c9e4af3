internal import MemoryTypes
internal import PhysicalMemory

extension UserMemory {
  /// Walks every list and every file's cache, and counts anew what is counted of them; a sentence for each difference.
  public func verify() -> [String] {
    settle()
    var differences: [String] = []
    for node in lists.indices {
      var found = InlineArray<6, PageUse>(repeating: PageUse())
      for list in PageList.allCases where list != .none {
        var next = lists[node].heads[Int(list.rawValue)]
        var newer: UInt64 = 0
        while next != 0 {
          let frame = FrameNumber(next - 1)
          // SAFETY: a frame of this machine: those on lists are.
          let record = unsafe records[frame].pointee
          if record.list != list || record.newer != newer || Int(record.node) != node || record.references == 0 {
            differences.append("page \(frame) is not what list \(list) of node \(node) says")
            break
          }
          found[Int(record.zone)].listed[Int(list.rawValue)] += size(of: record)
          count(record, &found[Int(record.zone)])
          if record.flags.contains(.huge) { count(huge: frame, record, &found[Int(record.zone)], &differences) }
          newer = next
          next = record.older
        }
        if lists[node].tails[Int(list.rawValue)] != newer {
          differences.append("list \(list) of node \(node) has no end")
        }
      }
      for kind in 0..<6 { compare(found[kind], lists[node].uses[kind], "node \(node) zone \(kind)", &differences) }
    }
    for file in regularFiles {
      for index in file.cachedIndices {
        // SAFETY: a file's page is a frame of this machine.
        guard let frame = file.page(index), unsafe records[frame].pointee.owner !== file else { continue }
        differences.append("page \(index) of file \(file.number) is somebody else's")
      }
    }
    return differences
  }

  /// A huge page's parts, and who shows them.
  private func count(
    huge head: FrameNumber, _ record: PageRecord, _ use: inout PageUse, _ differences: inout [String]
  ) {
    let file = unsafe record.owner as? MemoryFile
    if file == nil, record.wholeMaps > 0 { use.huge += Int(hugeFrames) }
    var entries = UInt64(record.wholeMaps)
    var unmapped = 0
    for index in 0..<hugeFrames {
      // SAFETY: a frame of this machine.
      let part = unsafe records[FrameNumber(head.rawValue + index)].pointee
      entries += UInt64(part.mapCount)
      if part.mapCount == 0, record.wholeMaps == 0 { unmapped += 1 }
      if let file, file.page(record.index + index) != FrameNumber(head.rawValue + index) {
        differences.append("frame \(index) of huge page \(head) is not its file's")
      }
    }
    if file != nil {
      use.sharedHuge += Int(hugeFrames)
      use.shared += Int(hugeFrames)
      if record.wholeMaps > 0 { use.sharedWhole += Int(hugeFrames) }
      use.mapped += Int(hugeFrames) - unmapped
      entries += 1
      unmapped = 0
    }
    use.unmapped += unmapped
    if entries != UInt64(record.references) {
      differences.append("huge page \(head) has \(record.references) holders, and \(entries) entries")
    }
    if unmapped != unmappedParts[head] ?? 0 {
      differences.append("huge page \(head) counts \(unmappedParts[head] ?? 0) frames unmapped, and \(unmapped) are")
    }
    let allocation = physical.allocation(containing: head)
    if allocation?.range != FrameRange(start: head, count: FrameCount(hugeFrames)) {
      differences.append("huge page \(head) is no allocation of its size")
    }
  }

  private func count(_ record: PageRecord, _ use: inout PageUse) {
    if !record.flags.isDisjoint(with: [.anonymous, .huge]) { return }
    if record.mapCount > 0 { use.mapped += 1 }
    if !record.flags.contains(.fileCache) { use.shared += 1 } else if record.flags.contains(.dirty) { use.dirty += 1 }
  }

  private func compare(_ found: PageUse, _ counted: PageUse, _ place: String, _ differences: inout [String]) {
    for list in PageList.allCases where found[list] != counted[list] {
      differences.append("\(place): \(list) counts \(counted[list]) pages, and has \(found[list])")
    }
    let all = [
      ("mapped", found.mapped, counted.mapped), ("shared", found.shared, counted.shared),
      ("dirty", found.dirty, counted.dirty), ("huge", found.huge, counted.huge),
      ("unmapped in huge pages", found.unmapped, counted.unmapped),
      ("shared in huge pages", found.sharedHuge, counted.sharedHuge),
      ("shared in huge pages shown as a whole", found.sharedWhole, counted.sharedWhole),
    ]
    for (what, have, count) in all where have != count {
      differences.append("\(place): \(count) pages are counted \(what), and \(have) are")
    }
  }
}
