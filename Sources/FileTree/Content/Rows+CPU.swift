internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology

/// Linux's CPULIST_FILE_MAX_BYTES at NR_CPUS 8192: the st_size of files that hold a list of CPUs.
let cpuListFileSize: Int64 = 28672

extension Table {
  private static let cpu = "sys/devices/system/cpu"
  private static let document = "Documentation/ABI/testing/sysfs-devices-system-cpu"

  /// A file of one CPU's.
  private static func cpuRow(
    _ path: String, size: Int64? = nil, exists: @escaping @Sendable (Machine, Instance) -> Bool = { _, _ in true },
    _ render: @escaping @Sendable (Machine, CPU, Instance, inout TextBuffer) -> Void
  ) -> Row {
    Row(
      cpu + "/cpu{cpu}/" + path, 0o444,
      .text({ (machine, instance, text) throws(Errno) in
        guard let found = machine.cpu(instance.outerCPU) else { throw .operationNotSupportedByDevice }
        render(machine, found, instance, &text)
        text.newline()
      }), document, size: size, exists: exists)
  }

  /// A map and a list of the CPUs that share something with one: two files.
  private static func siblingRows(
    _ map: String, _ list: String, _ siblings: @escaping @Sendable (Machine, CPU) -> [CPUID]
  ) -> [Row] {
    [
      cpuRow("topology/" + map) { machine, cpu, _, text in text.append(cpuMap: siblings(machine, cpu), of: machine) },
      cpuRow("topology/" + list, size: cpuListFileSize) { machine, cpu, _, text in
        text.append(cpuList: siblings(machine, cpu))
      },
    ]
  }

  /// A file of one of a CPU's caches'.
  private static func cacheRow(
    _ name: String, _ render: @escaping @Sendable (Machine, Cache, inout TextBuffer) -> Void
  ) -> Row {
    cpuRow("cache/index{cache}/" + name) { machine, cpu, instance, text in
      render(machine, machine.caches(of: cpu.id)[instance.inner], &text)
    }
  }

  private static func listRow(_ name: String, _ cpus: @escaping @Sendable (Machine) -> [CPUID]) -> Row {
    Row(
      cpu + "/" + name, 0o444,
      .text({ (machine, _, text) throws(Errno) in
        text.append(cpuList: cpus(machine))
        text.newline()
      }), document)
  }

  static let cpuRows: [Row] =
    [
      listRow("online") { $0.description.cpus.map(\.id) },
      listRow("possible") { $0.description.cpus.map(\.id) },
      listRow("present") { $0.description.cpus.map(\.id) },
      listRow("offline") { _ in [] },
      listRow("isolated") { _ in [] },
      Row(
        cpu + "/kernel_max", 0o444, .text({ (_, _, text) throws(Errno) in text.append("8191\n") }),
        "Documentation/admin-guide/cputopology.rst"),
      ueventRow(cpu),
      Row(cpu + "/cpu{cpu}/subsystem", 0o777, .link({ _ in "../../../../bus/cpu" }), document),
      Row(
        cpu + "/cpu{cpu}/node{cpu's node}", 0o777, .link({ "../../node/node\($0.inner)" }),
        "Documentation/ABI/stable/sysfs-devices-node"),
      ueventRow(cpu + "/cpu{cpu}"),
      cpuRow("topology/physical_package_id") { _, cpu, _, text in text.append(decimal: cpu.package) },
      cpuRow("topology/die_id") { _, cpu, _, text in text.append(decimal: cpu.die) },
      cpuRow("topology/core_id") { _, cpu, _, text in text.append(decimal: cpu.core) },
      // BAD_APICID: no cluster is told apart from the second-level cache.
      cpuRow("topology/cluster_id") { _, _, _, text in text.append("65535") },
      cacheRow("coherency_line_size") { _, cache, text in text.append(decimal: cache.lineSize) },
      cacheRow("id") { machine, cache, text in text.append(decimal: machine.id(of: cache)) },
      cacheRow("level") { _, cache, text in text.append(decimal: cache.level) },
      cacheRow("number_of_sets") { _, cache, text in text.append(decimal: cache.sets) },
      cacheRow("physical_line_partition") { _, _, text in text.append("1") },
      cacheRow("shared_cpu_list") { _, cache, text in text.append(cpuList: cache.cpus) },
      cacheRow("shared_cpu_map") { machine, cache, text in text.append(cpuMap: cache.cpus, of: machine) },
      cacheRow("size") { _, cache, text in
        text.append(decimal: cache.size.kilobytes)
        text.append("K")
      },
      cacheRow("type") { _, cache, text in text.append(string: cache.kind.rawValue) },
      cacheRow("ways_of_associativity") { _, cache, text in text.append(decimal: cache.ways) },
    ]
    + siblingRows("thread_siblings", "thread_siblings_list") { $0.threads(of: $1) }
    + siblingRows("core_cpus", "core_cpus_list") { $0.threads(of: $1) }
    + siblingRows("cluster_cpus", "cluster_cpus_list") { $0.cluster(of: $1) }
    + siblingRows("die_cpus", "die_cpus_list") { $0.die(of: $1) }
    + siblingRows("core_siblings", "core_siblings_list") { $0.package(of: $1) }
    + siblingRows("package_cpus", "package_cpus_list") { $0.package(of: $1) }
    + powerRows(below: cpu) + powerRows(below: cpu + "/cpu{cpu}")
}

extension TextBuffer {
  /// `0-3,8`, as Linux's `%*pbl` prints a mask.
  mutating func append(cpuList cpus: [CPUID]) { append(string: RangeList.list(cpus.map(\.rawValue))) }

  /// Hexadecimal words of 32 bits, as wide as the machine's CPU numbers need, as Linux's `%*pb` prints a mask.
  mutating func append(cpuMap cpus: [CPUID], of machine: Machine) {
    append(string: RangeList.mask(cpus.map(\.rawValue), width: machine.cpuNumbers))
  }
}
