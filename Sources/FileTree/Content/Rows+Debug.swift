internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Table {
  static let debugRows: [Row] = [
    Row("sys/kernel/debug", 0o700, .directory, "Documentation/filesystems/debugfs.rst"),
    Row("sys/kernel/debug/memory", 0o644, .command, "VeridianOS, memory management, \"Debug Commands\""),
    // How much of what surrounds a fault on a file's page is mapped with it, in bytes.
    Row(
      "sys/kernel/debug/fault_around_bytes", 0o644,
      .attribute(
        { (machine, _, text) throws(Errno) in
          text.append(decimal: machine.users.faultAroundBytes)
          text.newline()
        },
        { (machine, _, bytes) throws(Errno) in
          // simple_attr_write looks at so many bytes.
          let value = try unsignedNumber(Array(bytes.prefix(23)), base: 0)
          guard machine.users.setFaultAroundBytes(value) else { throw .invalidArgument }
        }), "mm/memory.c fault_around_bytes_set"),
  ]

  static let deviceRows: [Row] = [
    Row("dev/mem", 0o640, .memory, "mem(4)")
  ]
}
