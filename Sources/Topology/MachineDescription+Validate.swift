import MemoryTypes

extension MachineDescription {
  /// The largest number of nodes (Linux's MAX_NUMNODES with NODES_SHIFT 10).
  public static let maximumNodes = 1024
  /// The largest number of CPUs (Linux's NR_CPUS with MAXSMP).
  public static let maximumCPUs = 8192
  /// The largest number of memory blocks: each is a directory.
  public static let maximumMemoryBlocks = 1 << 20

  /// Every mistake in the description; none means that a machine can be made of it.
  /// - Complexity: O(n log n) in the size of the description.
  public func validate() -> [Mistake] {
    var checker = Checker(machine: self)
    checker.checkIdentity()
    checker.checkNodes()
    checker.checkCPUs()
    checker.checkCaches()
    checker.checkMemory()
    checker.checkDistances()
    checker.checkReserved()
    checker.checkPerformance()
    checker.checkSettings()
    return checker.mistakes
  }
}

/// Collects mistakes. Each check stands alone: none relies on what another found to be right.
private struct Checker {
  let machine: MachineDescription
  var mistakes: [Mistake] = []
  private let nodeIDs: Set<NodeID>
  private let cpuIDs: Set<CPUID>
  private let limit: UInt64

  init(machine: MachineDescription) {
    self.machine = machine
    nodeIDs = Set(machine.nodes.map(\.id))
    cpuIDs = Set(machine.cpus.map(\.id))
    limit = UInt64(1) << UInt64(machine.architecture.physicalAddressBits)
  }

  private mutating func report(_ place: Mistake.Place, _ text: String) {
    mistakes.append(Mistake(place: place, text: text))
  }

  mutating func checkIdentity() {
    if machine.name.isEmpty || machine.name.contains(where: { $0.isWhitespace || $0 == "/" }) {
      report(.name, "name: expected one word without '/', found '\(machine.name)'")
    }
    if machine.summary.contains(where: \.isNewline) { report(.name, "summary: expected one line") }
    let size = machine.memoryBlockSize.rawValue
    if size.nonzeroBitCount != 1 || size < 16 << 20 || size > 1 << 40 {
      report(
        .memoryBlockSize, "memory block size: expected a power of two from 16M to 1T, found \(Quantity.print(size))")
    } else if size % (machine.frameSize.bytes.rawValue * 512) != 0 {
      report(.memoryBlockSize, "memory block size: expected a multiple of 512 frames, found \(Quantity.print(size))")
    } else {
      let blocks = machine.nodes.flatMap(\.memory).reduce(0.0) { $0 + Double($1.size.rawValue) / Double(size) }
      if blocks > Double(MachineDescription.maximumMemoryBlocks) {
        report(.memoryBlockSize, "memory block size: expected at most 2^20 blocks: this memory needs larger ones")
      }
    }
  }

  mutating func checkNodes() {
    if machine.nodes.isEmpty { report(.nodes, "nodes: expected at least one") }
    if machine.nodes.count > MachineDescription.maximumNodes {
      report(.nodes, "nodes: expected at most \(MachineDescription.maximumNodes), found \(machine.nodes.count)")
    }
    var seen: Set<NodeID> = []
    for (index, node) in machine.nodes.enumerated() {
      if !(0..<MachineDescription.maximumNodes).contains(node.id.rawValue) {
        report(.node(index), "node id: expected 0 to \(MachineDescription.maximumNodes - 1), found \(node.id.rawValue)")
      }
      if !seen.insert(node.id).inserted {
        report(.node(index), "\(node.id) is there twice")
      } else if index > 0, node.id < machine.nodes[index - 1].id {
        report(.node(index), "\(node.id) follows \(machine.nodes[index - 1].id): expected ascending ids")
      }
    }
  }

  mutating func checkCPUs() {
    let most = MachineDescription.maximumCPUs
    if machine.cpus.isEmpty { report(.cpus, "CPUs: expected at least one") }
    if machine.cpus.count > most { report(.cpus, "CPUs: expected at most \(most), found \(machine.cpus.count)") }
    var seen: Set<CPUID> = []
    for (index, cpu) in machine.cpus.enumerated() {
      if !(0..<most).contains(cpu.id.rawValue) {
        report(.cpu(index), "CPU id: expected 0 to \(most - 1), found \(cpu.id.rawValue)")
      }
      if !seen.insert(cpu.id).inserted {
        report(.cpu(index), "\(cpu.id) is there twice")
      } else if index > 0, cpu.id < machine.cpus[index - 1].id {
        report(.cpu(index), "\(cpu.id) follows \(machine.cpus[index - 1].id): expected ascending ids")
      }
      if !nodeIDs.contains(cpu.node) { report(.cpu(index), "\(cpu.id): there is no \(cpu.node)") }
      for (name, value) in [("package", cpu.package), ("die", cpu.die), ("core", cpu.core), ("thread", cpu.thread)]
      where value < 0 || value > Int(Int32.max) {
        report(.cpu(index), "\(cpu.id): \(name): expected 0 to 2147483647, found \(value)")
      }
    }
    if let highest = machine.cpus.map(\.id.rawValue).max(), highest < most {
      let missing = (0...max(0, highest)).filter { !cpuIDs.contains(CPUID($0)) }
      if !missing.isEmpty {
        report(.cpus, "CPUs: expected every id from 0 to \(highest), missing \(RangeList.list(missing))")
      }
    }
  }

