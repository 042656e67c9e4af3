internal import MemoryTypes
internal import Translation

/// The text of `/proc/PID/{maps,smaps,smaps_rollup,numa_maps,statm}` (fs/proc/task_mmu.c). O(areas), and O(entries in use) where pages
/// are counted.
extension UserMemory {
  public func maps(_ process: Process) -> String {
    var text = ""
    process.space.areas.forEach { text += mapsLine($0, process) }
    return text
  }

  public func smaps(_ process: Process) -> String {
    var text = ""
    process.space.areas.forEach { area in
      var statistics = AreaStatistics()
      gather(area, of: process.space, into: &statistics, forSmaps: true)
      text += mapsLine(area, process)
      text += field("Size", area.size >> 10)
      text += field("KernelPageSize", pageSize(of: area) >> 10)
      text += field("MMUPageSize", pageSize(of: area) >> 10)
      for (name, value) in statistics.fields(rolledUp: false) { text += field(name, value) }
      text += "THPeligible:    \(process.space.mayHaveHugePages(area, for: .smaps) ? 1 : 0)\n"
      text += "VmFlags: "
      text += (tracksWrites ? area.flags : area.flags.subtracting(.softDirty)).mnemonics + "\n"
    }
    return text
  }

  public func smapsRollup(_ process: Process) -> String {
    var statistics = AreaStatistics()
    process.space.areas.forEach { gather($0, of: process.space, into: &statistics, forSmaps: true) }
    let start = process.space.areas.lowest?.start ?? 0
    let end = process.space.areas.highest?.end ?? 0
    var text = line(start, end, "---p", offset: 0, device: "00:00", number: 0, name: "[rollup]")
    for (name, value) in statistics.fields(rolledUp: true) { text += field(name, value) }
    return text
  }

  public func numaMaps(_ process: Process) -> String {
    var text = ""
    process.space.areas.forEach { area in
      text += padded(String(area.start, radix: 16), 8, with: "0") + " " + shownPolicy(process, of: area)
      if let file = area.file {
        // `seq_file_path` with these bytes to escape.
        text += " file="
        for scalar in file.path.unicodeScalars {
          switch scalar {
          case "\t", "\n", " ", "=": text += "\\" + padded(String(scalar.value, radix: 8), 3, with: "0")
          default: text.unicodeScalars.append(scalar)
          }
        }
      } else if isHeap(area, process) {
        text += " heap"
      } else if isStack(area, process) {
        text += " stack"
      }
      if area.flags.contains(.hugeTLB) { text += " huge" }
      text += numaCounts(area, process) + "\n"
    }
    return text
  }

  private func numaCounts(_ area: Area, _ process: Process) -> String {
    var statistics = AreaStatistics()
    gather(area, of: process.space, into: &statistics)
    if statistics.pages == 0 { return "" }
    var text = ""
    if statistics.anonymousPages > 0 { text += " anon=\(statistics.anonymousPages)" }
    if statistics.dirtyPages > 0 { text += " dirty=\(statistics.dirtyPages)" }
    if statistics.pages != statistics.anonymousPages, statistics.pages != statistics.dirtyPages {
      text += " mapped=\(statistics.pages)"
    }
    if statistics.highestMapCount > 1 { text += " mapmax=\(statistics.highestMapCount)" }
    if statistics.activePages < statistics.pages, !area.flags.contains(.hugeTLB) {
      text += " active=\(statistics.activePages)"
    }
    for (node, count) in statistics.nodes.sorted(by: { $0.key < $1.key }) { text += " N\(node.rawValue)=\(count)" }
    return text + " kernelpagesize_kB=\(pageSize(of: area) >> 10)"
  }

  /// In pages: size, resident, resident of files and shared memory, code, 0, data and stack, 0.
  public func statm(_ process: Process) -> String {
    let counts = process.space.counts
    let shared = counts.fileResident + counts.sharedResident
    return "\(counts.total) \(counts.resident) \(shared) 0 0 \(counts.data + counts.stack) 0\n"
  }

