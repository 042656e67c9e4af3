internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// What becomes of a process that needs a page when there is none, and reclaim has found nothing (mm/oom_kill.c).
extension UserMemory {
  enum Relief {
    /// Something may be had now.
    case retry
    /// The process itself is to end: it is marked so, and ends when its call is over.
    case killed
  }

  /// Makes room for a process whose request was refused, where nothing holds on to its pages or tables: at first by what could not be
  /// reclaimed in the middle of a change, then by the end of a process (`out_of_memory`).
  func relieve(_ process: Process, retried: inout Bool) -> Relief {
    if process.isKilled { return .killed }
    if !retried, let probe = try? physical.allocate(FrameRequest(cpu: process.cpu)) {
      retried = true
      free(probe.start, cpu: process.cpu)
      return .retry
    }
    let limit = constraint()
    guard let victim = victim(for: process, limit) else {
      // Linux panics: the system is deadlocked on memory. Here the process that cannot go on ends.
      killMessages.append("Out of memory and no killable processes...")
      return kill(process, process)
    }
    let how = killsAllocatingTask && victim === process ? " (oom_kill_allocating_task)" : ""
    killMessages.append("Out of memory\(how): " + killed(victim))
    return kill(victim, process)
  }

  private func kill(_ victim: Process, _ current: Process) -> Relief {
    events.outOfMemoryKills += 1
    if victim === current {
      current.isKilled = true
      return .killed
    }
    exit(victim)
    currentCPU = current.cpu
    return .retry
  }

  /// Ends a process that was killed while it was in a call; whether it was.
  public func reap(_ process: Process) -> Bool {
    guard process.isKilled else { return false }
    if self.process(process.pid) === process { exit(process) }
    return true
  }

  /// What the kernel has said of kills since it was last asked.
  public func takeKillMessages() -> [String] {
    defer { killMessages = [] }
    return killMessages
  }

  // MARK: Who

  /// The nodes that a policy had confined the refused request to, if not all (`constrained_alloc`), and how many pages there are to share.
  private func constraint() -> (nodes: NodeMask?, pages: UInt64) {
    guard let nodes = refusedNodes, nodesWithMemory.intersection(nodes) != nodesWithMemory else {
      return (nil, totalPages)
    }
    let present = physical.nodes.reduce(UInt64(0)) { sum, node in
      nodes.contains(node) ? sum + (physical.snapshot(of: node)?.present.rawValue ?? 0) : sum
    }
    return (nodes, present)
  }

  private func victim(for current: Process, _ limit: (nodes: NodeMask?, pages: UInt64)) -> Process? {
    if killsAllocatingTask, isEligible(current, limit.nodes), current.oomScoreAdjustment != -1000 { return current }
    var worst: (process: Process, badness: Int64)?
    for pid in pids {
      guard let process = process(pid), isEligible(process, limit.nodes), !process.isKilled,
        let badness = oomBadness(process, of: limit.pages)
      else { continue }
      // Of several the last (`oom_evaluate_task`).
      if worst.map({ badness >= $0.badness }) ?? true { worst = (process, badness) }
    }
    return worst?.process
  }

  /// Whether a process's end may free pages of the nodes: it does not where it is bound to others (`mempolicy_in_oom_domain`).
  private func isEligible(_ process: Process, _ nodes: NodeMask?) -> Bool {
    guard let nodes, let policy = process.policy, policy.mode == .bind else { return true }
    return !policy.nodes.intersection(nodes).isEmpty
  }

  /// `oom_badness`: the pages that a process's end would free, shifted by its adjustment, a thousandth of `pages` a step; nil where it may
  /// not be killed.
  func oomBadness(_ process: Process, of pages: UInt64) -> Int64? {
    if process.oomScoreAdjustment == -1000 { return nil }
    let own = Int64(process.space.counts.resident + process.space.tablePages)
    return own + Int64(process.oomScoreAdjustment) * Int64(pages / 1000)
  }

  /// `proc_oom_score`: 0 to 2000.
  public func oomScore(_ process: Process) -> UInt64 {
    guard let badness = oomBadness(process, of: totalPages) else { return 0 }
    return UInt64(max(0, (1000 + badness * 1000 / Int64(max(totalPages, 1))) * 2 / 3))
  }

  /// As `__oom_kill_process` logs it.
  private func killed(_ process: Process) -> String {
    let counts = process.space.counts
    func kB(_ pages: UInt64) -> String { "\(pages << (pageShift - 10))kB" }
    return "Killed process \(process.pid.rawValue) (\(process.name)) total-vm:\(kB(counts.total)), "
      + "anon-rss:\(kB(counts.anonymousResident)), file-rss:\(kB(counts.fileResident)), "
      + "shmem-rss:\(kB(counts.sharedResident)), UID:0 pgtables:\(kB(process.space.tablePages)) "
      + "oom_score_adj:\(process.oomScoreAdjustment)"
  }
}
