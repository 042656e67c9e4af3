internal import Machine
internal import MemoryTypes
internal import PhysicalMemory

/// mm/page_owner.c, print_page_owner, for every allocation. The machine's clock moves on by a millisecond a line.
func renderPageOwners(_ machine: Machine, _ text: inout TextBuffer) {
  guard let owners = machine.memory.watch?.owners else { return }
  func time(_ text: inout TextBuffer, ofLine line: UInt32) { text.append(decimal: UInt64(line) * 1_000_000) }
  machine.memory.forEachAllocation { allocation in
    guard let record = owners.record(of: allocation.range.start) else { return true }
    let count = allocation.range.count.rawValue
    text.append("Page allocated via order ")
    text.append(decimal: count < 2 ? 0 : 64 - (count - 1).leadingZeroBitCount)
    text.append(", mask 0x")
    text.append(hex: UInt64(record.mask.rawValue))
    text.append(
      string: "(\(record.mask.names)), pid \(record.place.pid), tgid \(record.place.pid) (\(record.place.command)), ts "
    )
    time(&text, ofLine: record.place.line)
    text.append(" ns, free_ts ")
    time(&text, ofLine: record.freed)
    text.append(" ns\nPFN ")
    text.append(decimal: allocation.range.start.rawValue)
    text.append(" type ")
    text.append(typeName(allocation.mobility))
    text.append(" Block ")
    // `pageblock_order`: a block of 512 frames.
    text.append(decimal: allocation.range.start.rawValue >> 9)
    text.append(" type ")
    text.append(typeName(machine.memory.blockMobility(of: allocation.range.start)))
    text.append(" Flags ")
    printFlags(machine, allocation, &text)
    text.append("\n ")
    text.append(string: record.place.name)
    text.newline()
    if record.place.line > 0 {
      text.append(" line ")
      text.append(decimal: UInt64(record.place.line))
      if !record.place.text.isEmpty { text.append(string: ": " + record.place.text) }
      text.newline()
    }
    if let moved = record.moved {
      text.append("Page has been migrated, last migrate reason: ")
      text.append(moved.name)
      text.newline()
    }
    text.newline()
    return true
  }
}

/// `migratetype_names`; nil stands for a block that is isolated.
private func typeName(_ mobility: Mobility?) -> StaticString {
  switch mobility {
  case .unmovable: "Unmovable"
  case .movable: "Movable"
  case .reclaimable: "Reclaimable"
  case nil: "Isolate"
  }
}

/// `%pGp`: node, zone and CPU as x86-64 packs them into `page->flags` (10, 3 and 21 bits from the top), and what a holder of that kind makes of
/// its pages.
private func printFlags(_ machine: Machine, _ allocation: Allocation, _ text: inout TextBuffer) {
  var flags: [(name: String, bit: UInt64)] = []
  switch allocation.owner.kind {
  case .anonymous: flags = [("uptodate", 2), ("lru", 4), ("swapbacked", 19)]
  case .pageCache: flags = [("uptodate", 2), ("lru", 4)]
  case .slab: flags = [("slab", 9)]
  case .hugePage: flags = [("head", 16)]
  case .kernel, .pageTable, .command: break
  }
  let node = UInt64(machine.node(of: allocation.range.start)?.rawValue ?? 0)
  // Numbered as `enum zone_type` is there, which has no High.
  let zone: UInt64 =
    switch machine.memory.zone(at: allocation.range.start) {
    case .dma: 0
    case .dma32: 1
    case .normal, .high, nil: 2
    case .movable: 3
    case .device: 4
    }
  let cpu: UInt64 = 0x1F_FFFF
  text.append("0x")
  text.append(hex: node << 54 | zone << 51 | cpu << 30 | flags.reduce(0) { $0 | 1 << $1.bit })
  text.append("(")
  for flag in flags {
    text.append(string: flag.name)
    text.append("|")
  }
  text.append(string: "node=\(node)|zone=\(zone)|lastcpupid=0x1fffff)")
}