  // MARK: Lines

  private func mapsLine(_ area: Area, _ process: Process) -> String {
    if let file = area.file {
      let device =
        switch file.kind {
        case .regular: "08:01"
        case .sharedMemory: "00:01"
        case .physicalMemory: "00:05"
        case .hugePages: "00:0f"
        }
      return line(
        area.start, area.end, area.flags.rights, offset: area.pageOffset << pageShift, device: device,
        number: file.number,
        name: file.path)
    }
    let name: String? = isHeap(area, process) ? "[heap]" : isStack(area, process) ? "[stack]" : nil
    return line(area.start, area.end, area.flags.rights, offset: 0, device: "00:00", number: 0, name: name)
  }

  private func isHeap(_ area: Area, _ process: Process) -> Bool {
    area.start <= process.space.breakEnd && area.end >= process.breakStart
  }
  private func isStack(_ area: Area, _ process: Process) -> Bool {
    let start = process.space.stackStart
    return area.start <= start && area.end >= start
  }

  /// `show_vma_header_prefix`, and the name in column 73, or 49 where pointers have 4 bytes.
  private func line(
    _ start: UInt64, _ end: UInt64, _ rights: String, offset: UInt64, device: String, number: UInt64, name: String?
  ) -> String {
    func hex(_ value: UInt64) -> String { padded(String(value, radix: 16), 8, with: "0") }
    var text = "\(hex(start))-\(hex(end)) \(rights) \(hex(offset)) \(device) \(number) "
    if let name {
      let column = format.architecture == .i386 ? 49 : 73
      while text.utf8.count < column { text += " " }
      text += name
    }
    return text + "\n"
  }

  private func field(_ name: String, _ kilobytes: UInt64) -> String {
    var text = name + ":"
    while text.utf8.count < 16 { text += " " }
    return text + padded(String(kilobytes), 8, with: " ") + " kB\n"
  }

  private func padded(_ text: String, _ width: Int, with filler: Character) -> String {
    String(repeating: filler, count: max(0, width - text.utf8.count)) + text
  }

  // MARK: pagemap

  /// An entry of `/proc/PID/pagemap` (`pte_to_pagemap_entry`): bits 0 to 54 the frame, 55 soft-dirty, 56 mapped once, 61 a file's or
  /// shared, 63 present.
  public func pagemapEntry(_ process: Process, page address: UInt64) -> UInt64 {
    guard let area = process.space.findArea(address) else { return 0 }
    var bits: UInt64 = tracksWrites && area.flags.contains(.softDirty) ? 1 << 55 : 0
    settle()
    guard let entry = process.space.table.entry(at: address) else { return bits }
    bits |= 1 << 63 | entry.frame.rawValue
    if tracksWrites, area.watchesWrites, entry.isWritten { bits |= 1 << 55 }
    if area.flags.contains(.hugeTLB) {
      let size = format.pageSize(level: entry.level).rawValue
      // SAFETY: a frame of this machine.
      let record = unsafe records[FrameNumber(entry.frame.rawValue - (address & (size - 1)) >> pageShift)].pointee
      if !record.flags.contains(.anonymous) { bits |= 1 << 61 }
      return record.wholeMaps == 1 ? bits | 1 << 56 : bits
    }
    // The huge page of zeros is nobody's private memory; the frame of zeros is no page at all (`vm_normal_page`).
    if !isOrdinary(entry) { return entry.level > 0 && isZero(entry) ? bits | 1 << 61 : bits }
    // SAFETY: a frame of this machine.
    let record = unsafe records[head(of: entry.frame)].pointee
    if !record.flags.contains(.anonymous) { bits |= 1 << 61 }
    // Of a huge page as a whole its first frame tells (`pagemap_pmd_range`).
    if mapCount(of: entry.level > 0 ? head(of: entry.frame) : entry.frame) == 1 { bits |= 1 << 56 }
    return bits
  }
}
