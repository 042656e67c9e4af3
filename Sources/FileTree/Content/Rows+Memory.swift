internal import Commands
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology

extension Table {
  private static let memory = "sys/devices/system/memory"
  private static let document = "Documentation/ABI/testing/sysfs-devices-memory"

  private static func blockRow(
    _ name: String, _ render: @escaping @Sendable (Machine, MemoryBlock, inout TextBuffer) -> Void
  ) -> Row {
    Row(memory + "/memory{block}/" + name, 0o444, .text(blockRender(render)), document)
  }

  private static func blockRender(_ render: @escaping @Sendable (Machine, MemoryBlock, inout TextBuffer) -> Void)
    -> Row.Render
  {
    { (machine, instance, text) throws(Errno) in
      guard let block = machine.block(instance.outer) else { throw .operationNotSupportedByDevice }
      render(machine, block, &text)
      text.newline()
    }
  }

  /// EINVAL where the block is so already and that counts as an error (state_store), EBUSY where it cannot be done.
  private static func setState(
    _ machine: Machine, _ instance: Instance, to state: MemoryBlock.State, evenIfAlready: Bool
  ) throws(Errno) {
    guard let block = machine.block(instance.outer) else { throw .operationNotSupportedByDevice }
    guard evenIfAlready || machine.state(of: block) != state else { throw .invalidArgument }
    do throws(MemoryError) { try machine.setState(of: block, to: state) } catch { throw Errno(error) }
  }

  static let memoryRows: [Row] =
    [
      Row(
        memory + "/block_size_bytes", 0o444,
        .text({ (machine, _, text) throws(Errno) in
          text.append(hex: machine.description.memoryBlockSize.rawValue)
          text.newline()
        }), document),
      ueventRow(memory),
      Row(
        memory + "/memory{block}/state", 0o644,
        .attribute(
          blockRender { machine, block, text in text.append(string: machine.state(of: block).rawValue) },
          { (machine, instance, bytes) throws(Errno) in
            let words = ["offline", "online", "online_kernel", "online_movable"]
            let wanted = try choose(bytes, words)
            try setState(machine, instance, to: wanted > 0 ? .online : .offline, evenIfAlready: false)
          }), document, notify: true),
      Row(
        memory + "/memory{block}/online", 0o644,
        .attribute(
          blockRender { machine, block, text in text.append(decimal: machine.state(of: block) == .online ? 1 : 0) },
          { (machine, instance, bytes) throws(Errno) in
            // strtobool, as drivers/base/core.c's online_store.
            let wanted = try switchValue(bytes)
            try setState(machine, instance, to: wanted ? .online : .offline, evenIfAlready: true)
          }), document, notify: true),
      blockRow("phys_index") { _, block, text in text.append(hex: UInt64(block.index), width: 8) },
      blockRow("phys_device") { _, _, text in text.append("0") },
      // Since Linux 5.10 every block is said to be removable: whether it is shows when it is tried.
      blockRow("removable") { _, _, text in text.append("1") },
      blockRow("valid_zones") { machine, block, text in
        text.append(string: machine.onlyZone(of: block)?.description ?? "none")
      },
      ueventRow(memory + "/memory{block}"),
      Row(memory + "/memory{block}/subsystem", 0o777, .link({ _ in "../../../../bus/memory" }), document),
      Row(
        memory + "/memory{block}/node{block's node}", 0o777, .link({ "../../node/node\($0.inner)" }), document),
    ] + powerRows(below: memory) + powerRows(below: memory + "/memory{block}")
}
