internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Making huge pages of base pages (mm/khugepaged.c).
extension AddressSpace {
  /// What became of a range (`enum scan_result`).
  enum CollapseResult {
    case succeeded
    /// It is a huge page already (`SCAN_PMD_MAPPED`).
    case isHuge
    /// Nothing was ever touched there (`SCAN_PMD_NULL`).
    case untouched
    case tooManyNone, tooManyShared
    /// A page in it is no private memory, or somebody works on it.
    case unsuitablePage
    case nothingWritable, nothingUsed
    /// There is no page in it (`SCAN_TRUNCATED`).
    case isEmpty
    /// Its pages are a huge page of their file, and there is no table that shows them one by one (`SCAN_PMD_NONE`).
    case hasNoTable
    /// Entries lead elsewhere (`SCAN_FAIL`).
    case failed
    case noMemory
  }

  /// Makes a huge page of what lies at `start`, where the area has room for one and may have it (`hpage_collapse_scan_pmd`,
  /// `collapse_huge_page`). khugepaged keeps to its limits; madvise(MADV_COLLAPSE) has none.
  func collapse(_ process: Process, _ area: Area, at start: UInt64, byKhugepaged: Bool) -> CollapseResult {
    if let file = area.file { return collapse(process, area, file, at: start, byKhugepaged: byKhugepaged) }
    var load: [NodeID: Int] = [:]
    let scanned = scan(area, start, byKhugepaged, &load)
    guard case .succeeded = scanned else { return scanned }
    let most = load.values.max() ?? 0
    let nodes = NodeMask(load.filter { $0.value == most }.keys)
    let owner = FrameOwner(.anonymous, id: UInt32(process.pid.rawValue))
    guard
      let frames = memory.allocateHuge(
        process, from: nodes.first ?? memory.home(of: process), only: load.isEmpty ? nil : nodes, true, owner,
        wakes: true,
        reclaims: !byKhugepaged || memory.transparent.khugepaged.defrags)
    else {
      memory.hugeEvents.collapseAllocationsFailed += 1
      return .noMemory
    }
    memory.hugeEvents.collapseAllocations += 1
    // Making room may have moved pages, or reclaimed them.
    let again = scan(area, start, byKhugepaged, &load)
    guard case .succeeded = again else {
      memory.giveBack(frames, process.cpu)
      return again
    }
    table.forEach(start, start + hugeSize) { address, entry in
      if memory.isZero(entry) { return }
      memory.copyPage(entry.frame, to: FrameNumber(frames.start.rawValue + (address - start) >> pageShift))
    }
    zap(area, start, start + hugeSize)
    table.depositLeafTable(at: start)
    memory.beginHuge(frames.start, area.links.group, index: area.pageIndex(at: start, shift: pageShift))
    do throws(MemoryError) {
      try table.setHuge(start, frames, entryFlags(area).union(writtenFlags(area)), level: 1, cpu: process.cpu)
    } catch { preconditionFailure("the table that is above one cannot be made: \(error)") }
    hugeEntries += 1
    counts.anonymousResident += memory.hugeFrames
    if area.flags.contains(.locked) { memory.lockPage(frames.start, asPart: false) }
    return .succeeded
  }

