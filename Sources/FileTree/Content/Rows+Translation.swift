internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Topology
internal import Translation

extension Table {
  private static let x86Dump = "arch/x86/mm/debug_pagetables.c, arch/x86/mm/dump_pagetables.c note_page"
  private static let tlb = "VeridianOS, memory management, \"TLB Management\""

  static let translationRows: [Row] = [
    Row("sys/kernel/debug/page_tables", 0o755, .directory, x86Dump, exists: { machine, _ in isX86(machine) }),
    dump("page_tables/kernel", x86Dump, exists: isX86) { machine, text in
      var dump = PageTableDump(machine.format, from: 0)
      dump.note(gapAt: 0, into: &text)
      dump.note(entriesOf: machine.kernelTable, into: &text)
      dump.finish(into: &text)
    },
    // `current` is what CPU 0 has loaded: the CPU that orders are carried out on.
    dump("page_tables/current_kernel", x86Dump, exists: isX86) { machine, text in
      var dump = PageTableDump(machine.format, from: 0)
      if let current = current(machine) {
        dump.note(entriesOf: current, into: &text)
      } else {
        dump.note(gapAt: 0, into: &text)
      }
      dump.note(entriesOf: machine.kernelTable, into: &text)
      dump.finish(into: &text)
    },
    // What a process sees in user mode where page tables are isolated: nothing of the kernel's.
    dump("page_tables/current_user", x86Dump, exists: isX86) { machine, text in
      var dump = PageTableDump(machine.format, from: 0)
      if let current = current(machine) {
        dump.note(entriesOf: current, into: &text)
      } else {
        dump.note(gapAt: 0, into: &text)
      }
      dump.note(gapAt: machine.format.layout.kernel.first.rawValue, into: &text)
      dump.finish(into: &text)
    },
    dump(
      "kernel_page_tables", "arch/arm64/mm/ptdump.c, arch/riscv/mm/ptdump.c note_page", exists: { !isX86($0) }
    ) { machine, text in
      var dump = PageTableDump(machine.format, from: machine.format.layout.physicalMap.first.rawValue)
      dump.note(entriesOf: machine.kernelTable, into: &text)
      dump.finish(into: &text)
    },
    Row(
      "sys/kernel/debug/x86/tlb_single_page_flush_ceiling", 0o600,
      .attribute(
        { (machine, _, text) throws(Errno) in
          text.append(decimal: machine.users.mmu.singlePageFlushCeiling)
          text.newline()
        },
        { (machine, _, bytes) throws(Errno) in
          // kstrtoint with base 0, and EINVAL below 0.
          machine.users.mmu.singlePageFlushCeiling = try unsignedNumber(bytes, base: 0, limit: UInt64(Int32.max))
        }), "arch/x86/mm/tlb.c tlbflush_write_file", exists: { machine, _ in isX86(machine) }),
    Row("sys/kernel/debug/tlb/stats", 0o444, .text({ (machine, _, text) in renderStatistics(machine, &text) }), tlb),
    Row(
      "sys/kernel/debug/tlb/cpu{cpu}", 0o444,
      .text({ (machine, instance, text) throws(Errno) in
        do throws(MemoryError) { try renderCPU(machine, instance.outerCPU, &text) } catch {
          throw .operationNotSupportedByDevice
        }
      }), tlb),
  ]

  private static func dump(
    _ name: String, _ document: String, exists: @escaping @Sendable (Machine) -> Bool,
    _ render: @escaping @Sendable (Machine, inout TextBuffer) -> Void
  ) -> Row {
    Row(
      "sys/kernel/debug/" + name, 0o400, .text({ (machine, _, text) in render(machine, &text) }), document,
      exists: { machine, _ in exists(machine) })
  }

  @Sendable private static func isX86(_ machine: Machine) -> Bool {
    machine.description.architecture == .x86_64 || machine.description.architecture == .i386
  }

