internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Topology

extension Table {
  private static func file(
    _ path: String, _ document: String, _ render: @escaping @Sendable (Machine, Instance, inout TextBuffer) -> Void
  ) -> Row {
    Row(path, 0o444, .text({ (machine, instance, text) throws(Errno) in render(machine, instance, &text) }), document)
  }

  static let procRows: [Row] = [
    Row("proc/self", 0o777, .link({ _ in "1" }), "proc(5)"),
    file("proc/{pid}/status", "proc(5), fs/proc/array.c proc_pid_status", renderStatus),
    file("proc/meminfo", "proc(5), fs/proc/meminfo.c meminfo_proc_show", renderMeminfo),
    file("proc/cpuinfo", "proc(5), arch/*/kernel/cpu/proc.c show_cpuinfo", renderCPUInfo),
  ]
}

/// The label of a line that has none of its own width.
private func line(_ text: inout TextBuffer, _ label: StaticString, kilobytes: UInt64) {
  text.append(label)
  text.append(decimal: kilobytes, width: 8)
  text.append(" kB\n")
}

private func renderMeminfo(_ machine: Machine, _: Instance, _ text: inout TextBuffer) {
  let usage = machine.usage()
  let frameSize = machine.memory.frameSize
  func pages(_ text: inout TextBuffer, _ label: StaticString, _ count: Int) {
    line(&text, label, kilobytes: frameSize.kilobytes(FrameCount(UInt64(max(0, count)))))
  }
  let cached = usage.node[.nrFilePages] - usage.node[.nrSwapcached]
  pages(&text, "MemTotal:       ", usage.managed)
  pages(&text, "MemFree:        ", usage.free)
  pages(&text, "MemAvailable:   ", machine.availableFrames(usage))
  pages(&text, "Buffers:        ", 0)
  pages(&text, "Cached:         ", cached)
  pages(&text, "SwapCached:     ", usage.node[.nrSwapcached])
  pages(&text, "Active:         ", usage.node[.nrActiveAnon] + usage.node[.nrActiveFile])
  pages(&text, "Inactive:       ", usage.node[.nrInactiveAnon] + usage.node[.nrInactiveFile])
  pages(&text, "Active(anon):   ", usage.node[.nrActiveAnon])
  pages(&text, "Inactive(anon): ", usage.node[.nrInactiveAnon])
  pages(&text, "Active(file):   ", usage.node[.nrActiveFile])
  pages(&text, "Inactive(file): ", usage.node[.nrInactiveFile])
  pages(&text, "Unevictable:    ", usage.node[.nrUnevictable])
  pages(&text, "Mlocked:        ", usage.mlocked)
  if machine.hasHighMemory {
    pages(&text, "HighTotal:      ", usage.highManaged)
    pages(&text, "HighFree:       ", usage.highFree)
    pages(&text, "LowTotal:       ", usage.managed - usage.highManaged)
    pages(&text, "LowFree:        ", usage.free - usage.highFree)
  }
  pages(&text, "SwapTotal:      ", 0)
  pages(&text, "SwapFree:       ", 0)
  line(&text, "Zswap:          ", kilobytes: 0)
  line(&text, "Zswapped:       ", kilobytes: 0)
  pages(&text, "Dirty:          ", usage.node[.nrDirty])
  pages(&text, "Writeback:      ", usage.node[.nrWriteback])
  pages(&text, "AnonPages:      ", usage.node[.nrAnonPages])
  pages(&text, "Mapped:         ", usage.node[.nrMapped])
  pages(&text, "Shmem:          ", usage.node[.nrShmem])
  pages(&text, "KReclaimable:   ", usage.node[.nrSlabReclaimable] + usage.node[.nrKernelMiscReclaimable])
  pages(&text, "Slab:           ", usage.node[.nrSlabReclaimable] + usage.node[.nrSlabUnreclaimable])
  pages(&text, "SReclaimable:   ", usage.node[.nrSlabReclaimable])
  pages(&text, "SUnreclaim:     ", usage.node[.nrSlabUnreclaimable])
  line(&text, "KernelStack:    ", kilobytes: UInt64(usage.node[.nrKernelStack]))
  pages(&text, "PageTables:     ", usage.node[.nrPageTablePages])
  pages(&text, "SecPageTables:  ", usage.node[.nrSecPageTablePages])
  line(&text, "NFS_Unstable:   ", kilobytes: 0)
  pages(&text, "Bounce:         ", usage.bounce)
  pages(&text, "WritebackTmp:   ", usage.node[.nrWritebackTemp])
  pages(&text, "CommitLimit:    ", Int(clamping: machine.commitLimit))
  pages(&text, "Committed_AS:   ", machine.committedFrames)
  line(&text, "VmallocTotal:   ", kilobytes: machine.kernelHeapKilobytes)
  pages(&text, "VmallocUsed:    ", 0)
  line(&text, "VmallocChunk:   ", kilobytes: 0)
  pages(&text, "Percpu:         ", 0)
  // The one column of five digits among these.
  text.append("HardwareCorrupted: ")
  text.append(decimal: frameSize.kilobytes(FrameCount(UInt64(machine.memory.poisonedFrames))), width: 5)
  text.append(" kB\n")
  pages(&text, "AnonHugePages:  ", usage.node[.nrAnonTransparentHugepages])
  pages(&text, "ShmemHugePages: ", usage.node[.nrShmemHugepages])
  pages(&text, "ShmemPmdMapped: ", usage.node[.nrShmemPmdmapped])
  pages(&text, "FileHugePages:  ", usage.node[.nrFileHugepages])
  pages(&text, "FilePmdMapped:  ", usage.node[.nrFilePmdmapped])
  renderHugePages(machine, &text)
  renderDirectMap(machine, &text)
}

