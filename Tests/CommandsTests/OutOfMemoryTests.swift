import AddressSpaces
import Commands
import Machine
import MemoryTypes
import SystemPackage
import Testing
import Topology

/// Who ends when there is no memory left (mm/oom_kill.c).
@Suite struct OutOfMemoryTests {
  /// Two nodes of 32 MiB, with two CPUs each.
  private func small() throws -> Console { try Console(SmallMachine([32, 32]).machine.description) }

  /// Lets a process write to `megabytes` MiB of its own from 0x10000000 on; the last outcome.
  private func hog(_ console: Console, _ pid: Int, _ megabytes: Int) throws -> String {
    _ = try console.answer(
      "[pid \(pid)] mmap(0x10000000, \(megabytes << 20), PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED|MAP_NORESERVE, -1, 0)"
    )
    return try console.answer("[pid \(pid)] madvise(0x10000000, \(megabytes << 20), MADV_POPULATE_WRITE)")
  }

  private func pids(_ console: Console) -> [Int32] {
    console.machine.withLock { console.machine.users.pids.map(\.rawValue) }
  }
  private func kills(_ console: Console) -> Int { console.machine.withLock { console.machine.eventCounts()[.oomKill] } }
  private func adjust(_ console: Console, _ pid: Int32, _ value: Int) {
    console.machine.withLock { console.machine.users.process(ProcessID(pid))!.oomScoreAdjustment = value }
  }

  @Test func killsTheHog() throws {
    let console = try small()
    let free = console.free.reduce(0, +)
    _ = try console.answer("spawn hog")
    _ = try console.answer("spawn small cpu=2")
    #expect(try hog(console, 3, 2).hasSuffix("= 0\n"))
    let outcome = try hog(console, 2, 200).lines
    #expect(outcome.first?.hasSuffix("= SIGKILL") == true, "\(outcome)")
    #expect(outcome.last?.hasPrefix("  Out of memory: Killed process 2 (hog) total-vm:") == true, "\(outcome)")
    #expect(outcome.last?.hasSuffix(" oom_score_adj:0") == true)
    #expect(pids(console) == [1, 3] && kills(console) == 1)
    #expect(try console.answer("check").hasPrefix("no difference"))
    _ = try console.answer("[pid 3] exit(0)")
    #expect(console.free.reduce(0, +) == free, "what was killed has freed everything")
  }

  @Test func killsWhoHoldsTheMostNotWhoAsks() throws {
    let console = try small()
    _ = try console.answer("spawn large")
    _ = try console.answer("spawn small")
    #expect(try hog(console, 2, 40).hasSuffix("= 0\n"))
    let outcome = try hog(console, 3, 32).lines
    #expect(
      outcome.first?.hasSuffix("= 0") == true && outcome.last?.contains("Killed process 2 (large)") == true,
      "\(outcome)")
    #expect(pids(console) == [1, 3])
    // A single access is served as well.
    #expect(try console.answer("[pid 3] load(0x11000000, 1)").contains("faults=0"))
  }

  /// Tables alone can take all memory.
  @Test func killsWhoFillsMemoryWithTables() throws {
    let console = try small()
    let outcome = try console.answer(
      "mmap(NULL, 0x400000000000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_POPULATE, -1, 0)"
    ).lines
    #expect(outcome.first?.hasSuffix("= SIGKILL") == true, "\(outcome)")
    #expect(outcome.last?.contains("Killed process 1 (init)") == true, "\(outcome)")
    #expect(try console.answer("check").hasPrefix("no difference"))
  }

  @Test func goesByAdjustments() throws {
    let console = try small()
    for name in ["protected", "preferred", "asker"] { _ = try console.answer("spawn \(name)") }
    _ = try hog(console, 2, 20)
    _ = try hog(console, 3, 10)
    adjust(console, 2, -1000)
    #expect(try hog(console, 4, 40).contains("Killed process 3 (preferred)") == false, "the asker holds more")
    #expect(pids(console) == [1, 2, 3])
    adjust(console, 3, 1000)
    _ = try console.answer("spawn again")
    #expect(try hog(console, 5, 40).contains("Killed process 3 (preferred)"))
    #expect(pids(console).prefix(2) == [1, 2])
  }

  @Test func obeysWhoSaysThatTheAskerShallGo() throws {
    let console = try small()
    _ = try console.answer("spawn large")
    _ = try console.answer("spawn asker")
    _ = try hog(console, 2, 40)
    console.machine.withLock { console.machine.set(.oomKillAllocatingTask, to: 1) }
    let outcome = try hog(console, 3, 32)
    #expect(
      outcome.contains("SIGKILL\n  Out of memory (oom_kill_allocating_task): Killed process 3 (asker)"), "\(outcome)")
    #expect(pids(console) == [1, 2])
  }

  @Test func looksAtThoseWhoMayUseTheNodes() throws {
    let console = try small()
    for name in ["elsewhere", "there", "asker"] { _ = try console.answer("spawn \(name) cpu=2") }
    _ = try console.answer("[pid 2] set_mempolicy(MPOL_BIND, [0x1], 64)")
    _ = try console.answer("[pid 3] set_mempolicy(MPOL_BIND, [0x2], 64)")
    _ = try console.answer("[pid 4] set_mempolicy(MPOL_BIND, [0x2], 64)")
    #expect(try hog(console, 2, 26).hasSuffix("= 0\n"))
    #expect(try hog(console, 3, 18).hasSuffix("= 0\n"))
    let outcome = try hog(console, 4, 15)
    #expect(outcome.contains("Killed process 3 (there)"), "2 holds more, of the other node: \(outcome)")
    #expect(pids(console) == [1, 2, 4])
  }

  @Test func servesForksAndWords() throws {
    let console = try small()
    _ = try console.answer("spawn hog")
    #expect(try hog(console, 2, 44).hasSuffix("= 0\n"))
    while console.refusal("alloc").errno == nil {}
    #expect(
      console.refusal("alloc").errno == .noMemory && pids(console) == [1, 2], "words are refused, nobody is killed")
    #expect(console.refusal("spawn more").errno == .noMemory)
    let outcome = try console.answer("fork()").lines
    #expect(
      outcome.first?.hasPrefix("[pid 1] fork() = ") == true && outcome.last?.contains("Killed process 2 (hog)") == true)
    #expect(pids(console).count == 2 && kills(console) == 1)
  }

  @Test func endsTheAskerWhereNobodyMayBeKilled() throws {
    let console = try small()
    _ = try console.answer("spawn hog")
    for pid: Int32 in [1, 2] { adjust(console, pid, -1000) }
    let outcome = try hog(console, 2, 200)
    #expect(outcome.contains("SIGKILL\n  Out of memory and no killable processes..."))
    #expect(pids(console) == [1])
  }
}