  /// Whether a range may become a huge page, and how many of its pages lie on which node.
  private func scan(_ area: Area, _ start: UInt64, _ byKhugepaged: Bool, _ load: inout [NodeID: Int]) -> CollapseResult
  {
    load = [:]
    if hasNoTable(at: start) { return table.entry(at: start) == nil ? .untouched : .isHuge }
    let limits = memory.transparent.khugepaged
    var none: UInt32 = 0
    var shared: UInt32 = 0
    var isWritable = false
    var isUsed = false
    var lastHead: FrameNumber?
    for index in 0..<memory.hugeFrames {
      guard let entry = table.entry(at: start + index << pageShift), entry.frame != memory.zeroFrame else {
        none += 1
        if !byKhugepaged || none <= limits.maximumNone { continue }
        memory.hugeEvents.scansWithTooManyNone += 1
        return .tooManyNone
      }
      if entry.flags.contains(.writable) { isWritable = true }
      if memory.mapCount(of: entry.frame) > 1 {
        shared += 1
        if byKhugepaged, shared > limits.maximumShared {
          memory.hugeEvents.scansWithTooManyShared += 1
          return .tooManyShared
        }
      }
      load[memory.node(of: entry.frame), default: 0] += 1
      // SAFETY: a frame of this machine.
      let head = memory.head(of: entry.frame)
      let record = unsafe memory.records[head].pointee
      if head != lastHead {
        guard record.flags.contains(.anonymous), memory.mappings(of: head) != nil else { return .unsuitablePage }
        lastHead = head
      }
      if entry.flags.contains(.accessed) || record.flags.contains(.referenced) { isUsed = true }
    }
    if !isWritable { return .nothingWritable }
    return byKhugepaged && !isUsed ? .nothingUsed : .succeeded
  }

  /// madvise(MADV_COLLAPSE) on a part of an area (`madvise_collapse`).
  func collapse(_ process: Process, _ area: Area, _ start: UInt64, _ end: UInt64) throws(CallError) {
    guard mayHaveHugePages(area, for: .collapse) else { throw .invalid }
    var failure: CallError?
    var position = (start + hugeMask) & ~hugeMask
    let last = end & ~hugeMask
    // A range within one huge page is none, unless it begins with it.
    if last < position { throw .invalid }
    while position < last {
      switch collapse(process, area, at: position, byKhugepaged: false) {
      case .succeeded, .isHuge: break
      case .noMemory: throw .outOfMemory
      case .isEmpty, .hasNoTable, .failed: throw .invalid
      default: failure = .invalid
      }
      position += hugeSize
    }
    if let failure { throw failure }
  }
}

extension UserMemory {
  /// What a step of khugepaged came to: base pages looked at, and huge pages made.
  public struct CollapseStep: Sendable {
    public var scanned: UInt64 = 0
    public var collapsed: UInt64 = 0
  }

  /// A step of khugepaged over `pages` base pages, from where the last one ended, every process's areas in turn; it ends early where all were
  /// looked at (`khugepaged_do_scan`).
  public func runKhugepaged(pages: UInt64) -> CollapseStep {
    settle()
    var step = CollapseStep()
    var processesLeft = processes.count + 1
    while step.scanned < pages, processesLeft > 0 {
      processesLeft -= 1
      guard let pid = pids.first(where: { $0 >= collapseCursor.pid }), let process = process(pid) else {
        collapseCursor = (ProcessID(0), 0)
        transparent.khugepaged.fullScans &+= 1
        continue
      }
      if pid != collapseCursor.pid { collapseCursor = (pid, 0) }
      currentCPU = process.cpu
      scan(process, pages, &step)
    }
    return step
  }

  /// The same of one process, as far as the step goes.
  private func scan(_ process: Process, _ pages: UInt64, _ step: inout CollapseStep) {
    let space = process.space
    while let area = space.areas.first(endingAbove: collapseCursor.address) {
      let end = area.end & ~(hugePageSize - 1)
      var position = max(collapseCursor.address, (area.start &+ hugePageSize - 1) & ~(hugePageSize - 1))
      let isEligible = space.mayHaveHugePages(area, for: .khugepaged)
      while isEligible, position < end {
        if step.scanned >= pages {
          collapseCursor.address = position
          return
        }
        if case .succeeded = space.collapse(process, area, at: position, byKhugepaged: true) {
          step.collapsed += 1
          transparent.khugepaged.pagesCollapsed &+= 1
        }
        step.scanned += hugeFrames
        position += hugePageSize
      }
      collapseCursor.address = area.end
    }
    collapseCursor = (ProcessID(process.pid.rawValue + 1), 0)
  }
}
