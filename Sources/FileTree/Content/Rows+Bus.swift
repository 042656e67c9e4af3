internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Table {
  /// What the devices' `subsystem` links lead to, and from there back to each device.
  static let busRows: [Row] = [
    bus("cpu", "cpu{cpu}") { "../../../devices/system/cpu/cpu\($0.outer)" },
    bus("memory", "memory{block}") { "../../../devices/system/memory/memory\($0.outer)" },
    bus("node", "node{node}") { "../../../devices/system/node/node\($0.outer)" },
  ]

  private static func bus(_ name: String, _ device: String, _ target: @escaping @Sendable (Instance) -> String) -> Row {
    Row("sys/bus/\(name)/devices/\(device)", 0o777, .link(target), "Documentation/driver-api/driver-model/bus.rst")
  }
}
