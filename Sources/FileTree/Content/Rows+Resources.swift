internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology

extension Table {
  static let resourceRows: [Row] = [
    Row("proc/iomem", 0o444, .guarded(renderResources), "proc(5), kernel/resource.c r_show")
  ]
}

/// Readers without privilege see the names and how they nest, and zeros for addresses.
private func renderResources(_ machine: Machine, _: Instance, _ isPrivileged: Bool, _ text: inout TextBuffer) {
  let resources = machine.description.resources(adding: machine.addedMemory)
  for resource in resources {
    // MAX_IORES_LEVEL
    text.append(repeating: 0x20, count: 2 * min(resource.depth, 5))
    text.append(hex: isPrivileged ? resource.range.start.rawValue : 0, width: 8)
    text.append("-")
    text.append(hex: isPrivileged ? resource.range.end.rawValue - 1 : 0, width: 8)
    text.append(" : ")
    text.append(string: resource.name)
    text.newline()
  }
}
