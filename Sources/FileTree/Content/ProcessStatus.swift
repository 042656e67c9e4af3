internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import Topology

/// The process that a child's children go to when it ends, or its own: 0 for those that the kernel started.
private func parent(_ process: Process, _ machine: Machine) -> Int32 {
  if process.parent.rawValue == 0 || machine.users.process(process.parent) != nil { return process.parent.rawValue }
  return 1
}

/// fs/proc/array.c, fs/proc/task_mmu.c task_mem, kernel/cgroup/cpuset.c. What a process has not here (threads, signals) reads as it does of one
/// that does not use it; what describes the CPU's speculation is left out.
func renderStatus(_ machine: Machine, _ process: Process, _ text: inout TextBuffer) {
  let pid = process.pid.rawValue
  text.append(
    string: """
      Name:\t\(process.name)
      Umask:\t0022
      State:\tS (sleeping)
      Tgid:\t\(pid)
      Ngid:\t0
      Pid:\t\(pid)
      PPid:\t\(parent(process, machine))
      TracerPid:\t0
      Uid:\t0\t0\t0\t0
      Gid:\t0\t0\t0\t0
      FDSize:\t64
      Groups:\t\u{20}
      NStgid:\t\(pid)
      NSpid:\t\(pid)
      NSpgid:\t0
      NSsid:\t0

      """)
  renderMemory(machine, process, &text)
  text.append(
    string: """
      CoreDumping:\t0
      THP_enabled:\t1
      Threads:\t1
      SigQ:\t0/\(machine.users.processLimit)
      SigPnd:\t0000000000000000
      ShdPnd:\t0000000000000000
      SigBlk:\t0000000000000000
      SigIgn:\t0000000000000000
      SigCgt:\t0000000000000000
      CapInh:\t0000000000000000
      CapPrm:\t000001ffffffffff
      CapEff:\t000001ffffffffff
      CapBnd:\t000001ffffffffff
      CapAmb:\t0000000000000000
      NoNewPrivs:\t0
      Seccomp:\t0
      Seccomp_filters:\t0

      """)
  let (storeBypass, indirectBranch) = speculation(machine.description.architecture)
  text.append(string: "Speculation_Store_Bypass:\t\(storeBypass)\nSpeculationIndirectBranch:\t\(indirectBranch)\n")
  text.append("Cpus_allowed:\t")
  text.append(cpuMap: process.allowedCPUs, of: machine)
  text.append("\nCpus_allowed_list:\t")
  text.append(cpuList: process.allowedCPUs)
  // MAX_NUMNODES is 1024 on x86-64, and the mask as wide.
  text.append("\nMems_allowed:\t")
  let nodes = machine.nodesWithMemory(in: nil).map(\.rawValue)
  text.append(string: RangeList.mask(nodes, width: 1024))
  text.append("\nMems_allowed_list:\t")
  text.append(string: RangeList.list(nodes))
  text.append("\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n")
}

/// `arch_prctl_spec_ctrl_get` in words: on x86 the oracle's, elsewhere those of a processor that needs no mitigation.
private func speculation(_ architecture: Architecture) -> (storeBypass: String, indirectBranch: String) {
  switch architecture {
  case .x86_64, .i386: ("not vulnerable", "always enabled")
  case .aarch64: ("not vulnerable", "unknown")
  case .riscv64: ("unknown", "unsupported")
  }
}

private func renderMemory(_ machine: Machine, _ process: Process, _ text: inout TextBuffer) {
  let counts = process.space.counts
  func field(_ text: inout TextBuffer, _ label: StaticString, pages: UInt64) {
    text.append(label)
    text.append(decimal: machine.memory.frameSize.kilobytes(FrameCount(pages)), width: 8)
    text.append(" kB\n")
  }
  field(&text, "VmPeak:\t", pages: counts.highestTotal)
  field(&text, "VmSize:\t", pages: counts.total)
  field(&text, "VmLck:\t", pages: counts.locked)
  field(&text, "VmPin:\t", pages: 0)
  field(&text, "VmHWM:\t", pages: max(counts.highestResident, counts.resident))
  field(&text, "VmRSS:\t", pages: counts.resident)
  field(&text, "RssAnon:\t", pages: counts.anonymousResident)
  field(&text, "RssFile:\t", pages: counts.fileResident)
  field(&text, "RssShmem:\t", pages: counts.sharedResident)
  field(&text, "VmData:\t", pages: counts.data)
  field(&text, "VmStk:\t", pages: counts.stack)
  // No program was loaded: whatever can be executed is a library's, as task_mem counts.
  field(&text, "VmExe:\t", pages: 0)
  field(&text, "VmLib:\t", pages: counts.executable)
  field(&text, "VmPTE:\t", pages: process.space.tablePages)
  field(&text, "VmSwap:\t", pages: 0)
  field(&text, "HugetlbPages:\t", pages: counts.hugeTLB)
}

/// The 52 fields of proc(5), in its order; 0 where nothing is counted. Readers who might not trace the process see no address, and not that
/// it waits.
func renderStat(_ machine: Machine, _ process: Process, _ isPrivileged: Bool, _ text: inout TextBuffer) {
  let counts = process.space.counts
  let size = counts.total << machine.users.pageShift
  func guarded<Value>(_ value: Value, else hidden: Value) -> String { "\(isPrivileged ? value : hidden)" }
  var fields: [String] = ["\(process.pid.rawValue)", "(\(process.name))", "S", "\(parent(process, machine))"]
  // Group, session, terminal, its group; PF_SUPERPRIV.
  fields += ["0", "0", "0", "-1", "256"]
  // Faults, minor and major, each followed by the children's; four times; priority, nice, threads, timer, birth.
  fields += [
    "\(process.minorFaults)", "0", "\(process.majorFaults)", "0", "0", "0", "0", "0", "20", "0", "1", "0", "0",
  ]
  fields += ["\(size)", "\(counts.resident)", "18446744073709551615"]
  // Code from and to (1 is what others see), the stack's first address; stack and instruction pointer, four masks of signals.
  fields += [guarded(0, else: 1), guarded(0, else: 1), guarded(process.space.stackStart, else: 0)]
  fields += Array(repeating: "0", count: 6)
  // Whether it waits; two that are 0 always. The signal at its end: SIGCHLD. Then its CPU, and priority, policy, delays and guests' times.
  fields += [guarded(1, else: 0), "0", "0", "17", "\(process.cpu.rawValue)"] + Array(repeating: "0", count: 5)
  // Data from and to, the break, arguments and environment from and to, exit code.
  fields += ["0", "0", guarded(process.breakStart, else: 0)] + Array(repeating: "0", count: 5)
  text.append(string: fields.joined(separator: " "))
  text.newline()
}