/// mm/hugetlb.c, hugetlb_report_meminfo.
private func renderHugePages(_ machine: Machine, _ text: inout TextBuffer) {
  let size = machine.hugePages.defaultSize
  let pool = machine.hugePages.total(size)
  func count(_ text: inout TextBuffer, _ label: StaticString, _ value: Int) {
    text.append(label)
    text.append(decimal: value, width: 5)
    text.newline()
  }
  count(&text, "HugePages_Total:   ", pool.total)
  count(&text, "HugePages_Free:    ", pool.free)
  count(&text, "HugePages_Rsvd:    ", pool.reserved)
  count(&text, "HugePages_Surp:    ", 0)
  line(&text, "Hugepagesize:   ", kilobytes: size.kilobytes)
  let all = machine.hugePages.sizes.reduce(UInt64(0)) { $0 + $1.kilobytes * UInt64(machine.hugePages.total($1).total) }
  line(&text, "Hugetlb:        ", kilobytes: all)
}

/// arch/x86/mm/pat/set_memory.c, arch_report_meminfo; other architectures have no such lines.
private func renderDirectMap(_ machine: Machine, _ text: inout TextBuffer) {
  guard machine.description.architecture == .x86_64 || machine.description.architecture == .i386 else { return }
  let map = machine.directMap()
  line(&text, "DirectMap4k:    ", kilobytes: map[0].kilobytes)
  line(&text, "DirectMap2M:    ", kilobytes: map[1].kilobytes)
  if machine.description.architecture == .x86_64 { line(&text, "DirectMap1G:    ", kilobytes: map[2].kilobytes) }
}

