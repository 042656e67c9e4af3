internal import AddressSpaces
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
    file("proc/meminfo", "proc(5), fs/proc/meminfo.c meminfo_proc_show", renderMeminfo),
    file("proc/uptime", "proc(5), fs/proc/uptime.c", renderUptime),
    file("proc/stat", "proc(5), fs/proc/stat.c", renderSystemStat),
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
  count(&text, "HugePages_Surp:    ", pool.surplus)
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

/// Hundredths of a second since the machine began: a line takes a millisecond. Its CPUs have been idle all the time.
private func renderUptime(_ machine: Machine, _: Instance, _ text: inout TextBuffer) {
  func seconds(_ hundredths: Int, _ end: String) -> String {
    "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)" + end
  }
  let time = Int(machine.line) / 10
  text.append(string: seconds(time, " ") + seconds(time * machine.description.cpus.count, "\n"))
}

/// What ps and its like want to know of the machine: times are in hundredths of a second, and it booted at 0.
private func renderSystemStat(_ machine: Machine, _: Instance, _ text: inout TextBuffer) {
  let time = Int(machine.line) / 10
  text.append(string: "cpu  0 0 0 \(time * machine.description.cpus.count) 0 0 0 0 0 0\n")
  for cpu in machine.description.cpus { text.append(string: "cpu\(cpu.id.rawValue) 0 0 0 \(time) 0 0 0 0 0 0\n") }
  text.append(
    string: """
      intr 0
      ctxt 0
      btime 0
      processes \(machine.users.processesEver)
      procs_running 1
      procs_blocked 0
      softirq 0

      """)
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
