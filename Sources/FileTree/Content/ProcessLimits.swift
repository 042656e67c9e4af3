internal import AddressSpaces
internal import Machine
internal import MemoryTypes

/// fs/proc/base.c, proc_pid_limits: what setrlimit(2) sets, as init has it (`INIT_RLIMITS`). Those of memory govern here; the others say
/// what a process is told that does not ask for anything else.
func renderLimits(_ machine: Machine, _ process: Process, _ text: inout TextBuffer) {
  let unlimited = UInt64.max
  let limits = machine.users.limits
  let processes = machine.users.processLimit
  let rows: [(name: String, soft: UInt64, hard: UInt64, unit: String?)] = [
    ("Max cpu time", unlimited, unlimited, "seconds"),
    ("Max file size", unlimited, unlimited, "bytes"),
    ("Max data size", limits.data, limits.data, "bytes"),
    ("Max stack size", process.space.stackLimit, unlimited, "bytes"),
    ("Max core file size", 0, unlimited, "bytes"),
    ("Max resident set", unlimited, unlimited, "bytes"),
    ("Max processes", processes, processes, "processes"),
    ("Max open files", 1024, 4096, "files"),
    ("Max locked memory", limits.lockedMemory, limits.lockedMemory, "bytes"),
    ("Max address space", limits.addressSpace, limits.addressSpace, "bytes"),
    ("Max file locks", unlimited, unlimited, "locks"),
    ("Max pending signals", processes, processes, "signals"),
    ("Max msgqueue size", 819_200, 819_200, "bytes"),
    ("Max nice priority", 0, 0, nil),
    ("Max realtime priority", 0, 0, nil),
    ("Max realtime timeout", unlimited, unlimited, "us"),
  ]
  func column(_ cell: String, _ width: Int) -> String {
    cell + String(repeating: " ", count: max(0, width - cell.utf8.count)) + " "
  }
  func value(_ limit: UInt64) -> String { limit == unlimited ? "unlimited" : "\(limit)" }
  text.append(string: column("Limit", 25) + column("Soft Limit", 20) + column("Hard Limit", 20) + "Units     \n")
  for row in rows {
    text.append(string: column(row.name, 25) + column(value(row.soft), 20) + column(value(row.hard), 20))
    // A limit without a unit ends where the unit would begin.
    if let unit = row.unit { text.append(string: String(column(unit, 10).dropLast())) }
    text.newline()
  }
}
