internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology

extension Table {
  private static let tiering = "sys/devices/virtual/memory_tiering"

  /// The memory tiers (mm/memory-tiers.c): one for all nodes that have memory from the start, whatever it is, as Linux 6.1 puts them:
  /// MEMTIER_ADISTANCE_DRAM, tier 4.
  static let tierRows: [Row] = {
    let document = "Documentation/ABI/testing/sysfs-kernel-mm-memory-tiers"
    let tier = tiering + "/memory_tier4"
    return [
      ueventRow(tiering),
      Row(tier, 0o755, .directory, document),
      ueventRow(tier),
      Row(
        tier + "/nodelist", 0o444,
        .text({ (machine, _, text) throws(Errno) in
          text.append(string: RangeList.list(machine.nodesWithMemory(in: nil).map(\.rawValue)))
          text.newline()
        }), document),
      Row(tier + "/subsystem", 0o777, .link({ _ in "../../../../bus/memory_tiering" }), document),
      Row(
        "sys/bus/memory_tiering/devices/memory_tier4", 0o777,
        .link({ _ in "../../../devices/virtual/memory_tiering/memory_tier4" }),
        "Documentation/driver-api/driver-model/bus.rst"),
    ] + powerRows(below: tiering) + powerRows(below: tier)
  }()
}
