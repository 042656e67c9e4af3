internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import Topology

extension Table {
  /// What may stand between braces in a row's path.
  static let placeholders: [String: Placeholder] = [
    "node": Placeholder(
      values: { machine, _ in machine.description.nodes.map(\.id.rawValue) },
      contains: { machine, _, value in machine.node(NodeID(value)) != nil }),
    "cpu": Placeholder(
      values: { machine, _ in machine.description.cpus.map(\.id.rawValue) },
      contains: { machine, _, value in machine.cpu(CPUID(value)) != nil }),
    "block": Placeholder(
      values: { machine, _ in machine.blocks.map(\.index) },
      contains: { machine, _, value in machine.block(value) != nil }, changes: true),
    // Below a node: its own CPUs and blocks.
    "local cpu": Placeholder(
      values: { machine, instance in machine.cpus(of: instance.outerNode).map(\.rawValue) },
      contains: { machine, instance, value in machine.cpu(CPUID(value))?.node == instance.outerNode }),
    "local block": Placeholder(
      values: { machine, instance in machine.blocks.lazy.filter { $0.node == instance.outerNode }.map(\.index) },
      contains: { machine, instance, value in machine.block(value)?.node == instance.outerNode }, changes: true),
    // Below a CPU or a block: the node that it belongs to.
    "cpu's node": Placeholder(
      values: { machine, instance in (machine.cpu(instance.outerCPU)?.node.rawValue).map { [$0] } ?? [] },
      contains: { machine, instance, value in machine.cpu(instance.outerCPU)?.node.rawValue == value }),
    "block's node": Placeholder(
      values: { machine, instance in (machine.block(instance.outer)?.node.rawValue).map { [$0] } ?? [] },
      contains: { machine, instance, value in machine.block(instance.outer)?.node.rawValue == value }),
    // Below a CPU: its caches, numbered as `indexN`.
    "cache": Placeholder(
      values: { machine, instance in Array(machine.caches(of: instance.outerCPU).indices) },
      contains: { machine, instance, value in machine.caches(of: instance.outerCPU).indices.contains(value) }),
    // Sizes of huge pages, in KiB.
    "huge kB": Placeholder(
      values: { machine, _ in machine.hugePages.sizes.map { Int($0.kilobytes) } },
      contains: { machine, _, value in machine.hugePages.sizes.contains(.kib(UInt64(value))) }),
    // Initiators and targets of the best access class.
    "initiator": Placeholder(
      values: { machine, instance in machine.initiators(of: instance.outerNode).map(\.rawValue) },
      contains: { machine, instance, value in machine.initiators(of: instance.outerNode).contains(NodeID(value)) }),
    "target": Placeholder(
      values: { machine, instance in machine.targets(of: instance.outerNode).map(\.rawValue) },
      contains: { machine, instance, value in machine.targets(of: instance.outerNode).contains(NodeID(value)) }),
    "pid": Placeholder(
      values: { machine, _ in machine.processIDs.map { Int($0.rawValue) } },
      contains: { machine, _, value in machine.users.process(ProcessID(Int32(value))) != nil }, changes: true,
      subject: { machine, value in machine.users.process(ProcessID(Int32(value))) }),
  ]
}
