import AddressSpaces
import Commands
import Machine
import MemoryTypes
import SystemPackage
import Testing
import Topology

/// Processes as words and calls make them, and what becomes of lines that name none.
@Suite struct ProcessTests {
  @Test func startsProcesses() throws {
    let console = try Console()
    #expect(try console.answer("spawn") == "2\n")
    #expect(try console.answer("spawn hog cpu=5") == "3\n")
    #expect(try console.answer("spawn a-name-of-more-than-fifteen-bytes") == "4\n")
    let processes = console.machine.withLock {
      console.machine.users.pids.compactMap { console.machine.users.process($0) }
    }
    #expect(processes.map(\.name) == ["init", "process", "hog", "a-name-of-more-"])
    #expect(processes.map(\.cpu.rawValue) == [0, 0, 5, 0] && processes.map(\.parent.rawValue) == [0, 1, 1, 1])
    // Its memory is its CPU's node's: CPU 5 is of node 1.
    _ = try console.answer(
      "[pid 3] mmap(0x10000000, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    _ = try console.answer("[pid 3] store(0x10000000, \"x\")")
    #expect(try console.answer("[pid 3] numa_maps(0x10000000)").hasSuffix("= default N1=1\n"))
    #expect(try console.answer("[pid 4] load(0x1000, 1)").hasSuffix("= SIGSEGV SEGV_MAPERR\n"), "a space of its own")
    #expect(console.refusal("spawn x cpu=99").errno == .operationNotSupportedByDevice)
    #expect(console.refusal("spawn x y").errno == .invalidArgument)
  }

  @Test func refusesCallsOfNobody() throws {
    let console = try Console()
    for (line, errno, reason) in [
      ("[pid 9] fork()", Errno.noSuchProcess, "column 6: no such process: 9"),
      ("[pid 0] fork()", .noSuchProcess, "no such process: 0"),
      ("[pid 1] reboot(0)", .noFunction, "column 9: unknown call reboot"),
      ("munmap(0x1000, x)", .invalidArgument, "column 16: 'x' is no number"),
      ("[pid 9] munmap(0x1000)", .invalidArgument, "LENGTH is missing"),
    ] {
      let refusal = console.refusal(line)
      #expect(refusal.errno == errno && refusal.reason.contains(reason), "\(line): \(refusal)")
    }
    _ = try console.answer("exit(0)")
    #expect(console.refusal("fork()").errno == .noSuchProcess)
    // A transcript has it as its outcome.
    var text = TextBuffer()
    #expect(Interpreter(console.machine).replay("fork()", into: &text) == .refused)
    #expect(text.string == "[pid 1] fork() = ? no such process\n")
  }

  /// Reads and writes longer than a page are carried out to where the area ends, or refused; never cut.
  @Test func carriesOutLongAccesses() throws {
    let console = try Console()
    let area = "[pid 1] mmap(0x10000000, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    _ = try console.answer(area)
    func outcome(_ call: String) throws -> String {
      String(try console.answer("[pid 1] " + call).split(separator: ") = ", maxSplits: 1)[1].dropLast())
    }
    #expect(try outcome("store(0x1000e000, \"\(String(repeating: "x", count: 8192))\")") == "8192 faults=2")
    #expect(try outcome("load(0x1000e000, 8192)") == "\"\(String(repeating: "x", count: 8192))\" faults=0")
    #expect(try outcome("load(0x1000f000, 8192)") == "SIGSEGV SEGV_MAPERR")
    #expect(try outcome("store(0x1000f000, \"\(String(repeating: "x", count: 5000))\")") == "SIGSEGV SEGV_MAPERR")
    #expect(try outcome("load(0x10000000, 65536)").hasSuffix("faults=14"))
    for length in ["65537", "-1"] {
      #expect(console.refusal("[pid 1] load(0x10000000, \(length))").reason.contains("= -1 EINVAL"))
    }
    let status = try outcome("move_pages(0x0fff0000, 100, -1, 0)").dropFirst(3).dropLast().split(separator: ", ")
    #expect(status.count == 100 && status[29] == "-14" && status[30] == "0" && status[31] == "0" && status[32] == "-14")
  }

  @Test func mapsBelowTwoGibibytes() throws {
    func map(_ console: Console, _ hint: String, _ flags: String, length: String = "8192") throws -> UInt64? {
      let line = "[pid 1] mmap(\(hint), \(length), PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|\(flags), -1, 0)"
      let answer = (try? console.answer(line)) ?? console.refusal(line).reason
      return UInt64(answer.split(separator: " = 0x").last?.prefix { $0 != "\n" } ?? "", radix: 16)
    }
    var description = Preset.fourNode.machine
    description.settings.aslr = false
    let console = try Console(description)
    #expect(try map(console, "NULL", "MAP_32BIT") == 0x4000_0000)
    #expect(try map(console, "NULL", "MAP_32BIT") == 0x4000_2000, "the lowest free range")
    #expect(try map(console, "0x20000000", "MAP_32BIT") == 0x2000_0000, "a hint that is free")
    #expect(try map(console, "0x7ffff000", "MAP_32BIT") == 0x4000_4000, "a hint that reaches too far")
    #expect(try map(console, "NULL", "MAP_32BIT", length: "0x3fffc000") == nil)
    #expect(try #require(try map(console, "NULL", "0")) > 1 << 32)
    #expect(try map(console, "0x100000000", "MAP_32BIT|MAP_FIXED") == 1 << 32)
    let moved = try #require(try map(Console(), "NULL", "MAP_32BIT"))
    #expect((0x4000_0000..<0x4200_0000).contains(moved))
    #expect(try #require(try map(Console(.aarch64), "NULL", "MAP_32BIT")) > 1 << 32, "only x86-64 has it")
  }

  /// The numbers are what `taskset` passes and strace prints; a mask of words is what the oracle's scripts have.
  @Test func takesCPUsByNumber() throws {
    let console = try Console()
    func allowed() -> [Int] {
      console.machine.withLock { console.machine.users.process(ProcessID(1))!.allowedCPUs.map(\.rawValue) }
    }
    for (cpus, expected) in [
      ("[7]", [7]), ("[4]", [4]), ("[2 3]", [2, 3]), ("[0, 5]", [0, 5]), ("[0 1 2 3 4 5 6 7]", Array(0..<8)),
      ("[0x7]", [0, 1, 2]), ("[1 100]", [1]), ("[0]", [0]),
    ] {
      _ = try console.answer("[pid 1] sched_setaffinity(0, 128, \(cpus))")
      #expect(allowed() == expected, "\(cpus)")
    }
    for cpus in ["[100]", "[]", "[0x0]", "[0x100]", "[18446744073709551615]"] {
      #expect(console.refusal("[pid 1] sched_setaffinity(0, 128, \(cpus))").reason.contains("EINVAL"), "\(cpus)")
    }
    #expect(allowed() == [0])
    #expect(console.refusal("[pid 1] sched_setaffinity(0, 128, [0-3])").reason.contains("column 37: a number or ']'"))
    #expect(try console.answer("move_pages(0, 0, NULL, NULL, NULL, 0)").hasSuffix("= 0 []\n"))
    #expect(console.refusal("move_pages(0, 1, NULL, NULL, NULL, 0)").reason.contains("EFAULT"))
  }

  @Test func limitsProcesses() throws {
    let console = try Console()
    let limit = 31337
    #expect(console.machine.withLock { console.machine.users.processLimit } == 15668, "of each user, half as many")
    let client = console.open()
    defer { client.close() }
    for _ in 1..<limit { try client.write("[pid 1] fork()\n") }
    #expect(console.refusal("[pid 1] fork()").reason.contains("= -1 EAGAIN"))
    #expect(console.refusal("spawn").errno == .resourceTemporarilyUnavailable)
    _ = try console.answer("[pid 2] exit(0)")
    #expect(try console.answer("spawn") == "\(limit + 1)\n")
    #expect(console.refusal("[pid 1] fork()").reason.contains("= -1 EAGAIN"))
  }

  @Test func describesCalls() throws {
    let console = try Console()
    let help = try console.answer("help")
    #expect(help.lines.contains { $0.hasPrefix("mmap ") } && help.lines.contains { $0.hasPrefix("spawn ") })
    #expect(
      try console.answer("help munmap") == "usage: [pid N] munmap(ADDRESS, LENGTH)\nmunmap takes areas away\n")
    #expect(console.refusal("help munmap twice").errno == .invalidArgument)
  }
}

