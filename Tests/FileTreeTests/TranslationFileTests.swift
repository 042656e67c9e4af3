import AddressSpaces
import FileTree
import Machine
import MemoryTypes
import SystemPackage
import Testing
import Topology
import Translation

/// `sys/kernel/debug/page_tables` and its kin say what walks find; `sys/kernel/debug/tlb` what CPUs have done.
@Suite struct TranslationFileTests {
  /// A line of ptdump: `0xSTART-0xEND   [0xPHYSICAL] SIZE BITS LEVEL`.
  private struct Line {
    var start: UInt64
    var end: UInt64
    var size: Substring
    var words: [Substring]

    init?(_ text: Substring) {
      let words = text.split(separator: " ")
      let ends = words[0].split(separator: "-").compactMap { UInt64($0.dropFirst(2), radix: 16) }
      guard ends.count == 2, words.count > 2 else { return nil }
      (start, end) = (ends[0], ends[1])
      let place = words[1].hasPrefix("0x") ? 2 : 1
      (size, self.words) = (words[place], Array(words.dropFirst(place + 1)))
    }

    /// In bytes, from the number and its unit.
    var bytes: UInt64? {
      guard let number = UInt64(size.dropLast()), let unit = Array("KMGTPE").firstIndex(of: size.last ?? "?") else {
        return nil
      }
      return number << UInt64(10 * (unit + 1))
    }
  }