  mutating func checkCaches() {
    struct Slot: Hashable {
      var level: Int
      var kind: Cache.Kind
      var cpu: CPUID
    }
    var taken: Set<Slot> = []
    for (index, cache) in machine.caches.enumerated() {
      let place = Mistake.Place.cache(index)
      let name = "level \(cache.level) \(cache.kind.rawValue.lowercased()) cache"
      if !(1...4).contains(cache.level) { report(place, "cache level: expected 1 to 4, found \(cache.level)") }
      if cache.size.rawValue == 0 || cache.size.rawValue > 1 << 40 {
        report(place, "\(name): size: expected 1 byte to 1T, found \(Quantity.print(cache.size.rawValue))")
      }
      if cache.lineSize < 0 || cache.ways < 0 || cache.lineSize > 1 << 16 || cache.ways > 1 << 16 {
        report(place, "\(name): line and ways: expected 0 (not known) to 65536")
      } else if cache.lineSize > 0, cache.ways > 0, cache.size.rawValue % UInt64(cache.lineSize * cache.ways) != 0 {
        report(
          place,
          "\(name): size \(Quantity.print(cache.size.rawValue)) is not divisible by \(cache.ways) ways of \(cache.lineSize)-byte lines"
        )
      }
      if cache.cpus.isEmpty { report(place, "\(name): expected at least one CPU") }
      let unknown = cache.cpus.filter { !cpuIDs.contains($0) }.map(\.rawValue)
      if !unknown.isEmpty { report(place, "\(name): there is no CPU \(RangeList.list(unknown))") }
      let again = cache.cpus.filter { !taken.insert(Slot(level: cache.level, kind: cache.kind, cpu: $0)).inserted }
      if !again.isEmpty { report(place, "\(name): CPU \(RangeList.list(again.map(\.rawValue))) has one already") }
    }
  }

  mutating func checkMemory() {
    struct Part {
      var place: Mistake.Place
      var node: Node
      var range: PhysicalRange
    }
    var parts: [Part] = []
    let frame = machine.frameSize.bytes.rawValue
    for (index, node) in machine.nodes.enumerated() {
      for (number, range) in node.memory.enumerated() {
        let place = Mistake.Place.memory(node: index, range: number)
        guard range.size.rawValue > 0 else {
          report(place, "\(node.id): empty range at \(range.start)")
          continue
        }
        guard fits(range) else {
          report(place, "\(node.id): expected addresses below \(Quantity.hexadecimal(limit)) (\(machine.architecture))")
          continue
        }
        if range.start.rawValue % frame != 0 || range.size.rawValue % frame != 0 {
          report(place, "\(node.id): \(range) is not aligned to frames of \(Quantity.print(frame))")
        }
        if number > 0, range.start < node.memory[number - 1].start {
          report(place, "\(node.id): \(range) follows \(node.memory[number - 1].start): expected ascending ranges")
        }
        parts.append(Part(place: place, node: node, range: range))
      }
    }
    parts.sort { $0.range.start < $1.range.start }
    // The part that reaches furthest so far overlaps the next one if any does.
    var reach: Part?
    for part in parts {
      if let reach, part.range.start < reach.range.end {
        report(part.place, "\(part.node.id): \(part.range) overlaps \(reach.range) of \(reach.node.id)")
      }
      if reach == nil || part.range.end > reach!.range.end { reach = part }
    }
    if machine.nodes.allSatisfy({ $0.memory.allSatisfy { $0.size.rawValue == 0 } }) {
      report(.nodes, "no node has memory: expected some")
    } else if mistakes.isEmpty, machine.nodes.allSatisfy({ isTaken($0) }) {
      report(.nodes, "all memory is reserved: expected some that is free")
    }
  }

  /// Whether reservations leave a node nothing.
  private func isTaken(_ node: Node) -> Bool {
    guard machine.reserved.allSatisfy({ fits($0.range) }) else { return false }
    let frames = node.memory.reduce(0) { $0 + machine.frameSize.framesInside($1).count.rawValue }
    return machine.reservations(of: node).reduce(0) { $0 + $1.frames.count.rawValue } == frames
  }

