internal import Commands
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Topology

/// drivers/base/memory.c: the blocks in which memory comes and goes.
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

  /// Where each word of `state` and `auto_online_blocks` leads, in the order of `online_type_to_str`.
  private static let words = OnlinePolicy.allCases.map(\.rawValue)

  /// EBUSY, EINVAL where it cannot be done (offline_pages, online_pages).
  private static func set(_ block: MemoryBlock, of machine: Machine, to policy: OnlinePolicy) throws(Errno) {
    do throws(MemoryError) {
      if let place = policy.place {
        try machine.setOnline(block, as: place)
      } else {
        try machine.setOffline(block)
      }
    } catch { throw Errno(error) }
  }

  /// A file that takes an address, and does something to it.
  private static func addressRow(
    _ name: String, _ document: String, _ store: @escaping @Sendable (Machine, UInt64) throws(MemoryError) -> Void
  ) -> Row {
    Row(
      memory + "/" + name, 0o200,
      .action({ (machine, instance, bytes) throws(Errno) in
        let address = try unsignedNumber(bytes, base: 0)
        do throws(MemoryError) { try store(machine, address) } catch { throw Errno(error) }
      }), document)
  }

  static let memoryRows: [Row] =
    [
      Row(
        memory + "/block_size_bytes", 0o444,
        .text({ (machine, _, text) throws(Errno) in
          text.append(hex: machine.description.memoryBlockSize.rawValue)
          text.newline()
        }), document),
      Row(
        memory + "/auto_online_blocks", 0o644,
        .attribute(
          { (machine, _, text) throws(Errno) in
            text.append(string: machine.onlinePolicy.rawValue)
            text.newline()
          },
          { (machine, _, bytes) throws(Errno) in machine.onlinePolicy = OnlinePolicy.allCases[try choose(bytes, words)]
          }), "Documentation/admin-guide/mm/memory-hotplug.rst"),
      Row(
        memory + "/probe", 0o200,
        .action({ (machine, _, bytes) throws(Errno) in
          let address = try unsignedNumber(bytes, base: 0)
          let size = machine.description.memoryBlockSize
          guard address % size.rawValue == 0 else { throw .invalidArgument }
          // A block that reaches the end of all addresses is one that no machine has room for (`mhp_range_allowed`).
          guard address <= UInt64.max - size.rawValue else { throw .argListTooLong }
          let block = PhysicalRange(start: PhysicalAddress(address), size: size)
          do throws(MemoryError) { try machine.addMemory(block, to: nil) } catch { throw Errno(error) }
        }), "Documentation/admin-guide/mm/memory-hotplug.rst"),
      addressRow("soft_offline_page", "Documentation/ABI/testing/sysfs-memory-page-offline") {
        (machine, address) throws(MemoryError) in
        try machine.memory.softOffline(machine.memory.frameSize.frame(of: PhysicalAddress(address)))
      },
      addressRow("hard_offline_page", "Documentation/ABI/testing/sysfs-memory-page-offline") {
        (machine, address) throws(MemoryError) in
        try machine.memory.hardOffline(machine.memory.frameSize.frame(of: PhysicalAddress(address)))
      },
      ueventRow(memory),
      Row(
        memory + "/memory{block}/state", 0o644,
        .attribute(
          blockRender { machine, block, text in text.append(string: machine.state(of: block).rawValue) },
          { (machine, instance, bytes) throws(Errno) in
            let policy = OnlinePolicy.allCases[try choose(bytes, words)]
            guard let block = machine.block(instance.outer) else { throw .operationNotSupportedByDevice }
            // A block that is so already: device_online's and device_offline's 1 is EINVAL to state_store.
            guard (machine.state(of: block) == .offline) != (policy == .offline) else { throw .invalidArgument }
            try set(block, of: machine, to: policy)
          }), document, notify: true),
      Row(
        memory + "/memory{block}/online", 0o644,
        .attribute(
          blockRender { machine, block, text in text.append(decimal: machine.state(of: block) == .online ? 1 : 0) },
          { (machine, instance, bytes) throws(Errno) in
            // strtobool, as drivers/base/core.c's online_store.
            let wanted = try switchValue(bytes)
            guard let block = machine.block(instance.outer) else { throw .operationNotSupportedByDevice }
            try set(block, of: machine, to: wanted ? .online : .offline)
          }), document, notify: true),
      blockRow("phys_index") { _, block, text in text.append(hex: UInt64(block.index), width: 8) },
      blockRow("phys_device") { _, _, text in text.append("0") },
      // Since Linux 5.10 every block is said to be removable: whether it is shows when it is tried.
      blockRow("removable") { _, _, text in text.append("1") },
      blockRow("valid_zones") { machine, block, text in
        let zones = machine.validZones(of: block)
        for (index, zone) in zones.enumerated() {
          if index > 0 { text.append(" ") }
          text.append(string: zone.description)
        }
        if zones.isEmpty { text.append("none") }
      },
      ueventRow(memory + "/memory{block}"),
      Row(memory + "/memory{block}/subsystem", 0o777, .link({ _ in "../../../../bus/memory" }), document),
      Row(
        memory + "/memory{block}/node{block's node}", 0o777, .link({ "../../node/node\($0.inner)" }), document),
    ] + powerRows(below: memory) + powerRows(below: memory + "/memory{block}")
}
