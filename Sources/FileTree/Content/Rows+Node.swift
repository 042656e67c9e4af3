internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Topology

extension Table {
  private static let nodes = "sys/devices/system/node"
  private static let document = "Documentation/ABI/stable/sysfs-devices-node"

  /// A file of the node directory that lists nodes.
  private static func nodeList(_ name: String, _ chosen: @escaping @Sendable (Machine) -> [NodeID]) -> Row {
    Row(
      nodes + "/" + name, 0o444,
      .text({ (machine, _, text) throws(Errno) in
        text.append(string: RangeList.list(chosen(machine).map(\.rawValue)))
        text.newline()
      }), document)
  }

  private static func nodeRow(
    _ name: String, size: Int64? = nil, _ render: @escaping @Sendable (Machine, Node, inout TextBuffer) -> Void
  ) -> Row {
    Row(
      nodes + "/node{node}/" + name, 0o444,
      .text({ (machine, instance, text) throws(Errno) in
        guard let node = machine.node(instance.outerNode) else { throw .operationNotSupportedByDevice }
        render(machine, node, &text)
      }), document, size: size)
  }

  static let nodeRows: [Row] =
    [
      nodeList("online") { $0.description.nodes.map(\.id) },
      nodeList("possible") { $0.description.nodes.map(\.id) },
      nodeList("has_cpu") { machine in machine.description.nodes.map(\.id).filter { !machine.cpus(of: $0).isEmpty } },
      nodeList("has_memory") { $0.nodesWithMemory(in: nil) },
      nodeList("has_normal_memory") { $0.nodesWithMemory(in: .normal) },
      nodeList("has_generic_initiator") { _ in [] },
      ueventRow(nodes),
      nodeRow("meminfo", renderMeminfo),
      nodeRow("numastat", renderNumastat),
      nodeRow("vmstat", renderNodeVmstat),
      nodeRow("distance") { machine, node, text in
        for (index, distance) in machine.distances(from: node.id).enumerated() {
          if index > 0 { text.append(" ") }
          text.append(decimal: distance)
        }
        text.newline()
      },
      nodeRow("cpulist", size: cpuListFileSize) { machine, node, text in
        text.append(cpuList: machine.cpus(of: node.id))
        text.newline()
      },
      nodeRow("cpumap") { machine, node, text in
        text.append(cpuMap: machine.cpus(of: node.id), of: machine)
        text.newline()
      },
      Row(
        nodes + "/node{node}/compact", 0o200,
        .action({ (machine, instance, _) throws(Errno) in machine.compact(instance.outerNode) }), document),
      ueventRow(nodes + "/node{node}"),
      Row(nodes + "/node{node}/cpu{local cpu}", 0o777, .link({ "../../cpu/cpu\($0.inner)" }), document),
      Row(nodes + "/node{node}/memory{local block}", 0o777, .link({ "../../memory/memory\($0.inner)" }), document),
      Row(nodes + "/node{node}/subsystem", 0o777, .link({ _ in "../../../../bus/node" }), document),
      // The directory of the SGX attribute group, which is there, and empty, without SGX.
      Row(nodes + "/node{node}/x86", 0o755, .directory, document) { machine, _ in
        machine.description.architecture == .x86_64
      },
    ] + powerRows(below: nodes) + powerRows(below: nodes + "/node{node}") + accessRows("access0")
    + accessRows("access1")
    + hugePageRows

  // MARK: Memory attributes

  /// What the best initiators see of a node's memory (drivers/base/node.c, ACPI HMAT).
  private static func accessRows(_ access: String) -> [Row] {
    let directory = nodes + "/node{node}/" + access
    let document = "Documentation/admin-guide/mm/numaperf.rst"
    let known: @Sendable (Machine, Instance) -> Bool = { machine, instance in
      machine.bestPerformance(of: instance.outerNode) != nil
    }
    func attribute(_ name: String, _ value: @escaping @Sendable (MemoryPerformance) -> Int) -> Row {
      Row(
        directory + "/initiators/" + name, 0o444,
        .text({ (machine, instance, text) throws(Errno) in
          guard let performance = machine.bestPerformance(of: instance.outerNode) else {
            throw .operationNotSupportedByDevice
          }
          text.append(decimal: value(performance))
          text.newline()
        }), document)
    }
    return [
      Row(directory, 0o755, .directory, document, exists: known),
      ueventRow(directory),
      attribute("read_bandwidth", \.readBandwidth), attribute("read_latency", \.readLatency),
      attribute("write_bandwidth", \.writeBandwidth), attribute("write_latency", \.writeLatency),
      Row(directory + "/initiators/node{initiator}", 0o777, .link({ "../../../node\($0.inner)" }), document),
      Row(directory + "/targets", 0o755, .directory, document),
      Row(directory + "/targets/node{target}", 0o777, .link({ "../../../node\($0.inner)" }), document),
    ] + powerRows(below: directory, hasCallbacks: false)
  }

