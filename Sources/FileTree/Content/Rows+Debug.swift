internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Table {
  static let debugRows: [Row] = [
    Row("sys/kernel/debug", 0o700, .directory, "Documentation/filesystems/debugfs.rst"),
    Row("sys/kernel/debug/memory", 0o644, .command, "VeridianOS, memory management, \"Debug Commands\""),
  ]

  static let deviceRows: [Row] = [
    Row("dev/mem", 0o640, .memory, "mem(4)")
  ]
}
