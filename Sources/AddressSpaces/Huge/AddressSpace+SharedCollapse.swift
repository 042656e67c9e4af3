internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Making huge pages of the base pages of shared memory (mm/khugepaged.c: `hpage_collapse_scan_file`, `collapse_file`).
extension AddressSpace {
  /// Makes a huge page of the file's pages that belong at `start`, and shows it there as a whole where somebody asked for it by madvise; where it
  /// is one already, it is shown as a whole.
  func collapse(_ process: Process, _ area: Area, _ file: MemoryFile, at start: UInt64, byKhugepaged: Bool)
    -> CollapseResult
  {
    let first = area.pageIndex(at: start, shift: pageShift)
    var load: [NodeID: Int] = [:]
    switch scan(file, first, byKhugepaged, &load) {
    case .isHuge: return showCollapsed(process, area, file, at: start, installs: !byKhugepaged)
    case .succeeded: break
    case let refusal: return refusal
    }
    let most = load.values.max() ?? 0
    let nodes = NodeMask(load.filter { $0.value == most }.keys)
    let owner = FrameOwner(.pageCache, id: UInt32(truncatingIfNeeded: file.number))
    guard
      let frames = memory.allocateHuge(
        process, from: nodes.first ?? NodeID(0), only: load.isEmpty ? nil : nodes, true, owner, wakes: true,
        reclaims: !byKhugepaged || memory.transparent.khugepaged.defrags)
    else {
      memory.hugeEvents.collapseAllocationsFailed += 1
      return .noMemory
    }
    memory.hugeEvents.collapseAllocations += 1
    // Making room may have moved pages.
    let again = scan(file, first, byKhugepaged, &load)
    guard case .succeeded = again, !load.isEmpty else {
      memory.giveBack(frames, process.cpu)
      if case .succeeded = again { return .isEmpty }
      return again
    }
    for index in first..<first + memory.hugeFrames {
      guard let frame = file.page(index) else { continue }
      for mapping in memory.areasShowing(frame) { memory.unmap(mapping) }
      memory.copyPage(frame, to: FrameNumber(frames.start.rawValue + index - first))
      memory.removeFromCache(file, index)
    }
    memory.enterHuge(file, first, frames.start, isDirty: true)
    return retractTables(process, area, file, first, at: start, byKhugepaged: byKhugepaged)
  }

  /// Whether a file's pages may become a huge page, and how many of them lie on which node; `isHuge` where they are one.
  private func scan(_ file: MemoryFile, _ first: UInt64, _ byKhugepaged: Bool, _ load: inout [NodeID: Int])
    -> CollapseResult
  {
    load = [:]
    var present: UInt64 = 0
    for index in first..<first + memory.hugeFrames {
      guard let frame = file.page(index) else { continue }
      if memory.hugeHead(of: frame) != nil { return .isHuge }
      guard memory.mappings(of: frame) != nil else { return .unsuitablePage }
      load[memory.node(of: frame), default: 0] += 1
      present += 1
    }
    if byKhugepaged, present + UInt64(memory.transparent.khugepaged.maximumNone) < memory.hugeFrames {
      memory.hugeEvents.scansWithTooManyNone += 1
      return .tooManyNone
    }
    return .succeeded
  }

  /// Takes away the tables that showed the pages one by one, so that faults show the huge page as a whole (`retract_page_tables`): madvise does so
  /// for its own range, and shows it, khugepaged for everybody.
  private func retractTables(
    _ process: Process, _ area: Area, _ file: MemoryFile, _ first: UInt64, at start: UInt64, byKhugepaged: Bool
  ) -> CollapseResult {
    var result = CollapseResult.hasNoTable
    for other in file.areas {
      let space = other.space!
      guard first >= other.pageOffset, first - other.pageOffset < space.pages(other) else { continue }
      let address = other.start + (first - other.pageOffset) << pageShift
      let isTarget = space === self && address == start
      guard isTarget || byKhugepaged, space.hasRoom(other, forHugePageAt: address),
        space.table.hasEmptyTable(at: address)
      else { continue }
      space.table.freeLeafTable(at: address)
      if !isTarget { continue }
      if byKhugepaged {
        result = .succeeded
      } else {
        result = show(process, area, at: start, file.page(first))
      }
    }
    return result
  }

  private func show(_ process: Process, _ area: Area, at start: UInt64, _ frame: FrameNumber?) -> CollapseResult {
    guard let frame, case .minor? = showWhole(process, area, start, frame, write: false) else { return .failed }
    return .succeeded
  }

  /// A huge page that entries may show one by one gets one entry, or none for a fault to make (`collapse_pte_mapped_thp`). What the entries know of
  /// writes is lost, as in Linux.
  private func showCollapsed(_ process: Process, _ area: Area, _ file: MemoryFile, at start: UInt64, installs: Bool)
    -> CollapseResult
  {
    if let entry = table.entry(at: start), entry.level > 0 { return .isHuge }
    let frame = file.page(area.pageIndex(at: start, shift: pageShift))
    if hasNoTable(at: start) { return installs ? show(process, area, at: start, frame) : .hasNoTable }
    guard let frame, let head = memory.hugeHead(of: frame) else { return .failed }
    var isWhole = true
    table.forEach(start, start + hugeSize) { address, entry in
      if entry.frame.rawValue != head.rawValue + (address - start) >> pageShift { isWhole = false }
    }
    if !isWhole { return .failed }
    takeOut(area, start, start + hugeSize, notesUse: false, notesWrites: false)
    table.freeLeafTable(at: start)
    return installs ? show(process, area, at: start, frame) : .succeeded
  }
}