  // MARK: Huge pages

  private static let hugePageRows: [Row] = {
    let directory = nodes + "/node{node}/hugepages/hugepages-{huge kB}kB"
    let document = "Documentation/admin-guide/mm/hugetlbpage.rst"
    func render(_ value: @escaping @Sendable (HugePagePool) -> Int) -> Row.Render {
      { (machine, instance, text) throws(Errno) in
        text.append(decimal: value(machine.hugePages.pool(instance.outerNode, .kib(UInt64(instance.inner)))))
        text.newline()
      }
    }
    let larger: @Sendable (Machine, Instance) -> Bool = { machine, instance in
      machine.hugePages.nextSmaller(than: .kib(UInt64(instance.inner))) != nil
    }
    return [
      Row(nodes + "/node{node}/hugepages", 0o755, .directory, document),
      Row(
        directory + "/nr_hugepages", 0o644,
        .attribute(
          render(\.total),
          { (machine, instance, bytes) throws(Errno) in
            let wanted = try unsignedNumber(bytes, base: 10)
            machine.resizeHugePages(instance.outerNode, .kib(UInt64(instance.inner)), to: wanted)
          }), document, notify: true),
      Row(directory + "/free_hugepages", 0o444, .text(render(\.free)), document),
      Row(directory + "/surplus_hugepages", 0o444, .text(render(\.surplus)), document),
      Row(
        directory + "/demote", 0o200,
        .action({ (machine, instance, bytes) throws(Errno) in
          let wanted = try unsignedNumber(bytes, base: 10)
          machine.demoteHugePages(instance.outerNode, .kib(UInt64(instance.inner)), wanted)
        }), document, exists: larger),
      Row(
        directory + "/demote_size", 0o644,
        .attribute(
          { (machine, instance, text) throws(Errno) in
            text.append(decimal: machine.hugePages.demotionSize(of: .kib(UInt64(instance.inner)))?.kilobytes ?? 0)
            text.append("kB\n")
          },
          { (machine, instance, bytes) throws(Errno) in
            let sizes = machine.hugePages.sizes
            let chosen = sizes[try choose(bytes, sizes.map { "\($0.kilobytes)kB" })]
            guard machine.hugePages.setDemotionSize(of: .kib(UInt64(instance.inner)), to: chosen) else {
              throw .invalidArgument
            }
          }), document, exists: larger),
    ]
  }()
}

// MARK: Text

