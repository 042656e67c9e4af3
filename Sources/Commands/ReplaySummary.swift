internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// What `replay --summary` ends in: what a script has done to the machine since it began.
struct ReplaySummary {
  var lines = 0
  var calls = 0
  var words = 0
  /// What there was before the first line.
  private let usageBefore: [NodeID: MemoryUsage]
  private let eventsBefore: UserMemory.Events
  private let boot: Int
  /// The most frames that were in use behind a line, by node and in all.
  private var peaks: [NodeID: Int] = [:]
  private var peak = 0
  /// Faults as of the last look.
  private var seen = UInt64.max

  /// The caller holds the machine.
  init(_ machine: Machine) {
    usageBefore = Dictionary(uniqueKeysWithValues: machine.memory.nodes.map { ($0, machine.usage(of: $0)) })
    eventsBefore = machine.users.events
    boot = machine.boots
    look(at: machine)
  }

  /// Notes how much is in use behind accesses of a recorded log, unless they took no fault.
  mutating func lookAfterAccesses(at machine: Machine) {
    if machine.users.events.faults != seen { look(at: machine) }
  }

  /// Notes how much is in use.
  mutating func look(at machine: Machine) {
    seen = machine.users.events.faults
    var sum = 0
    for node in machine.memory.nodes {
      guard let totals = machine.memory.totals(of: node) else { continue }
      let used = totals.managed - totals.free
      peaks[node] = max(peaks[node] ?? 0, used)
      sum += used
    }
    peak = max(peak, sum)
  }

  func print(_ machine: Machine, _ recorded: RecordedLog.Counts, refused: Int, into text: inout TextBuffer) {
    func line(_ label: String, _ content: String) {
      text.append(string: label, leftAlignedIn: 13)
      text.append(string: content)
      text.newline()
    }
    text.append("Summary\n")
    line("lines", "\(lines): \(calls) calls, \(words) words, \(refused) refused")
    if recorded != RecordedLog.Counts() {
      line(
        "recorded",
        "\(recorded.calls) calls, \(recorded.differing) with another result; \(recorded.accesses) accesses, "
          + "\(recorded.signals) signals; \(recorded.skipped) lines skipped")
    }
    // A reset has set all counts back to what they were before.
    let events = machine.users.events
    let before = machine.boots == boot ? eventsBefore : UserMemory.Events()
    line(
      "faults",
      "\(events.faults - before.faults), \(events.majorFaults - before.majorFaults) of them major; "
        + "\(events.demandZero - before.demandZero) pages zeroed, \(events.copyOnWrite - before.copyOnWrite) copied, "
        + "\(events.reusedOnWrite - before.reusedOnWrite) written in place; "
        + "stacks grown \(events.stackGrowth - before.stackGrowth) times; "
        + "\(events.invalid - before.invalid) accesses refused")
    if events.outOfMemoryKills > 0 { line("killed", "\(events.outOfMemoryKills) processes, out of memory") }
    printTranslation(machine, line)
    printNodes(machine, line)
    line("peak", "\(peak) frames, \(machine.memory.frameSize.kilobytes(FrameCount(UInt64(peak)))) kB")
  }

  private func printTranslation(_ machine: Machine, _ line: (String, String) -> Void) {
    let mmu = machine.users.mmu
    var first = [UInt64](repeating: 0, count: 5)
    var second = first
    var (walks, references): (UInt64, UInt64) = (0, 0)
    for cpu in 0..<mmu.cpuCount {
      guard let counters = try? mmu.counters(of: CPUID(cpu)) else { continue }
      walks += counters.walks
      references += counters.referenceCount
      for level in 0..<5 {
        first[level] += counters.firstHits[level]
        second[level] += counters.secondHits[level]
      }
    }
    let accesses = first.reduce(0, +) + second.reduce(0, +) + walks
    line("TLB", "\(accesses) accesses, \(walks) walks (\(share(walks, accesses))) of \(references) entries")
    for level in 0..<machine.format.levels where first[level] + second[level] > 0 {
      line(
        "  \(machine.format.pageSize(level: level))",
        "\(first[level]) hits in L1 (\(share(first[level], accesses))), \(second[level]) in L2 "
          + "(\(share(second[level], accesses)))")
    }
    let done = mmu.shootdowns
    line(
      "shootdowns",
      "\(done.single) single, \(done.range) range, \(done.global) global, \(done.full) full; "
        + "\(done.sent) requests to other CPUs, \(done.nanoseconds) ns")
  }

  private func printNodes(_ machine: Machine, _ line: (String, String) -> Void) {
    for node in machine.memory.nodes {
      let now = machine.usage(of: node)
      let before = machine.boots == boot ? usageBefore[node] ?? MemoryUsage() : MemoryUsage()
      func grown(_ statistic: NumaStatistic) -> Int { now.numa[statistic] - before.numa[statistic] }
      line(
        "node \(node.rawValue)",
        "\(grown(.numaHit) + grown(.numaMiss)) placed, \(grown(.numaLocal)) by its own CPUs, "
          + "\(grown(.numaMiss)) for another node; \(now.managed - now.free) frames in use, "
          + "\(peaks[node] ?? 0) at most")
    }
  }

  /// `97.5 %`.
  private func share(_ part: UInt64, _ whole: UInt64) -> String {
    if whole == 0 { return "0 %" }
    let thousandths = (part * 1000 + whole / 2) / whole
    return "\(thousandths / 10).\(thousandths % 10) %"
  }
}
