internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage

/// A process's directory: fs/proc/base.c, `tgid_base_stuff`.
extension Table {
  private typealias Print = @Sendable (Machine, Process, inout TextBuffer) -> Void

  /// ESRCH where the process has ended since the file was opened.
  private static func process(_ machine: Machine, _ instance: Instance) throws(Errno) -> Process {
    guard let process = machine.users.process(ProcessID(Int32(instance.outer))) else { throw .noSuchProcess }
    return process
  }

  private static func render(_ print: @escaping Print) -> Row.Render {
    { (machine, instance, text) throws(Errno) in print(machine, try process(machine, instance), &text) }
  }

  private static func file(
    _ name: String, _ document: String, opensToTracersOnly: Bool = false, _ print: @escaping Print
  ) -> Row {
    Row("proc/{pid}/" + name, 0o444, .text(render(print)), document, opensToTracersOnly: opensToTracersOnly)
  }

  /// A number from a write of at most 12 bytes, blanks around it left out, and what it is to do (`PROC_NUMBUF`).
  private static func number(
    _ base: Int, _ store: @escaping @Sendable (Machine, Process, Int) throws(Errno) -> Void
  ) -> Row.Store {
    { (machine, instance, bytes) throws(Errno) in
      let number = try signedNumber(bytes, base: base)
      try store(machine, try process(machine, instance), number)
    }
  }
  private static let numberBytes = 12

  static let processRows: [Row] = [
    file("status", "proc(5), fs/proc/array.c proc_pid_status", renderStatus),
    Row(
      "proc/{pid}/stat", 0o444,
      .guarded { (machine, instance, isPrivileged, text) throws(Errno) in
        renderStat(machine, try process(machine, instance), isPrivileged, &text)
      }, "proc(5), fs/proc/array.c do_task_stat"),
    file("limits", "proc(5), fs/proc/base.c proc_pid_limits", renderLimits),
    file("statm", "proc(5), fs/proc/array.c proc_pid_statm") { machine, process, text in
      text.append(string: machine.users.statm(process))
    },
    file("cmdline", "proc(5)") { _, process, text in
      text.append(string: process.name)
      text.append(byte: 0)
    },
    Row(
      "proc/{pid}/comm", 0o644,
      .attribute(
        render { _, process, text in
          text.append(string: process.name)
          text.newline()
        },
        // A process may name its own threads alone (comm_write), and no writer is one of them.
        { (machine, instance, _) throws(Errno) in
          _ = try process(machine, instance)
          throw .invalidArgument
        }), "proc(5)"),
    file("maps", "proc(5), fs/proc/task_mmu.c show_map_vma", opensToTracersOnly: true) { machine, process, text in
      text.append(string: machine.users.maps(process))
    },
    file("smaps", "proc(5), fs/proc/task_mmu.c show_smap", opensToTracersOnly: true) { machine, process, text in
      text.append(string: machine.users.smaps(process))
    },
    file("smaps_rollup", "Documentation/ABI/testing/procfs-smaps_rollup", opensToTracersOnly: true) {
      machine, process, text in
      text.append(string: machine.users.smapsRollup(process))
    },
    file("numa_maps", "numa(7), fs/proc/task_mmu.c show_numa_map", opensToTracersOnly: true) { machine, process, text in
      text.append(string: machine.users.numaMaps(process))
    },
    Row(
      "proc/{pid}/pagemap", 0o400, .bytes(readPagemap, nil), "Documentation/admin-guide/mm/pagemap.rst",
      opensToTracersOnly: true),
    Row(
      "proc/{pid}/mem", 0o600, .bytes(readMemory, writeMemory), "proc(5), fs/proc/base.c mem_rw",
      opensToTracersOnly: true),
    Row(
      "proc/{pid}/clear_refs", 0o200,
      .action(
        number(10) { (machine, process, number) throws(Errno) in
          if number == 4 { return machine.users.clearWritten(by: process) }
          if number == 5 { return process.space.resetHighestResident() }
          guard let areas = UserMemory.ClearedAreas(rawValue: number) else { throw .invalidArgument }
          machine.users.clearReferences(of: process, in: areas)
        }), "proc(5), fs/proc/task_mmu.c clear_refs_write", longestStore: numberBytes),
    file("oom_score", "proc(5), fs/proc/base.c proc_oom_score") { machine, process, text in
      text.append(decimal: machine.users.oomScore(process))
      text.newline()
    },
    Row(
      "proc/{pid}/oom_score_adj", 0o644,
      .attribute(
        render { _, process, text in
          text.append(decimal: process.oomScoreAdjustment)
          text.newline()
        },
        number(0) { (_, process, number) throws(Errno) in
          guard (-1000...1000).contains(number) else { throw .invalidArgument }
          process.oomScoreAdjustment = number
        }), "proc(5), fs/proc/base.c oom_score_adj_write", longestStore: numberBytes),
  ]

  // MARK: pagemap, mem

  /// `pagemap_read`: EINVAL for what is not of whole entries; nothing behind the last address, and of a process that has ended.
  private static let readPagemap: Row.ReadBytes = { (machine, instance, offset, count) throws(Errno) in
    guard let process = machine.users.process(ProcessID(Int32(instance.outer))) else { return [] }
    guard offset % 8 == 0, count % 8 == 0 else { throw .invalidArgument }
    let shift = machine.users.pageShift
    let end = process.space.addressEnd >> shift
    let first = offset / 8
    guard first < end else { return [] }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for page in first..<min(end, first + UInt64(count / 8)) {
      let entry = machine.users.pagemapEntry(process, page: page << shift)
      for byte in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: entry >> UInt64(8 * byte))) }
    }
    return bytes
  }

  /// Nothing is read from, and nothing written to a process that has ended; EIO where nothing is mapped.
  private static let readMemory: Row.ReadBytes = { (machine, instance, offset, count) throws(Errno) in
    guard let process = machine.users.process(ProcessID(Int32(instance.outer))) else { return [] }
    var bytes = [UInt8](repeating: 0, count: count)
    do throws(CallError) {
      // SAFETY: the buffer is written while the array is held.
      let done = try unsafe bytes.withUnsafeMutableBufferPointer { (buffer) throws(CallError) in
        try unsafe machine.users.peek(process, offset, into: UnsafeMutableRawBufferPointer(buffer))
      }
      bytes.removeLast(count - done)
    } catch { throw Errno(rawValue: error.rawValue) }
    return bytes
  }

  private static let writeMemory: Row.WriteBytes = { (machine, instance, offset, bytes) throws(Errno) in
    guard let process = machine.users.process(ProcessID(Int32(instance.outer))) else { return 0 }
    do throws(CallError) {
      // SAFETY: the bytes are read while the array is held.
      return try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(CallError) in
        try unsafe machine.users.poke(process, offset, UnsafeRawBufferPointer(buffer))
      }
    } catch { throw Errno(rawValue: error.rawValue) }
  }
}
