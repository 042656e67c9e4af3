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
    #expect(Interpreter(console.machine).replay("fork()", into: &text) == .call)
    #expect(text.string == "[pid 1] fork() = ? no such process\n")
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
      "[pid 2] exit(0)", "mlock(0x10000000, 4096)", "file write log size=4096", "help",
    ]
    for line in changes { #expect(seen.insert(try digest(script + [line])).inserted, "\(line) changes nothing") }
    #expect(seen.count == changes.count + 3)
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
        " 3, 0 of them major: 2 zeroed, 1 copied, 0 written in place, 0 grew a stack, 1 invalid"))
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
