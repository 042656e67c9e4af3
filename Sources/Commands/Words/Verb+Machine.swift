internal import Machine
internal import MemoryTypes
internal import PhysicalMemory

extension Verb {
  // MARK: mem

  static let mem = Verb(
    "mem",
    summary: "shows each node's and zone's memory: managed, free, used, reserved, free blocks by order, requests",
    execute: { _, machine in machine.memory.snapshot() },
    print: { snapshot, _, text in
      printSizes(snapshot, &text)
      printFreeBlocks(snapshot, &text)
      printRequests(snapshot, &text)
    })

  private static func printSizes(_ snapshot: PhysicalSnapshot, _ text: inout TextBuffer) {
    text.append("Memory (kB)       managed          free          used      reserved\n")
    var sums = [FrameCount](repeating: .zero, count: 4)
    for node in snapshot.nodes {
      let columns = [node.managed, node.free, node.used, node.reserved]
      line(&text, "Node \(node.node.rawValue)", columns.map(snapshot.frameSize.kilobytes), width: 14)
      for zone in node.zones {
        let columns = [zone.managed, zone.free, zone.used, zone.reserved]
        line(&text, "  \(zone.kind)", columns.map(snapshot.frameSize.kilobytes), width: 14)
      }
      for index in sums.indices { sums[index] += columns[index] }
    }
    line(&text, "Total", sums.map(snapshot.frameSize.kilobytes), width: 14)
  }

  private static func printFreeBlocks(_ snapshot: PhysicalSnapshot, _ text: inout TextBuffer) {
    text.append("\nFree blocks  order 0      1      2      3      4      5      6      7      8      9    10+\n")
    forEachZone(snapshot) { label, zone in
      line(&text, label, zone.freeByOrder.map { UInt64($0) }, width: 7)
    }
  }

  private static func printRequests(_ snapshot: PhysicalSnapshot, _ text: inout TextBuffer) {
    text.append("\nRequests      bitmap: served   refused       buddy: served   refused\n")
    forEachZone(snapshot) { label, zone in
      line(&text, label, [zone.bitmap.allocations, zone.bitmap.failures], width: 13, 10)
      text.truncate(to: text.count - 1)
      line(&text, "", [zone.buddy.allocations, zone.buddy.failures], width: 13, 10, label: 7)
    }
  }

  private static func forEachZone(_ snapshot: PhysicalSnapshot, _ body: (String, PhysicalSnapshot.ZoneSnapshot) -> Void)
  {
    for node in snapshot.nodes {
      for zone in node.zones { body("\(node.node.rawValue) \(zone.kind)", zone) }
    }
  }

  /// A label and numbers; the last width holds for all columns behind it.
  private static func line(
    _ text: inout TextBuffer, _ label: String, _ values: [UInt64], width: Int..., label room: Int = 13
  ) {
    text.append(string: label, leftAlignedIn: room)
    for (index, value) in values.enumerated() { text.append(decimal: value, width: width[min(index, width.count - 1)]) }
    text.newline()
  }

  // MARK: check

  static let check = Verb(
    "check",
    summary: "recomputes every counter from the structures, shows what differs, and a number for the whole state",
    execute: { _, machine in (differences: machine.verify(), digest: machine.digest()) },
    print: { result, _, text in
      for difference in result.differences { text.append(string: difference + "\n") }
      text.append(string: result.differences.isEmpty ? "no difference, state " : "state ")
      text.append(hex: result.digest, width: 16)
      text.newline()
    })

  // MARK: reset

  static let reset = Verb(
    "reset", summary: "puts the machine back into the state after booting",
    execute: { _, machine in machine.reset() },
    print: { _, _, text in text.append("reset\n") })
}
