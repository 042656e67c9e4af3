internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Topology

extension Table {
  private static func file(
    _ path: String, _ document: String, mode: UInt16 = 0o444,
    _ render: @escaping @Sendable (Machine, inout TextBuffer) -> Void
  ) -> Row {
    Row(path, mode, .text({ (machine, _, text) throws(Errno) in render(machine, &text) }), document)
  }

  /// What is known of zones, and what is counted.
  static let zoneRows: [Row] = [
    file("proc/buddyinfo", "proc(5), mm/vmstat.c frag_show_print", renderBuddyinfo),
    file("proc/zoneinfo", "proc(5), mm/vmstat.c zoneinfo_show_print", renderZoneinfo),
    file("proc/vmstat", "proc(5), mm/vmstat.c vmstat_text", renderVmstat),
    file("proc/pagetypeinfo", "proc(5), mm/vmstat.c pagetypeinfo_show", mode: 0o400, renderPagetypeinfo),
    file("sys/kernel/debug/extfrag/unusable_index", "mm/vmstat.c unusable_show_print") { machine, text in
      renderIndices(machine, &text, width: 1) { $0.unusableIndex($1) }
    },
    file("sys/kernel/debug/extfrag/extfrag_index", "mm/vmstat.c extfrag_show_print") { machine, text in
      renderIndices(machine, &text, width: 2) { $0.fragmentationIndex($1) }
    },
  ]
}

extension TextBuffer {
  /// `Node 0, zone      DMA`
  fileprivate mutating func append(_ node: NodeID, _ zone: ZoneKind) {
    append("Node ")
    append(decimal: node.rawValue)
    append(", zone ")
    append(string: zone.description, rightAlignedIn: 8)
  }

  /// A line of zoneinfo behind six blanks, the name in twelve columns.
  fileprivate mutating func append(statistic name: String, _ value: Int) {
    append("\n      ")
    append(string: name, leftAlignedIn: 12)
    append(byte: 0x20)
    append(decimal: value)
  }

  fileprivate mutating func append(_ label: StaticString, _ frames: FrameCount) {
    append(label)
    append(decimal: frames.rawValue)
  }

  fileprivate mutating func append(event name: String, _ value: Int) {
    append(string: name)
    append(byte: 0x20)
    append(decimal: value)
    newline()
  }
}

private func renderBuddyinfo(_ machine: Machine, _ text: inout TextBuffer) {
  machine.forEachZone { node, kind, zone in
    guard let zone else { return }
    text.append(node, kind)
    text.append(byte: 0x20)
    for count in zone.freeByOrder {
      text.append(decimal: count, width: 6)
      text.append(byte: 0x20)
    }
    text.newline()
  }
}

private func renderZoneinfo(_ machine: Machine, _ text: inout TextBuffer) {
  let kinds = machine.zoneKinds
  var last: NodeID?
  machine.forEachZone { node, kind, zone in
    text.append(node, kind)
    // The node's own statistics stand with its first zone that has memory.
    if zone != nil, last != node {
      last = node
      text.append("\n  per-node stats")
      let usage = machine.usage(of: node)
      for statistic in NodeStatistic.allCases { text.append(statistic: statistic.name, usage.shown(statistic)) }
    }
    let marks = zone?.watermarks
    text.append("\n  pages free     ", zone?.free ?? .zero)
    text.append("\n        boost    ", marks?.boost ?? .zero)
    text.append("\n        min      ", marks?.min ?? .zero)
    text.append("\n        low      ", marks?.low ?? .zero)
    text.append("\n        high     ", marks?.high ?? .zero)
    text.append("\n        spanned  ", zone?.spanned ?? .zero)
    text.append("\n        present  ", zone?.present ?? .zero)
    text.append("\n        managed  ", zone?.managed ?? .zero)
    // No region is set apart for contiguous allocation.
    text.append("\n        cma      ", .zero)
    for (index, other) in kinds.enumerated() {
      text.append(index == 0 ? "\n        protection: (" : ", ")
      text.append(decimal: marks?.protection[Int(other.rawValue)].rawValue ?? 0)
    }
    text.append(")")
    if let zone { renderPopulated(machine, node, zone, &text) }
    text.newline()
  }
}

/// What zoneinfo says of zones with memory alone.
private func renderPopulated(
  _ machine: Machine, _ node: NodeID, _ zone: PhysicalSnapshot.ZoneSnapshot, _ text: inout TextBuffer
) {
  let usage = machine.usage(of: node, zone: zone.kind)
  for statistic in ZoneStatistic.allCases { text.append(statistic: statistic.name, usage.zone[statistic]) }
  for statistic in NumaStatistic.allCases { text.append(statistic: statistic.name, usage.numa[statistic]) }
  text.append("\n  pagesets")
  let threshold = machine.statisticsThreshold(managed: zone.managed)
  var next = 0
  for cpu in machine.description.cpus.map(\.id) {
    while next < zone.lists.count, zone.lists[next].cpu < cpu { next += 1 }
    let used = next < zone.lists.count && zone.lists[next].cpu == cpu
    text.append("\n    cpu: ")
    text.append(decimal: cpu.rawValue)
    text.append("\n              count: ")
    text.append(decimal: used ? zone.lists[next].count : 0)
    text.append("\n              high:  ")
    text.append(decimal: zone.listHigh)
    text.append("\n              batch: ")
    text.append(decimal: zone.listBatch)
    text.append("\n  vm stats threshold: ")
    text.append(decimal: threshold)
  }
  text.append("\n  node_unreclaimable:  ")
  text.append(decimal: machine.isUnreclaimable(node) ? 1 : 0)
  text.append("\n  start_pfn:           ")
  text.append(decimal: zone.start.rawValue)
}

