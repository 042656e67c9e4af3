import MemoryTypes

/// Where memory is and what of it is taken: from memory blocks and `/proc/iomem` where the tree has them, else from the amounts alone.
extension SystemImporter {
  /// Linux's `SECTION_SIZE` on x86-64 and AArch64. Holes that cover a whole section are no memory; smaller ones are reserved.
  private static let section: UInt64 = 128 << 20

  func readMemory(of shapes: [NodeShape], into machine: inout MachineDescription) {
    let limit = UInt64(1) << UInt64(architecture.physicalAddressBits)
    let map = tree.text("proc/iomem").flatMap { ResourceMap($0, limit: limit) }
    let blocks = shapes.map { shape in shape.path.map { tree.instances(of: "memory", in: $0) } ?? [] }
    let told = tree.word("sys/devices/system/memory/block_size_bytes").flatMap { UInt64($0, radix: 16) }
    var size = Self.section
    if let told, told.nonzeroBitCount == 1, (16 << 20...1 << 40).contains(told) {
      size = told
    } else {
      // From 64 GiB on a machine that is no guest has blocks of 2 GiB (`probe_memory_block_size`); where blocks are listed, theirs is the
      // smallest size that holds what each node has.
      if blocks.allSatisfy(\.isEmpty), architecture == .x86_64, shapes.reduce(0, { $0 + ($1.managed ?? 0) }) >= 64 << 30
      {
        size = 2 << 30
      }
      for (shape, blocks) in zip(shapes, blocks) where !blocks.isEmpty {
        while size < 2 << 30, size * UInt64(blocks.count) < shape.managed ?? 0 { size <<= 1 }
      }
    }
    machine.memoryBlockSize = ByteCount(size)
    var taken: Set<Int> = []
    for (shape, blocks) in zip(shapes, blocks) {
      // A block that two nodes share is the first one's.
      let own = blocks.filter { UInt64($0) < limit / size && taken.insert($0).inserted }
      machine.nodes.append(Node(id: shape.id, memory: ranges(of: own, size: size, map: map)))
    }
    // A tree without blocks: one node can have all of the map's RAM.
    if taken.isEmpty, shapes.count == 1, let map {
      let sections = map.memory.flatMap {
        Int($0.start.rawValue / Self.section)...Int(($0.end.rawValue - 1) / Self.section)
      }
      machine.nodes[0].memory = ranges(of: Set(sections).sorted(), size: Self.section, map: map)
    }
    placeAmounts(shapes, limit: limit, in: &machine)
    if let map { machine.reserved = regions(map, in: machine) }
    let zones = tree.text("proc/zoneinfo").map { ZoneTable($0) }
    let frame = UInt64(machine.frameSize.bytes.rawValue)
    for (index, shape) in shapes.enumerated() {
      let node = machine.nodes[index]
      var taken: [ReservedRegion] = []
      // Zone by zone where that is told, so that each manages what it did.
      for zone in zones?.zones ?? [] where zone.node == shape.id {
        let span = FrameRange(start: FrameNumber(zone.start), count: FrameCount(zone.spanned))
        taken += remainder(of: node, within: span, managed: zone.managed, in: machine)
      }
      machine.reserved += taken
      if let managed = shape.managed {
        machine.reserved += remainder(of: node, within: nil, managed: managed / frame, in: machine)
      }
    }
    machine.reserved = machine.reserved.inOrder
    if let zones, let kilobytes = tree.integer("proc/sys/vm/min_free_kbytes"), kilobytes > 0 {
      let late = zones.lateFrames(minimum: UInt64(kilobytes) * 1024 / frame)
      for index in machine.nodes.indices {
        machine.nodes[index].lateMemory = ByteCount((late[machine.nodes[index].id] ?? 0) * frame)
      }
    }
  }

  /// The memory of blocks: their sections that have any RAM; all, but for the device window of a PC, where that is not known.
  private func ranges(of blocks: [Int], size: UInt64, map: ResourceMap?) -> [PhysicalRange] {
    let step = min(size, Self.section)
    let memory = map?.memory
    var next = 0
    var ranges: [PhysicalRange] = []
    for block in blocks {
      for start in stride(from: UInt64(block) * size, to: (UInt64(block) + 1) * size, by: Int(step)) {
        let part = PhysicalRange(start: PhysicalAddress(start), size: ByteCount(step))
        if let memory {
          while next < memory.count, memory[next].end <= part.start { next += 1 }
          guard next < memory.count, memory[next].overlaps(part) else { continue }
        } else if architecture == .x86_64 || architecture == .i386, size > Self.section,
          (0xC000_0000..<0x1_0000_0000).contains(start)
        {
          continue
        }
        if let last = ranges.last, last.end == part.start {
          ranges[ranges.count - 1].size = last.size + part.size
        } else {
          ranges.append(part)
        }
      }
    }
    return ranges
  }