  /// The space that CPU 0 has loaded.
  private static func current(_ machine: Machine) -> PageTable? {
    guard let loaded = (try? machine.users.mmu.loadedSpace(on: CPUID(0))) ?? nil else { return nil }
    return machine.users.process(ProcessID(Int32(bitPattern: loaded)))?.space.pageTable
  }
}

private func line(_ text: inout TextBuffer, _ name: String, _ value: UInt64) {
  text.append(string: name)
  text.append(byte: 0x20)
  text.append(decimal: value)
  text.newline()
}

/// What all CPUs together have done; those that Linux counts (CONFIG_DEBUG_TLBFLUSH) under its names.
private func renderStatistics(_ machine: Machine, _ text: inout TextBuffer) {
  let totals = machine.users.mmu.shootdowns
  let values: [(String, UInt64)] = [
    ("shootdowns_single", totals.single), ("shootdowns_range", totals.range), ("shootdowns_global", totals.global),
    ("shootdowns_full", totals.full), ("deferred", totals.deferred), ("batched", totals.batched),
    ("requests_sent", totals.sent), ("requests_acknowledged", totals.acknowledged),
    ("requests_avoided", totals.avoided), ("nr_tlb_remote_flush", totals.remote),
    ("nr_tlb_remote_flush_received", totals.sent), ("nr_tlb_local_flush_all", totals.localFull),
    ("nr_tlb_local_flush_one", totals.localPages), ("cost_ns", totals.nanoseconds),
  ]
  for (name, value) in values { line(&text, name, value) }
  var sum = [UInt64](repeating: 0, count: 8)
  for cpu in machine.description.cpus {
    guard let counters = try? machine.users.mmu.counters(of: cpu.id) else { continue }
    let own = [
      counters.firstHitCount, counters.secondHitCount, counters.walks, counters.referenceCount, counters.faults,
      counters.switches, counters.pagesFlushed, counters.fullFlushes,
    ]
    for index in sum.indices { sum[index] += own[index] }
  }
  let names = [
    "l1_hits", "l2_hits", "walks", "walk_references", "faults", "switches", "pages_flushed", "full_flushes",
  ]
  for (name, value) in zip(names, sum) { line(&text, name, value) }
}

/// A CPU's own counters, and every translation that it holds.
private func renderCPU(_ machine: Machine, _ cpu: CPUID, _ text: inout TextBuffer) throws(MemoryError) {
  let mmu = machine.users.mmu
  let counters = try mmu.counters(of: cpu)
  text.append("loaded ")
  text.append(string: try mmu.loadedSpace(on: cpu).map { "process \($0)" } ?? "the kernel")
  text.append(try mmu.isLazy(cpu) ? ", lazily\n" : "\n")
  for level in 0..<machine.format.levels where machine.format.hasLeaves(level: level) {
    let size = machine.format.pageSize(level: level).kilobytes
    line(&text, "l1_hits_\(size)kB", counters.firstHits[level])
    line(&text, "l2_hits_\(size)kB", counters.secondHits[level])
  }
  line(&text, "walks", counters.walks)
  line(&text, "walks_from_cached_tables", counters.shortWalks)
  for level in 0..<machine.format.levels {
    line(&text, "walk_references_\(machine.format.linuxName(level: level))", counters.references[level])
  }
  let values: [(String, UInt64)] = [
    ("faults", counters.faults), ("switches", counters.switches), ("requests_received", counters.received),
    ("requests_acknowledged", counters.acknowledged), ("pages_flushed", counters.pagesFlushed),
    ("full_flushes", counters.fullFlushes), ("late_flushes", counters.lateFlushes),
  ]
  for (name, value) in values { line(&text, name, value) }
  for entry in try mmu.cachedTranslations(on: cpu) {
    text.append("0x")
    text.append(hex: entry.address.rawValue, width: 16)
    text.append(" -> 0x")
    text.append(hex: entry.physical.rawValue)
    text.append(string: " \(machine.format.pageSize(level: entry.level).kilobytes) kB ")
    text.append(string: entry.space.map { "process \($0) " } ?? "kernel ")
    text.append(string: "\(entry.flags)\n")
  }
}
