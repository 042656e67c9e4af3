import MemoryTypes

/// Reads a machine off a tree that is laid out as a real machine's `/sys` and `/proc`.
///
/// Trees are often incomplete, old or wrong. What cannot be had is taken as the following says, so that the description is always valid:
/// - no `cpuN`: one CPU for each `processor` line of `/proc/cpuinfo`, else one; no topology: each CPU is a core of package 0;
/// - no nodes: one, with all CPUs and the memory of `/proc/meminfo`;
/// - a CPU that several nodes claim is the node's which links to it (`nodeN/cpuM`), else the first one's; one that none claims is the first
///   node's;
/// - distances of the wrong number: 10 and 20; others than 10 to itself: 10; below 10: 20; above 255: 255; asymmetric ones stay;
/// - CPU numbers with gaps (possible CPUs that are not present): numbered on without gaps, in the same order;
/// - architectures other than the four (ia64, ppc64, s390x, 32-bit Arm): treated as x86-64, 32-bit Arm as AArch64.
struct SystemImporter {
  let tree: SystemTree
  let architecture: Architecture
  /// The number that a CPU of the tree has in the description.
  private(set) var numbers: [Int: CPUID] = [:]

  init(tree: SystemTree) {
    self.tree = tree
    let cpuinfo = tree.text("proc/cpuinfo") ?? ""
    architecture = Self.architecture(cpuinfo: cpuinfo)
    var present = tree.instances(of: "cpu", in: "sys/devices/system/cpu")
    let limit = MachineDescription.maximumCPUs
    if let list = tree.text("sys/devices/system/cpu/present"), let ids = RangeList.parse(list: list, limit: limit),
      !ids.isEmpty
    {
      let named = Set(ids)
      let both = present.filter { named.contains($0) }
      present = both.isEmpty ? ids : both
    }
    if present.isEmpty {
      let count = cpuinfo.split(separator: "\n").count { $0.hasPrefix("processor") && $0.contains(":") }
      present = Array(0..<max(1, count))
    }
    for (number, id) in present.prefix(limit).enumerated() { numbers[id] = CPUID(number) }
  }

  static func architecture(cpuinfo: String) -> Architecture {
    for line in cpuinfo.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { continue }
      let key = parts[0].split(whereSeparator: \.isWhitespace).joined(separator: " ")
      switch key {
      case "flags": return parts[1].split(separator: " ").contains("lm") ? .x86_64 : .i386
      case "CPU implementer", "CPU architecture": return .aarch64
      case "isa" where parts[1].contains("rv64"): return .riscv64
      default: continue
      }
    }
    return .x86_64
  }

  /// - Throws: where the tree has neither `/sys/devices/system` nor `/proc/meminfo`, or nothing of a machine's memory in them.
  func machine(name: String) throws(MachineSourceError) -> MachineDescription {
    guard !tree.names(in: "sys/devices/system").isEmpty || tree.text("proc/meminfo") != nil else {
      throw MachineSourceError(
        lines: [
          "\(tree.root.isEmpty ? "/" : tree.root): not a machine's root: expected sys/devices/system or proc/meminfo in it"
        ])
    }
    let shapes = nodeShapes()
    let cpus = processors(homes: homes(of: shapes))
    var machine = MachineDescription(
      name: name, summary: "imported from \(tree.root.isEmpty ? "/" : tree.root)", architecture: architecture,
      cpus: cpus,
      caches: caches(), nodes: [], distances: distances(of: shapes))
    readMemory(of: shapes, into: &machine)
    guard machine.nodes.contains(where: { !$0.memory.isEmpty }) else {
      throw MachineSourceError(
        lines: [
          "\(tree.root): no memory: expected memory blocks or MemTotal in nodes' meminfo or in proc/meminfo"
        ])
    }
    machine.performance = performance(of: shapes)
    // VMALLOC_TOTAL of a kernel with five levels of page tables.
    if architecture == .x86_64, (tree.text("proc/meminfo") ?? "").contains(" 13743895347199 kB") {
      machine.linuxPaging = .fiveLevel
    }
    return machine
  }
}