  /// Lays out the nodes of which only the amount is known, each from the start of a block of its own.
  private func placeAmounts(_ shapes: [NodeShape], limit: UInt64, in machine: inout MachineDescription) {
    var layout = MemoryLayout(architecture: architecture)
    layout.skip(past: machine.memoryEnd.rawValue)
    let frame = machine.frameSize.bytes.rawValue
    let block = machine.memoryBlockSize.rawValue
    for (index, shape) in shapes.enumerated() where machine.nodes[index].memory.isEmpty {
      guard let managed = shape.managed, managed > 0 else { continue }
      layout.skip(past: (layout.next + block - 1) / block * block)
      machine.nodes[index].memory = layout.place((managed + frame - 1) / frame * frame, limit: limit) ?? []
    }
  }

  /// The map's regions, and holes in nodes' memory that it does not mention.
  private func regions(_ map: ResourceMap, in machine: MachineDescription) -> [ReservedRegion] {
    let memory = machine.nodes.flatMap(\.memory).sorted { $0.start < $1.start }
    var regions: [ReservedRegion] = []
    for entry in map.entries where !entry.name.hasPrefix("System RAM") {
      let kind: ReservedRegion.Kind
      if entry.isMemory {
        // What lies inside another region of RAM ("Kernel code" in "Crash kernel") is only a name there.
        let inner = regions.contains { !($0.kind == .mmio) && $0.range.overlaps(entry.range) }
        kind = inner ? .mmio : .kernel
      } else if entry.depth == 0, memory.contains(where: { $0.overlaps(entry.range) }), !entry.name.hasPrefix("PCI") {
        kind =
          entry.name.contains("ACPI")
          ? .acpi : entry.name.contains("Reserved") || entry.name.contains("reserved") ? .bios : .mmio
      } else {
        kind = .mmio
      }
      regions.append(ReservedRegion(range: entry.range, kind: kind, description: entry.name))
    }
    let top = map.entries.filter { $0.depth == 0 }.map(\.range).sorted { $0.start < $1.start }
    for range in memory {
      var start = range.start
      for entry in top where entry.overlaps(range) {
        if start < entry.start { regions.append(hole(start, entry.start)) }
        start = max(start, entry.end)
      }
      if start < range.end { regions.append(hole(start, range.end)) }
    }
    if architecture == .x86_64 || architecture == .i386 {
      // Linux's reserve_real_mode leaves the first MiB alone.
      for range in map.memory where range.start.rawValue < 1 << 20 && range.end.rawValue <= 1 << 20 {
        regions.append(ReservedRegion(range: range, kind: .boot, description: "Low memory"))
      }
    }
    return regions
  }

  private func hole(_ start: PhysicalAddress, _ end: PhysicalAddress) -> ReservedRegion {
    ReservedRegion(
      range: PhysicalRange(start: start, size: ByteCount(end.rawValue - start.rawValue)), kind: .mmio, description: "")
  }

  /// What the kernel took of a node, or of its frames in a span, beyond what is known by name, so that as many frames are left as it
  /// managed: the highest that are free.
  private func remainder(
    of node: Node, within span: FrameRange?, managed kept: UInt64, in machine: MachineDescription
  ) -> [ReservedRegion] {
    let size = machine.frameSize
    var free: [FrameRange] = []
    let withheld = machine.reservations(of: node)
    for memory in node.memory.map({ size.framesInside($0) }) {
      var range = memory
      if let span {
        let start = max(range.start, span.start)
        let end = min(range.end, span.end)
        guard start < end else { continue }
        range = FrameRange(start: start, count: end - start)
      }
      var start = range.start
      for taken in withheld.lazy.map(\.frames) where taken.start < range.end && taken.end > range.start {
        if start < taken.start { free.append(FrameRange(start: start, count: taken.start - start)) }
        start = max(start, taken.end)
      }
      if start < range.end { free.append(FrameRange(start: start, count: range.end - start)) }
    }
    let total = free.reduce(0) { $0 + $1.count.rawValue }
    guard kept > 0, total > kept else { return [] }
    var excess = total - kept
    var regions: [ReservedRegion] = []
    for run in free.reversed() where excess > 0 {
      let count = min(excess, run.count.rawValue)
      excess -= count
      regions.append(
        ReservedRegion(
          range: PhysicalRange(
            start: size.address(of: FrameNumber(run.end.rawValue - count)), size: size.bytes(FrameCount(count))),
          kind: .boot, description: "Early allocations of \(node.id)"))
    }
    return regions
  }
}
