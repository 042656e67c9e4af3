internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage

extension Table {
  /// The allocator's debug files that VeridianOS's book names.
  static let allocatorRows: [Row] = {
    let document = "VeridianOS, memory allocator, \"Debug Commands\""
    func file(_ name: String, _ render: @escaping @Sendable (Machine, inout TextBuffer) -> Void) -> Row {
      Row(
        "sys/kernel/debug/mm/" + name, 0o444,
        .text({ (machine, _, text) throws(Errno) in render(machine, &text) }), document)
    }
    return [
      file("allocator_stats", renderAllocatorStatistics), file("fragmentation", renderFragmentation),
      file("large_allocs", renderLargeAllocations), file("numa_stats", renderNodeStatistics),
      Row(
        "sys/kernel/debug/page_owner", 0o400,
        .text({ (machine, _, text) throws(Errno) in renderPageOwners(machine, &text) }),
        "Documentation/mm/page_owner.rst, mm/page_owner.c print_page_owner",
        exists: { machine, _ in machine.keepsPageOwners }),
    ]
  }()
}

/// The seed's `AllocationStats` and VeridianOS's `FrameAllocatorStats`: frames, requests by who served them, and how long a sample of them
/// took on the host.
private func renderAllocatorStatistics(_ machine: Machine, _ text: inout TextBuffer) {
  func line(_ text: inout TextBuffer, _ name: String, _ value: UInt64) {
    text.append(string: name)
    text.append(byte: 0x20)
    text.append(decimal: value)
    text.newline()
  }
  let nodes = machine.memory.snapshot().nodes
  let zones = nodes.flatMap(\.zones)
  line(&text, "total_frames", zones.reduce(0) { $0 + $1.managed.rawValue })
  line(&text, "free_frames", zones.reduce(0) { $0 + $1.free.rawValue })
  for (name, counts) in [
    ("list", zones.map(\.fromLists)), ("bitmap", zones.map(\.fromBitmaps)), ("buddy", zones.map(\.fromBuddy)),
  ] {
    line(&text, name + "_allocations", counts.reduce(0) { $0 + $1.allocations })
    line(&text, name + "_frees", counts.reduce(0) { $0 + $1.frees })
    // What a list does not have it gets from its zone: the zone fails, never the list.
    if name != "list" { line(&text, name + "_failures", counts.reduce(0) { $0 + $1.failures }) }
  }
  guard let watch = machine.memory.watch else { return }
  let paths = AllocationWatch.Path.allCases
  line(
    &text, "allocation_time_ns",
    paths.reduce(0) { $0 + watch.latencies($1, .allocate).total })
  text.append(
    string: "\nHost time of one in \(AllocationWatch.sampling) allocations and frees, refills and reclaim included\n")
  text.append("PATH    OPERATION   SAMPLES  TOTAL_NS")
  for limit in LatencyHistogram.limits { text.append(string: "<\(limit)", rightAlignedIn: 8) }
  text.append("    more\n")
  for path in paths {
    for operation in AllocationWatch.Operation.allCases {
      let histogram = watch.latencies(path, operation)
      text.append(string: "\(path)", leftAlignedIn: 8)
      text.append(string: "\(operation)", leftAlignedIn: 9)
      text.append(decimal: histogram.samples, width: 10)
      text.append(decimal: histogram.total, width: 10)
      for index in histogram.counts.indices { text.append(decimal: histogram.counts[index], width: 8) }
      text.newline()
    }
  }
}

/// By zone: what is free, in how large pieces, and which part of it is of no use to a request for a whole block.
private func renderFragmentation(_ machine: Machine, _ text: inout TextBuffer) {
  text.append("NODE ZONE     FREE_FRAMES FREE_BLOCKS LARGEST_FREE_BLOCK FRAGMENTATION\n")
  for node in machine.memory.snapshot().nodes {
    for zone in node.zones {
      let orders = zone.freeByMobility.reduce(into: [Int](repeating: 0, count: zone.freeByMobility[0].count)) {
        for order in $0.indices { $0[order] += $1[order] }
      }
      let blocks = orders.indices.dropFirst(9).reduce(0) { $0 + orders[$1] << ($1 - 9) }
      let largest = orders.lastIndex { $0 > 0 }.map { 1 << $0 } ?? 0
      let free = Int(zone.free.rawValue)
      text.append(decimal: node.node.rawValue, width: 4)
      text.append(byte: 0x20)
      text.append(string: zone.kind.description, leftAlignedIn: 8)
      text.append(decimal: free, width: 12)
      text.append(decimal: blocks, width: 12)
      text.append(decimal: largest, width: 19)
      // In hundredths of a percent.
      let lost = free == 0 ? 0 : (free - blocks * 512) * 10000 / free
      text.append(decimal: lost / 100, width: 10)
      text.append(".")
      text.append(string: String(lost % 100 + 100).suffix(2).description)
      text.append("%\n")
    }
  }
}

/// What the buddy system alone can serve: allocations of a block and more.
private func renderLargeAllocations(_ machine: Machine, _ text: inout TextBuffer) {
  text.append("ADDRESS              FRAMES  NODE  MOBILITY     OWNER\n")
  machine.memory.forEachAllocation { allocation in
    guard allocation.range.count.rawValue >= 512 else { return true }
    text.append("0x")
    text.append(hex: machine.memory.frameSize.address(of: allocation.range.start).rawValue, width: 12)
    text.append(decimal: allocation.range.count.rawValue, width: 13)
    text.append(decimal: machine.node(of: allocation.range.start)?.rawValue ?? -1, width: 6)
    text.append("  ")
    text.append(string: allocation.mobility.description, leftAlignedIn: 13)
    text.append(string: machine.name(of: allocation.owner))
    text.newline()
    return true
  }
}

/// By node: its frames, its load (the used part, in percent), and where requests were served (`enum numa_stat_item`).
private func renderNodeStatistics(_ machine: Machine, _ text: inout TextBuffer) {
  text.append(
    "NODE TOTAL_FRAMES FREE_FRAMES LOAD        LOCAL        OTHER          HIT         MISS      FOREIGN   INTERLEAVE\n"
  )
  for node in machine.memory.snapshot().nodes {
    let numa = node.numa
    text.append(decimal: node.node.rawValue, width: 4)
    text.append(decimal: node.managed.rawValue, width: 13)
    text.append(decimal: node.free.rawValue, width: 12)
    text.append(decimal: node.managed.rawValue == 0 ? 0 : node.used.rawValue * 100 / node.managed.rawValue, width: 4)
    text.append("%")
    for value in [numa.local, numa.other, numa.hit, numa.miss, numa.foreign, numa.interleaveHit] {
      text.append(decimal: value, width: 13)
    }
    text.newline()
  }
}
