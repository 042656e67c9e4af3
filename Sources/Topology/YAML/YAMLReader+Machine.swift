import MemoryTypes
import Yams

/// The schema: what each key of a machine file means. Keys that are left out have the values that their readers say.
extension YAMLReader {
  /// The description, complete where there is no mistake, else with what could be read of it.
  mutating func machine(_ root: Yams.Node, defaultName: String) -> MachineDescription? {
    let known = [
      "name", "summary", "architecture", "memory_block_size", "settings", "cpus", "caches", "nodes", "distances",
      "reserved", "performance", "linux_paging",
    ]
    marks[.machine] = position(root)
    guard let fields = fields(root, of: "machine", known: known, required: ["nodes"]) else { return nil }
    var machine = MachineDescription(name: defaultName, architecture: .x86_64, cpus: [], nodes: [], distances: [])
    if let node = fields["name"] {
      marks[.name] = position(node)
      machine.name = string(node, "name") ?? machine.name
    }
    if let node = fields["summary"] { machine.summary = string(node, "summary") ?? "" }
    if let node = fields["architecture"] {
      machine.architecture = word(node, "architecture", Architecture.self) ?? machine.architecture
    }
    if let node = fields["linux_paging"] {
      machine.linuxPaging = word(node, "linux_paging", Paging.self)
      if let paging = machine.linuxPaging, paging.architecture != machine.architecture {
        report(node, "linux_paging: expected a page format of \(machine.architecture), found '\(paging)'")
      }
    }
    if let node = fields["settings"] { machine.settings = settings(node) }
    if let node = fields["nodes"] { readNodes(node, topLevel: fields["cpus"], into: &machine) }
    if let node = fields["caches"] {
      let entries = items(node, of: "caches", most: 8 * MachineDescription.maximumCPUs) ?? []
      machine.caches = entries.compactMap { cache($0) }
    }
    readDistances(fields["distances"], into: &machine)
    if let node = fields["reserved"] {
      let entries = items(node, of: "reserved", most: 1 << 16) ?? []
      machine.reserved = entries.compactMap { reserved($0) }
    }
    if let node = fields["performance"] {
      let entries = items(node, of: "performance", most: 1 << 20) ?? []
      machine.performance = entries.compactMap { performance($0) }
    }
    if let node = fields["memory_block_size"] {
      marks[.memoryBlockSize] = position(node)
      if let size = size(node, "memory_block_size") { machine.memoryBlockSize = ByteCount(size) }
    } else {
      machine.memoryBlockSize = MachineDescription.memoryBlockSize(
        nodes: machine.nodes, paging: machine.resolvedPaging)
    }
    if fields["reserved"] == nil, mistakes.isEmpty, machine.validate().isEmpty {
      machine.reserved = Reservations.usual(
        architecture: machine.architecture, nodes: machine.nodes, frameSize: machine.frameSize)
    }
    return machine
  }

  private mutating func settings(_ node: Yams.Node) -> Settings {
    var settings = Settings()
    let fields = fields(node, of: "settings", known: Setting.all.map(\.key)) ?? [:]
    // In the table's order, so that mistakes come in the same order every time.
    for setting in Setting.all {
      guard let value = fields[setting.key] else { continue }
      marks[.setting(setting.key)] = position(value)
      var text: String?
      if case .sequence(let words) = value { text = words.map { $0.string ?? "" }.joined(separator: ",") }
      guard let text = text ?? string(value, "setting \(setting.key)") else { continue }
      do { try settings.set(setting.key, text) } catch { report(value, error.description) }
    }
    return settings
  }

  // MARK: CPUs and nodes