private func renderVmstat(_ machine: Machine, _ text: inout TextBuffer) {
  let usage = machine.usage()
  for statistic in ZoneStatistic.allCases { text.append(event: statistic.name, usage.zone[statistic]) }
  for statistic in NumaStatistic.allCases { text.append(event: statistic.name, usage.numa[statistic]) }
  for statistic in NodeStatistic.allCases { text.append(event: statistic.name, usage.shown(statistic)) }
  let thresholds = machine.dirtyThresholds()
  text.append(event: "nr_dirty_threshold", thresholds.limit)
  text.append(event: "nr_dirty_background_threshold", thresholds.background)
  let events = machine.eventCounts()
  let kinds = machine.zoneKinds
  for event in VMEvent.allCases where event.zone.map({ kinds.contains($0) }) ?? true {
    text.append(event: event.name, events[event])
  }
  // Kept for those who look for it; Linux has not counted it since 5.8.
  text.append("nr_unstable 0\n")
}

private func renderPagetypeinfo(_ machine: Machine, _ text: inout TextBuffer) {
  for node in machine.nodesWithMemory(in: nil) {
    text.append("Page block order: 9\nPages per block:  512\n\n")
    text.append(string: "Free pages count per migrate type at order", leftAlignedIn: 43)
    text.append(byte: 0x20)
    for order in 0...10 {
      text.append(decimal: order, width: 6)
      text.append(byte: 0x20)
    }
    text.newline()
    let zones = machine.memory.snapshot(of: node)?.zones ?? []
    for zone in zones { renderFreeByType(node, zone, &text) }
    text.newline()
    text.append(string: "Number of blocks type ", leftAlignedIn: 23)
    for type in migrateTypes {
      text.append(string: type, rightAlignedIn: 12)
      text.append(byte: 0x20)
    }
    text.newline()
    for zone in zones {
      text.append(node, zone.kind)
      text.append(byte: 0x20)
      for type in migrateTypes.indices {
        text.append(decimal: zone.blocks(ofType: type), width: 12)
        text.append(byte: 0x20)
      }
      text.newline()
    }
  }
}

/// `migratetype_names`: the mobilities, then what is set apart for urgent requests, and what is being taken away.
private let migrateTypes = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"]

extension PhysicalSnapshot.ZoneSnapshot {
  fileprivate func blocks(ofType type: Int) -> Int {
    switch type {
    case 0..<3: blocksByMobility[type]
    // Nothing is set apart for urgent requests: these go below the watermark instead.
    case 3: 0
    default: isolatedBlocks
    }
  }

  /// Free chunks of each order 0 to 10, larger ones as several of the largest.
  fileprivate func freeChunks(ofType type: Int) -> [Int] {
    let counts =
      switch type {
      case 0..<3: freeByMobility[type]
      case 3: [Int](repeating: 0, count: 11)
      default: isolatedByOrder
      }
    var folded = Array(counts.prefix(11))
    for larger in counts.indices.dropFirst(11) { folded[10] += counts[larger] << (larger - 10) }
    return folded
  }
}

private func renderFreeByType(_ node: NodeID, _ zone: PhysicalSnapshot.ZoneSnapshot, _ text: inout TextBuffer) {
  for (index, type) in migrateTypes.enumerated() {
    text.append("Node ")
    text.append(decimal: node.rawValue, width: 4)
    text.append(", zone ")
    text.append(string: zone.kind.description, rightAlignedIn: 8)
    text.append(", type ")
    text.append(string: type, rightAlignedIn: 12)
    text.append(byte: 0x20)
    for count in zone.freeChunks(ofType: index) {
      // Linux stops counting there.
      if count >= 100_000 { text.append(">") }
      text.append(decimal: min(count, 100_000), width: 6)
      text.append(byte: 0x20)
    }
    text.newline()
  }
}

/// A line of thousandths for each populated zone, by order.
private func renderIndices(
  _ machine: Machine, _ text: inout TextBuffer, width: Int,
  _ index: (PhysicalSnapshot.ZoneSnapshot, Int) -> Int
) {
  machine.forEachZone { node, kind, zone in
    guard let zone else { return }
    text.append(node, kind)
    text.append(byte: 0x20)
    for order in 0...10 {
      let value = index(zone, order)
      text.append(decimal: value / 1000, width: width)
      text.append(".")
      // As printf's %03d has it: a sign takes one of the three places.
      let fraction = value % 1000
      let digits = String(fraction.magnitude)
      if fraction < 0 { text.append("-") }
      text.append(repeating: 0x30, count: max(0, (fraction < 0 ? 2 : 3) - digits.utf8.count))
      text.append(string: digits)
      text.append(byte: 0x20)
    }
    text.newline()
  }
}