  private func lines(_ text: String) throws -> [Line] {
    try text.lines.filter { !$0.hasPrefix("---[") }.map { line in try #require(Line(line), "\(line)") }
  }

  @Test func beginsAsLinuxPrintsIt() throws {
    let served = try Served()
    let text = try served.text("sys/kernel/debug/page_tables/kernel")
    #expect(
      text.hasPrefix(
        """
        ---[ User Space ]---
        0x0000000000000000-0xffff800000000000    16777088T                               pgd
        ---[ Kernel Space ]---
        ---[ Low Kernel Mapping ]---

        """), "\(text)")
    #expect(text.contains("RW         PSE     GLB NX pud\n"), "the map of memory, in pages of 1 GiB: \(text)")
    for name in ["vmalloc() Area", "Kernel stacks", "MMIO"] { #expect(text.contains("---[ \(name) ]---\n")) }
    for name in ["End of Low Kernel Mapping", "vmalloc() End"] { #expect(!text.contains(name), "no such on x86-64") }
    #expect(text.contains("RW PWT PCD         GLB NX pte\n"), "devices")
  }

  @Test(arguments: [
    (Preset.aarch64, "Linear Mapping start", ["Linear Mapping end", "vmalloc() area", "vmalloc() end"]),
    (.riscv64, "Linear mapping", ["vmalloc() area", "vmalloc() end"]),
    (.i386HighMemory, "User Space", ["Kernel Mapping", "vmalloc() Area", "vmalloc() End"]),
  ])
  func partsAreCalledAsEachArchitectureCallsThem(preset: Preset, first: String, rest: [String]) throws {
    let name = preset == .i386HighMemory ? "page_tables/kernel" : "kernel_page_tables"
    let headings = try Served(preset).text("sys/kernel/debug/" + name).lines.filter { $0.hasPrefix("---[") }
    #expect(headings == ([first] + rest + ["Kernel stacks", "Kernel stacks end", "MMIO"]).map { "---[ \($0) ]---" })
  }

  @Test(arguments: [Preset.fourNode, .i386HighMemory, .aarch64, .riscv64])
  func everyLineSaysWhatWalksFind(preset: Preset) throws {
    let served = try Served(preset)
    let format = served.machine.format
    let isX86 = format.architecture == .x86_64 || format.architecture == .i386
    let path = isX86 ? "sys/kernel/debug/page_tables/kernel" : "sys/kernel/debug/kernel_page_tables"
    let lines = try lines(served.text(path))
    let table = served.machine.kernelTable
    let mask: UInt64 = format.architecture == .i386 ? 0xFFFF_FFFF : .max
    var mapped: UInt64 = 0
    for (line, next) in zip(lines, lines.dropFirst()) where format.architecture != .riscv64 {
      #expect(line.end == next.start, "\(preset): without gaps")
    }
    for line in lines {
      #expect(line.bytes == (line.end &- line.start) & mask, "\(preset): \(line)")
      let isMapped = line.words.contains("RW") || line.words.contains("ro") || line.words.contains("R")
      if line.start < format.layout.kernel.first.rawValue { continue }
      let middle = line.start &+ ((line.end &- line.start) & mask) / 2
      for address in [line.start, middle, line.end &- 1] {
        #expect((table.translate(VirtualAddress(address & mask)) != nil) == isMapped, "\(preset): \(line)")
      }
      if isMapped { mapped += line.end - line.start }
    }
    var expected: UInt64 = 0
    table.forEachExtent { expected += $0.pageCount * format.pageSize(level: $0.level).rawValue }
    #expect(mapped == expected, "\(preset)")
    #expect(
      failure { () throws(Errno) in
        try served.attributes(isX86 ? "sys/kernel/debug/kernel_page_tables" : "sys/kernel/debug/page_tables")
      } == .noSuchFileOrDirectory)
  }

  @Test func showsTheSpaceThatCPUZeroHasLoaded() throws {
    let served = try Served()
    let kernel = try lines(served.text("sys/kernel/debug/page_tables/current_kernel"))
    let own = try #require(kernel.first { $0.start == 0x1000 })
    #expect(own.end == 0x5000 && own.words == ["USR", "RW", "NX", "pte"] && own.size == "16K")
    #expect(kernel.contains { $0.start >= 0xFFFF_8000_0000_0000 && $0.words.contains("GLB") })
    let user = try lines(served.text("sys/kernel/debug/page_tables/current_user"))
    #expect(user.contains { $0.start == 0x1000 && $0.words == ["USR", "RW", "NX", "pte"] })
    #expect(!user.contains { $0.words.contains("GLB") })
    _ = try served.command("alloc")
    #expect(failure { () throws(Errno) in try served.write("x", to: "sys/kernel/debug/page_tables/kernel") } != nil)
  }

  @Test func theCeilingDecidesWhenARangeIsFlushedWhole() throws {
    let served = try Served()
    let ceiling = "sys/kernel/debug/x86/tlb_single_page_flush_ceiling"
    func stat(_ name: String) throws -> Int { try #require(try served.text("sys/kernel/debug/tlb/stats").value(name)) }
    #expect(try served.text(ceiling) == "33\n")
    for line in [
      "[pid 1] mmap(0x60000000, 32768, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
      "[pid 1] store(0x60000000, \"a\")", "[pid 1] store(0x60001000, \"a\")", "[pid 1] store(0x60006000, \"a\")",
    ] { _ = try served.command(line) }
    func flushes(_ line: String) throws -> [Int] {
      let before = (try stat("shootdowns_full"), try stat("nr_tlb_local_flush_one"))
      _ = try served.command(line)
      return [try stat("shootdowns_full") - before.0, try stat("nr_tlb_local_flush_one") - before.1]
    }
    #expect(try flushes("[pid 1] mprotect(0x60000000, 32768, PROT_READ)") == [0, 8])
    try served.write("7\n", to: ceiling)
    #expect(try served.text(ceiling) == "7\n")
    #expect(try flushes("[pid 1] munmap(0x60000000, 32768)") == [1, 0])
    try served.write("0x10", to: ceiling)
    #expect(try served.text(ceiling) == "16\n")
    for (text, errno) in [
      ("-1", Errno.invalidArgument), ("", .invalidArgument), ("x", .invalidArgument), ("4294967296", .outOfRange),
    ] {
      #expect(failure { () throws(Errno) in try served.write(text, to: ceiling) } == errno || text.isEmpty, "\(text)")
    }
    #expect(try served.text(ceiling) == "16\n")
  }

  @Test func showsWhatACPUHoldsAndHasDone() throws {
    let served = try Served()
    func cpu(_ number: Int) throws -> String { try served.text("sys/kernel/debug/tlb/cpu\(number)") }
    #expect(try cpu(2).hasPrefix("loaded the kernel\n") && cpu(2).value("walks") == 0)
    _ = try served.command("translate 0x1000 pid=1 cpu=2")
    let text = try cpu(2)
    #expect(text.hasPrefix("loaded process 1\n") && text.value("walks") == 1 && text.value("switches") == 1)
    #expect(text.value("walk_references_pte") == 1 && text.value("walk_references_pgd") == 1)
    #expect(text.contains("0x0000000000001000 -> 0x") && text.contains(" 4 kB process 1 PRESENT|WRITABLE|USER|"))
    _ = try served.command("translate 0x1008 cpu=2")
    #expect(try cpu(2).value("l1_hits_4kB") == 1)
    _ = try served.command("tlb flush full cpus=2-3")
    #expect(try !cpu(2).contains("0x0000000000001000 -> "))
    #expect(try cpu(2).value("requests_received") == 1 && cpu(2).value("requests_acknowledged") == 1)
    let stats = try served.text("sys/kernel/debug/tlb/stats")
    #expect(stats.value("requests_sent") == stats.value("requests_acknowledged"))
    #expect(stats.value("cost_ns") == 4200 * stats.value("requests_sent")!)
    _ = try served.command("tlb switch 2 0")
    #expect(try cpu(2).hasPrefix("loaded process 1, lazily\n"))
  }

  @Test func everyProcessHasAKernelStackWithAGuardPage() throws {
    let served = try Served()
    let stack = try #require(served.machine.users.process(ProcessID(1))?.kernelStack)
    let table = served.machine.kernelTable
    #expect(served.machine.format.layout.kernelStacks.contains(stack))
    for page in UInt64(0)..<4 { #expect(table.translate(VirtualAddress(stack.rawValue + page << 12)) != nil) }
    #expect(table.translate(VirtualAddress(stack.rawValue - 1)) == nil, "the guard")
    #expect(try served.text("proc/meminfo").value("KernelStack:") == 16)
    _ = try served.command("[pid 1] fork()")
    let child = try #require(served.machine.users.process(ProcessID(2))?.kernelStack)
    #expect(child.rawValue == stack.rawValue - (5 << 12))
    #expect(try served.text("proc/meminfo").value("KernelStack:") == 32)
    _ = try served.command("[pid 2] exit(0)")
    #expect(table.translate(child) == nil)
    #expect(try served.text("proc/meminfo").value("KernelStack:") == 16)
  }
}