/// `check`'s number for the whole state.
@Suite struct DigestTests {
  private let script = [
    "alloc order=3 node=1 owner=me", "alloc count=700", "spawn other cpu=4", "fork()",
    "mmap(0x10000000, 0x400000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
    "store(0x10000000, \"hello\")",
    "[pid 3] mmap(NULL, 0x20000, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0)",
    "mbind(0x10000000, 0x400000, MPOL_INTERLEAVE, [0xf], 64, 0)", "store(0x10005000, \"x\")", "free owner=me",
    "file create log size=1M", "translate 0x10000000 pid=1 cpu=2",
  ]

  private func digest(_ script: [String], _ preset: Preset = .fourNode, seed: UInt64 = 0) throws -> String {
    var description = preset.machine
    description.settings.seed = seed
    let console = try Console(description)
    for line in script {
      let refusal = console.refusal(line)
      if preset == .fourNode { #expect(refusal.errno == nil, "\(refusal.reason)") }
    }
    return try console.answer("check")
  }

  @Test(arguments: [Preset.fourNode, .aarch64, .riscv64, .i386HighMemory]) func isTheSameForTheSameLines(
    _ preset: Preset
  ) throws {
    let first = try digest(script, preset)
    #expect(first.hasPrefix("no difference, state "))
    #expect(try digest(script, preset) == first)
  }

  @Test func changesWithWhatever() throws {
    var seen: Set<String> = [try digest(script), try digest([]), try digest(script, seed: 1)]
    let changes = [
      "store(0x10000001, \"a\")", "load(0x10000000, 1)", "load(0x10300000, 1)", "brk(4096)", "fork()",
      "set_mempolicy(MPOL_LOCAL, NULL, 0)", "mprotect(0x10000000, 4096, PROT_NONE)", "alloc", "tlb flush full",
      "translate 0x10000000 cpu=2", "sched_setaffinity(0, 8, [0x2])", "munmap(0x10000000, 0x1000)", "plug 0 256M",
      "[pid 2] exit(0)", "mlock(0x10000000, 4096)", "file write log size=4096",
    ]
    for line in changes { #expect(seen.insert(try digest(script + [line])).inserted, "\(line) changes nothing") }
    #expect(seen.count == changes.count + 3)
  }

  /// Looks and refusals leave what was there, and a reset what booting left.
  @Test func staysWhereNothingChanges() throws {
    let console = try Console()
    let booted = try console.answer("check")
    for line in ["check", "help", "mem", "list", "[pid 1] maps()", "dump_pt 0x1000"] { _ = try console.answer(line) }
    for line in ["spawn a b c", "alloc order=99", "[pid 99] fork()", "munmap(0x1000, x)", "reboot(0)"] {
      #expect(console.refusal(line).errno != nil)
    }
    #expect(try console.answer("check") == booted)
    for line in script { _ = try? console.answer(line) }
    #expect(try console.answer("check") != booted)
    _ = try console.answer("reset")
    #expect(try console.answer("check") == booted)
  }

  /// Nothing of the state is looked at that was never used: 16 TiB take no longer than 5 GiB.
  @Test(.enabled(if: !isSanitized, "a sanitizer leaves no room for 16 TiB")) func looksAtWhatWasUsedAlone() throws {
    let console = try Console(.tera)
    let clock = ContinuousClock()
    var answer = ""
    let time = try clock.measure { answer = try console.answer("check") }
    #expect(answer.hasPrefix("no difference, state ") && time < .seconds(10), "\(time)")
  }
}

/// Scripts and logs without a mount.
@Suite struct ReplayTests {
  @Test func endsInFigures() throws {
    let machine = try Machine(Preset.fourNode.machine)
    var replay = Replay(machine, summarizes: true)
    var text = TextBuffer()
    for line in [
      "# a comment", "", "mmap(0x10000000, 0x4000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
      "store(0x10000000, \"x\")", "store(0x10001000, \"x\")", "load(0x10000000, 1)", "fork()",
      "store(0x10000000, \"y\")", "load(0x0, 1)", "alloc order=2 node=3", "nonsense", "munmap(0x10000000, 0x4000)",
    ] { replay.carryOut(line, into: &text) }
    let before = text.string.lines.count
    replay.printSummary(into: &text)
    let summary = text.string.lines.dropFirst(before).map(String.init)
    #expect(summary.first == "Summary")
    func value(_ label: String) -> String { summary.first { $0.hasPrefix(label) } ?? "" }
    #expect(value("lines").hasSuffix(" 10: 8 calls, 1 words, 1 refused"))
    #expect(
      value("faults").hasSuffix(
        " 3, 0 of them major; 2 pages zeroed, 1 copied, 0 written in place; stacks grown 0 times; 1 accesses refused"))
    #expect(value("node 3").contains(" 1 placed"))
    #expect(
      value("TLB").contains("accesses") && value("shootdowns").contains("requests") && value("peak").contains("kB"))
    #expect(value("recorded").isEmpty)
  }

  @Test func countsWhatALogCameTo() throws {
    let machine = try Machine(Preset.fourNode.machine)
    var replay = Replay(machine, summarizes: true)
    var text = TextBuffer()
    for line in [
      "100 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000",
      "100 munmap(0x7f0000000000, 8192) = -1 EINVAL (Invalid argument)", "100 write(1, \"\", 0) = 0", " L 04222cac,8",
    ] { replay.carryOut(line, into: &text) }
    replay.printSummary(into: &text)
    #expect(text.string.contains("2 calls, 1 with another result; 1 accesses, 0 signals; 1 lines skipped"))
    #expect(text.string.contains("lines        4: 0 calls, 0 words, 0 refused"))
  }
}