  /// CPUs are those of the top-level `cpus`; without it, those that nodes name, each a core, each node a package.
  private mutating func readNodes(_ list: Yams.Node, topLevel: Yams.Node?, into machine: inout MachineDescription) {
    marks[.nodes] = position(list)
    var homes: [Int: NodeID] = [:]
    var placed: [(index: Int, node: Yams.Node, size: UInt64)?] = []
    for item in items(list, of: "nodes", most: MachineDescription.maximumNodes) ?? [] {
      let index = machine.nodes.count
      marks[.node(index)] = position(item)
      guard let fields = fields(item, of: "node", known: ["id", "kind", "cpus", "memory", "late_memory"]) else {
        continue
      }
      let id = integer(fields["id"], "node id", in: 0...(MachineDescription.maximumNodes - 1), default: index) ?? index
      var node = Node(id: NodeID(id), memory: [])
      if let kind = fields["kind"] { node.kind = word(kind, "\(node.id): kind", Node.Kind.self) ?? .dram }
      if let cpus = fields["cpus"] {
        for cpu in self.list(cpus, "\(node.id): cpus") ?? [] {
          if let other = homes[cpu] {
            report(cpus, "\(node.id): CPU \(cpu) is in \(other) already: expected each CPU in one node")
          } else {
            homes[cpu] = node.id
          }
        }
      }
      if let late = fields["late_memory"], let size = size(late, "\(node.id): late_memory") {
        node.lateMemory = ByteCount(size)
      }
      if let memory = fields["memory"] {
        if case .scalar(let scalar) = memory, let size = Quantity.parse(scalar.string) {
          placed.append((index, memory, size))
        } else {
          placed.append(nil)
          node.memory = ranges(memory, of: node.id, index: index)
        }
      } else {
        placed.append(nil)
      }
      machine.nodes.append(node)
    }
    place(placed, in: &machine)
    if let topLevel {
      readCPUs(topLevel, homes: homes, into: &machine)
    } else {
      marks[.cpus] = position(list)
      var cores: [NodeID: Int] = [:]
      for (id, node) in homes.sorted(by: { $0.key < $1.key }) {
        let package = machine.nodes.firstIndex { $0.id == node } ?? 0
        machine.cpus.append(CPU(id: CPUID(id), package: package, core: cores[node, default: 0], node: node))
        cores[node, default: 0] += 1
      }
    }
  }

  private mutating func ranges(_ node: Yams.Node, of id: NodeID, index: Int) -> [PhysicalRange] {
    let entries: [Yams.Node]
    if case .scalar = node { entries = [node] } else { entries = items(node, of: "\(id): memory", most: 1 << 16) ?? [] }
    var ranges: [PhysicalRange] = []
    for entry in entries {
      guard let range = range(entry, "\(id): memory") else { continue }
      marks[.memory(node: index, range: ranges.count)] = position(entry)
      ranges.append(range)
    }
    return ranges
  }

  /// Lays out the nodes of which only the size is told, each behind all before it.
  private mutating func place(
    _ sizes: [(index: Int, node: Yams.Node, size: UInt64)?], in machine: inout MachineDescription
  ) {
    var layout = MemoryLayout(architecture: machine.architecture)
    let limit = UInt64(1) << UInt64(machine.architecture.physicalAddressBits)
    for (index, size) in sizes.enumerated() {
      if let size, size.size > 0 {
        if let ranges = layout.place(size.size, limit: limit) {
          for number in ranges.indices { marks[.memory(node: index, range: number)] = position(size.node) }
          machine.nodes[index].memory = ranges
        } else {
          report(
            size.node,
            "\(machine.nodes[index].id): memory: expected addresses below \(Quantity.hexadecimal(limit)) (\(machine.architecture))"
          )
        }
      }
      for range in machine.nodes[index].memory { layout.skip(past: range.end.rawValue) }
    }
  }

  private mutating func readCPUs(_ list: Yams.Node, homes: [Int: NodeID], into machine: inout MachineDescription) {
    marks[.cpus] = position(list)
    let any = 0...Int(Int32.max)
    for item in items(list, of: "cpus", most: MachineDescription.maximumCPUs) ?? [] {
      let index = machine.cpus.count
      marks[.cpu(index)] = position(item)
      let known = ["id", "package", "die", "core", "thread"]
      guard let fields = fields(item, of: "CPU", known: known, required: ["id"]), fields["id"] != nil,
        let id = integer(fields["id"], "CPU id", in: 0...(MachineDescription.maximumCPUs - 1))
      else { continue }
      let package = integer(fields["package"], "CPU \(id): package", in: any, default: 0) ?? 0
      let die = integer(fields["die"], "CPU \(id): die", in: any, default: 0) ?? 0
      let core = integer(fields["core"], "CPU \(id): core", in: any, default: id) ?? 0
      let thread = integer(fields["thread"], "CPU \(id): thread", in: any, default: 0) ?? 0
      if homes[id] == nil { report(item, "CPU \(id) is in no node: expected it in one node's cpus") }
      let node = homes[id] ?? machine.nodes.first?.id ?? NodeID(0)
      machine.cpus.append(CPU(id: CPUID(id), package: package, die: die, core: core, thread: thread, node: node))
    }
    let described = Set(machine.cpus.map(\.id.rawValue))
    let missing = homes.keys.filter { !described.contains($0) }.sorted()
    if !missing.isEmpty { report(list, "cpus: nodes name CPU \(RangeList.list(missing)), which has no entry") }
  }