/// fs/proc/array.c, fs/proc/task_mmu.c task_mem, kernel/cgroup/cpuset.c: what describes a process's memory and where it may run.
private func renderStatus(_ machine: Machine, _ instance: Instance, _ text: inout TextBuffer) {
  guard let process = machine.status(of: ProcessID(Int32(instance.outer))) else { return }
  func field(_ text: inout TextBuffer, _ label: StaticString, kilobytes: UInt64) {
    text.append(label)
    text.append(decimal: kilobytes, width: 8)
    text.append(" kB\n")
  }
  text.append(
    string: """
      Name:\t\(process.name)
      Umask:\t0022
      State:\tS (sleeping)
      Tgid:\t\(instance.outer)
      Ngid:\t0
      Pid:\t\(instance.outer)
      PPid:\t\(process.parent.rawValue)
      TracerPid:\t0
      Uid:\t0\t0\t0\t0
      Gid:\t0\t0\t0\t0
      FDSize:\t64
      Groups:\t\u{20}
      NStgid:\t\(instance.outer)
      NSpid:\t\(instance.outer)
      NSpgid:\t0
      NSsid:\t0

      """)
  field(&text, "VmPeak:\t", kilobytes: process.peakSize.kilobytes)
  field(&text, "VmSize:\t", kilobytes: process.size.kilobytes)
  field(&text, "VmLck:\t", kilobytes: process.locked.kilobytes)
  field(&text, "VmPin:\t", kilobytes: 0)
  field(&text, "VmHWM:\t", kilobytes: process.peakResident.kilobytes)
  field(&text, "VmRSS:\t", kilobytes: process.resident.kilobytes)
  field(&text, "RssAnon:\t", kilobytes: process.residentAnonymous.kilobytes)
  field(&text, "RssFile:\t", kilobytes: process.residentFile.kilobytes)
  field(&text, "RssShmem:\t", kilobytes: process.residentShared.kilobytes)
  field(&text, "VmData:\t", kilobytes: process.data.kilobytes)
  field(&text, "VmStk:\t", kilobytes: process.stack.kilobytes)
  field(&text, "VmExe:\t", kilobytes: process.executable.kilobytes)
  field(&text, "VmLib:\t", kilobytes: 0)
  field(&text, "VmPTE:\t", kilobytes: process.pageTables.kilobytes)
  field(&text, "VmSwap:\t", kilobytes: 0)
  field(&text, "HugetlbPages:\t", kilobytes: process.hugePages.kilobytes)
  text.append("Threads:\t1\nCpus_allowed:\t")
  text.append(cpuMap: process.cpusAllowed, of: machine)
  text.append("\nCpus_allowed_list:\t")
  text.append(cpuList: process.cpusAllowed)
  // MAX_NUMNODES is 1024 on x86-64, and the mask as wide.
  text.append("\nMems_allowed:\t")
  let nodes = machine.nodesWithMemory(in: nil).map(\.rawValue)
  text.append(string: RangeList.mask(nodes, width: 1024))
  text.append("\nMems_allowed_list:\t")
  text.append(string: RangeList.list(nodes))
  text.newline()
}

/// The lines that lscpu reads, one block a CPU; the words of each architecture's own show_cpuinfo.
private func renderCPUInfo(_ machine: Machine, _: Instance, _ text: inout TextBuffer) {
  for cpu in machine.description.cpus {
    text.append("processor\t: ")
    text.append(decimal: cpu.id.rawValue)
    text.newline()
    switch machine.description.architecture {
    case .x86_64, .i386:
      let siblings = machine.package(of: cpu)
      let cores = Set(siblings.compactMap { machine.cpu($0)?.core }).count
      let bits = machine.translationBits
      text.append(
        string: """
          vendor_id\t: Veridian
          cpu family\t: 6
          model\t\t: 1
          model name\t: veridianfs emulated CPU
          stepping\t: 1
          physical id\t: \(cpu.package)
          siblings\t: \(siblings.count)
          core id\t\t: \(cpu.core)
          cpu cores\t: \(cores)
          flags\t\t: \(machine.description.architecture == .x86_64 ? "fpu pse pae pge lm nx pdpe1gb" : "fpu pse pae pge nx")
          address sizes\t: \(bits.physical) bits physical, \(bits.virtual) bits virtual

          """)
    case .aarch64:
      text.append(
        "CPU implementer\t: 0x00\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x000\nCPU revision\t: 0\n")
    case .riscv64:
      text.append("hart\t\t: ")
      text.append(decimal: cpu.id.rawValue)
      text.append("\nisa\t\t: rv64imafdc\nmmu\t\t: ")
      text.append(string: machine.pagingName)
      text.newline()
    }
    text.newline()
  }
}