/// drivers/base/node.c, node_read_meminfo.
private func renderMeminfo(_ machine: Machine, _ node: Node, _ text: inout TextBuffer) {
  let usage = machine.usage(of: node.id)
  let frameSize = machine.memory.frameSize
  var head = TextBuffer(capacity: 16)
  head.append("Node ")
  head.append(decimal: node.id.rawValue)
  func line(_ text: inout TextBuffer, _ label: StaticString, kilobytes: UInt64) {
    text.append(head)
    text.append(label)
    text.append(decimal: kilobytes, width: 8)
    text.append(" kB\n")
  }
  func pages(_ text: inout TextBuffer, _ label: StaticString, _ count: Int) {
    line(&text, label, kilobytes: frameSize.kilobytes(FrameCount(UInt64(count))))
  }
  func huge(_ text: inout TextBuffer, _ label: StaticString, _ count: Int) {
    text.append(head)
    text.append(label)
    text.append(decimal: count, width: 5)
    text.newline()
  }
  pages(&text, " MemTotal:       ", usage.managed)
  pages(&text, " MemFree:        ", usage.free)
  pages(&text, " MemUsed:        ", usage.managed - usage.free)
  pages(&text, " SwapCached:     ", usage.node[.nrSwapcached])
  pages(&text, " Active:         ", usage.node[.nrActiveAnon] + usage.node[.nrActiveFile])
  pages(&text, " Inactive:       ", usage.node[.nrInactiveAnon] + usage.node[.nrInactiveFile])
  pages(&text, " Active(anon):   ", usage.node[.nrActiveAnon])
  pages(&text, " Inactive(anon): ", usage.node[.nrInactiveAnon])
  pages(&text, " Active(file):   ", usage.node[.nrActiveFile])
  pages(&text, " Inactive(file): ", usage.node[.nrInactiveFile])
  pages(&text, " Unevictable:    ", usage.node[.nrUnevictable])
  pages(&text, " Mlocked:        ", usage.mlocked)
  if machine.hasHighMemory {
    pages(&text, " HighTotal:      ", usage.highManaged)
    pages(&text, " HighFree:       ", usage.highFree)
    pages(&text, " LowTotal:       ", usage.managed - usage.highManaged)
    pages(&text, " LowFree:        ", usage.free - usage.highFree)
  }
  pages(&text, " Dirty:          ", usage.node[.nrDirty])
  pages(&text, " Writeback:      ", usage.node[.nrWriteback])
  pages(&text, " FilePages:      ", usage.node[.nrFilePages])
  pages(&text, " Mapped:         ", usage.node[.nrMapped])
  pages(&text, " AnonPages:      ", usage.node[.nrAnonPages])
  pages(&text, " Shmem:          ", usage.node[.nrShmem])
  line(&text, " KernelStack:    ", kilobytes: UInt64(usage.node[.nrKernelStack]))
  pages(&text, " PageTables:     ", usage.node[.nrPageTablePages])
  pages(&text, " SecPageTables:  ", usage.node[.nrSecPageTablePages])
  line(&text, " NFS_Unstable:   ", kilobytes: 0)
  pages(&text, " Bounce:         ", usage.bounce)
  pages(&text, " WritebackTmp:   ", usage.node[.nrWritebackTemp])
  pages(&text, " KReclaimable:   ", usage.node[.nrSlabReclaimable] + usage.node[.nrKernelMiscReclaimable])
  pages(&text, " Slab:           ", usage.node[.nrSlabReclaimable] + usage.node[.nrSlabUnreclaimable])
  pages(&text, " SReclaimable:   ", usage.node[.nrSlabReclaimable])
  pages(&text, " SUnreclaim:     ", usage.node[.nrSlabUnreclaimable])
  pages(&text, " AnonHugePages:  ", usage.node[.nrAnonTransparentHugepages])
  pages(&text, " ShmemHugePages: ", usage.node[.nrShmemHugepages])
  pages(&text, " ShmemPmdMapped: ", usage.node[.nrShmemPmdmapped])
  pages(&text, " FileHugePages: ", usage.node[.nrFileHugepages])
  pages(&text, " FilePmdMapped: ", usage.node[.nrFilePmdmapped])
  let pool = machine.hugePages.pool(node.id, machine.hugePages.defaultSize)
  huge(&text, " HugePages_Total: ", pool.total)
  huge(&text, " HugePages_Free:  ", pool.free)
  huge(&text, " HugePages_Surp:  ", pool.surplus)
}

/// drivers/base/node.c, node_read_numastat.
private func renderNumastat(_ machine: Machine, _ node: Node, _ text: inout TextBuffer) {
  let usage = machine.usage(of: node.id)
  func line(_ text: inout TextBuffer, _ label: StaticString, _ statistic: NumaStatistic) {
    text.append(label)
    text.append(decimal: usage.numa[statistic])
    text.newline()
  }
  line(&text, "numa_hit ", .numaHit)
  line(&text, "numa_miss ", .numaMiss)
  line(&text, "numa_foreign ", .numaForeign)
  line(&text, "interleave_hit ", .numaInterleave)
  line(&text, "local_node ", .numaLocal)
  line(&text, "other_node ", .numaOther)
}

/// drivers/base/node.c, node_read_vmstat.
private func renderNodeVmstat(_ machine: Machine, _ node: Node, _ text: inout TextBuffer) {
  let usage = machine.usage(of: node.id)
  func line(_ text: inout TextBuffer, _ name: String, _ value: Int) {
    text.append(string: name)
    text.append(byte: 0x20)
    text.append(decimal: value)
    text.newline()
  }
  for statistic in ZoneStatistic.allCases { line(&text, statistic.name, usage.zone[statistic]) }
  for statistic in NumaStatistic.allCases { line(&text, statistic.name, usage.numa[statistic]) }
  for statistic in NodeStatistic.allCases { line(&text, statistic.name, usage.shown(statistic)) }
}