  /// Without `distances`: 10 to itself, 20 to others, as Linux has it without a SLIT.
  private mutating func readDistances(_ node: Yams.Node?, into machine: inout MachineDescription) {
    guard let node else {
      machine.distances = machine.nodes.indices.map { from in machine.nodes.indices.map { $0 == from ? 10 : 20 } }
      return
    }
    marks[.distances] = position(node)
    for item in items(node, of: "distances", most: MachineDescription.maximumNodes) ?? [] {
      marks[.distanceRow(machine.distances.count)] = position(item)
      let row = items(item, of: "distances", most: MachineDescription.maximumNodes) ?? []
      // Any number below 2^16 is read here; what a distance may be is for `validate` to say.
      machine.distances.append(row.map { integer($0, "distance", in: 0...65535) ?? 10 })
    }
  }

  // MARK: Caches, regions, attributes

  private mutating func cache(_ item: Yams.Node) -> Cache? {
    let known = ["level", "kind", "size", "line", "ways", "cpus"]
    guard let fields = fields(item, of: "cache", known: known, required: ["level", "size", "cpus"]),
      let levelNode = fields["level"], let sizeNode = fields["size"], let cpusNode = fields["cpus"]
    else { return nil }
    let level = integer(levelNode, "cache: level", in: 1...4)
    let kind = fields["kind"].map { word($0, "cache: kind", Cache.Kind.self) } ?? .unified
    let size = size(sizeNode, "cache: size")
    let line = integer(fields["line"], "cache: line", in: 0...65536, default: 64)
    let ways = integer(fields["ways"], "cache: ways", in: 0...65536, default: 0)
    guard let cpus = list(cpusNode, "cache: cpus"), let level, let kind, let size, let line, let ways else {
      return nil
    }
    marks[.cache(cacheCount)] = position(item)
    cacheCount += 1
    return Cache(
      level: level, kind: kind, size: ByteCount(size), lineSize: line, ways: ways, cpus: cpus.map { CPUID($0) })
  }

  private mutating func reserved(_ item: Yams.Node) -> ReservedRegion? {
    guard
      let fields = fields(
        item, of: "reserved region", known: ["range", "kind", "description"], required: ["range", "kind"]),
      let rangeNode = fields["range"], let kindNode = fields["kind"]
    else { return nil }
    let range = range(rangeNode, "reserved region")
    let kind = word(kindNode, "reserved region: kind", ReservedRegion.Kind.self)
    let text = fields["description"].map { string($0, "reserved region: description") } ?? ""
    guard let range, let kind, let text else { return nil }
    marks[.reserved(reservedCount)] = position(item)
    reservedCount += 1
    return ReservedRegion(range: range, kind: kind, description: text)
  }

  private mutating func performance(_ item: Yams.Node) -> MemoryPerformance? {
    let numbers = ["read_latency", "write_latency", "read_bandwidth", "write_bandwidth"]
    let required = ["initiator", "target"] + numbers
    guard let fields = fields(item, of: "performance", known: required, required: required),
      fields.count == required.count
    else { return nil }
    let ids = 0...(MachineDescription.maximumNodes - 1)
    let initiator = integer(fields["initiator"], "performance: initiator", in: ids)
    let target = integer(fields["target"], "performance: target", in: ids)
    let values = numbers.map { integer(fields[$0], "performance: \($0)", in: 0...Int(UInt32.max)) }
    guard let initiator, let target, let a = values[0], let b = values[1], let c = values[2], let d = values[3] else {
      return nil
    }
    marks[.performance(performanceCount)] = position(item)
    performanceCount += 1
    return MemoryPerformance(
      initiator: NodeID(initiator), target: NodeID(target), readLatency: a, writeLatency: b, readBandwidth: c,
      writeBandwidth: d)
  }
}