  private func fits(_ range: PhysicalRange) -> Bool {
    let (end, overflow) = range.start.rawValue.addingReportingOverflow(range.size.rawValue)
    return !overflow && end <= limit
  }

  mutating func checkDistances() {
    let count = machine.nodes.count
    if machine.distances.count != count {
      report(.distances, "distances: expected \(count) rows, one a node, found \(machine.distances.count)")
    }
    for (row, values) in machine.distances.enumerated() {
      if values.count != count {
        report(.distanceRow(row), "distances, row \(row): expected \(count) numbers, found \(values.count)")
      }
      for (column, value) in values.enumerated() {
        if row == column {
          if value != 10 { report(.distanceRow(row), "distances, row \(row): expected 10 to itself, found \(value)") }
        } else if !(10...255).contains(value) {
          report(.distanceRow(row), "distances, row \(row), column \(column): expected 10 to 255, found \(value)")
        }
      }
    }
  }

  mutating func checkReserved() {
    var open: [Int] = []
    let memory = machine.nodes.flatMap(\.memory).filter { $0.size.rawValue > 0 && fits($0) }.sorted {
      $0.start < $1.start
    }
    var sound: [Int] = []
    for (index, region) in machine.reserved.enumerated() {
      if region.range.size.rawValue == 0 {
        report(.reserved(index), "reserved region '\(region.description)': expected at least one byte")
      } else if !fits(region.range) {
        report(
          .reserved(index),
          "reserved region '\(region.description)': expected addresses below \(Quantity.hexadecimal(limit))")
      } else {
        sound.append(index)
        if region.kind.isPresent, !memory.contains(where: { $0.overlaps(region.range) }) {
          report(.reserved(index), "\(name(index)) is of kind \(region.kind), but lies in no node's memory")
        }
      }
      if region.description.contains(where: \.isNewline) {
        report(.reserved(index), "reserved region: description: expected one line")
      }
    }
    let order = sound.sorted {
      let (a, b) = (machine.reserved[$0].range, machine.reserved[$1].range)
      return (a.start, b.end, $0) < (b.start, a.end, $1)
    }
    // `open` holds the regions around the current one, the outermost first.
    for index in order {
      let region = machine.reserved[index]
      while let last = open.last, machine.reserved[last].range.end <= region.range.start { open.removeLast() }
      if let last = open.last {
        let outer = machine.reserved[last]
        let nested = region.range.end <= outer.range.end && (region.kind == .mmio || outer.kind == .mmio)
        if !nested { report(.reserved(index), "\(name(index)) overlaps \(name(last))") }
      }
      open.append(index)
    }
  }

  private func name(_ index: Int) -> String {
    "reserved region '\(machine.reserved[index].description)' (\(machine.reserved[index].range))"
  }

  mutating func checkPerformance() {
    struct Pair: Hashable { var initiator, target: NodeID }
    var seen: Set<Pair> = []
    for (index, entry) in machine.performance.enumerated() {
      let place = Mistake.Place.performance(index)
      for node in Set([entry.initiator, entry.target]).sorted() where !nodeIDs.contains(node) {
        report(place, "performance: there is no \(node)")
      }
      if !seen.insert(Pair(initiator: entry.initiator, target: entry.target)).inserted {
        report(place, "performance of \(entry.target) for \(entry.initiator) is there twice")
      }
      let values = [entry.readLatency, entry.writeLatency, entry.readBandwidth, entry.writeBandwidth]
      if values.contains(where: { $0 < 0 || $0 > Int(UInt32.max) }) {
        report(place, "performance: expected numbers from 0 to 4294967295")
      }
    }
  }

  mutating func checkSettings() {
    if let paging = machine.settings.paging, paging.architecture != machine.architecture {
      let words = Paging.modes(of: machine.architecture).map(\.rawValue).joined(separator: ", ")
      report(.setting("paging"), "setting paging: expected \(words) on \(machine.architecture), found '\(paging)'")
    }
    for node in machine.nodes where node.lateMemory.rawValue % machine.frameSize.bytes.rawValue != 0 {
      report(.machine, "\(node.id): late_memory: expected a multiple of \(machine.frameSize.bytes)")
    }
    if let zones = machine.settings.zones {
      if !zones.contains(.normal) || !zip(zones, zones.dropFirst()).allSatisfy({ $0 < $1 }) {
        report(.setting("zones"), "setting zones: expected \(Setting.named("zones")?.expected ?? "")")
      }
      if zones.contains(.high), machine.architecture != .i386 {
        report(.setting("zones"), "setting zones: high is for i386, not \(machine.architecture)")
      }
    }
    if !(1...512).contains(machine.settings.hybridThreshold) {
      report(.setting("hybrid_threshold"), "setting hybrid_threshold: expected 1 to 512")
    }
  }
}
