import Commands
import Machine
import MemoryTypes
import Testing
import Topology

@testable import AddressSpaces

/// Forks that put whole tables off, against forks that somebody looks at right away: nobody can tell them apart.
@Suite struct DeferredForkTests {
  /// A line of a random history over a few areas of several tables each.
  struct History {
    var random: SplitMix64
    var processes = [1]
    var born = 1
    static let base: UInt64 = 0x1_0000_0000
    static let span: UInt64 = 24 << 20

    mutating func below(_ limit: UInt64) -> UInt64 { random.next() % limit }
    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[Int(below(UInt64(elements.count)))] }

    mutating func line() -> String {
      let process = pick(processes)
      let page = Self.base + below(Self.span >> 14) << 14
      let start = Self.base + below(Self.span >> 20) << 20
      let length = pick([1 << 14, 1 << 20, 2 << 20, 5 << 20, 9 << 20])
      let call =
        switch below(40) {
        case 0..<13: "store(0x\(String(page, radix: 16)), \"\(pick(["a", "bc", "def"]))\")"
        case 13..<22: "load(0x\(String(page, radix: 16)), 3)"
        case 22..<25:
          "mmap(0x\(String(start, radix: 16)), \(length), PROT_READ|PROT_WRITE, "
            + "\(pick(["MAP_PRIVATE", "MAP_PRIVATE", "MAP_PRIVATE", "MAP_SHARED"]))|MAP_ANONYMOUS|MAP_FIXED"
            + "\(pick(["", "|MAP_POPULATE"])), -1, 0)"
        case 25: "munmap(0x\(String(start, radix: 16)), \(length))"
        case 26: "mprotect(0x\(String(start, radix: 16)), \(length), \(pick(["PROT_READ", "PROT_READ|PROT_WRITE"])))"
        case 27:
          "madvise(0x\(String(start, radix: 16)), \(length), "
            + "\(pick(["MADV_DONTNEED", "MADV_FREE", "MADV_DONTFORK", "MADV_WIPEONFORK", "MADV_COLD"])))"
        case 28:
          "mremap(0x\(String(start, radix: 16)), \(1 << 20), \(1 << 20), MREMAP_MAYMOVE|MREMAP_FIXED, "
            + "0x\(String(Self.base + below(Self.span >> 20) << 20, radix: 16)))"
        case 29: "mlock(0x\(String(start, radix: 16)), \(1 << 20))"
        case 30: "mbind(0x\(String(start, radix: 16)), \(length), MPOL_BIND, [0x\(pick(["1", "2"]))], 64, MPOL_MF_MOVE)"
        case 31: "smaps(0x\(String(start, radix: 16)), \"\(pick(["Rss", "Pss", "Shared_Dirty", "Referenced"]))\")"
        case 32 where processes.count > 1: "exit(0)"
        default: "fork()"
        }
      if call == "exit(0)" { processes.removeAll { $0 == process } }
      if call == "fork()" {
        born += 1
        processes.append(born)
      }
      return "[pid \(process)] " + call
    }
  }

  @Test(
    arguments: [Preset.fourNode, .aarch64, .riscv64], [1, 2, 3, 4] as [UInt64])
  func cannotBeToldFromForksThatPutNothingOff(_ preset: Preset, _ seed: UInt64) throws {
    var description = preset.machine
    description.settings.thp = .never
    let lazy = try Console(description)
    let eager = try Console(description)
    var history = History(random: SplitMix64(seed: seed))
    var deferrals = 0
    let mapped = "mmap(0x100000000, \(History.span), PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    for step in 0..<400 {
      let line = step == 0 ? mapped : history.line()
      let expected = eager.refusal(line)
      eager.machine.withLock { _ = eager.machine.users }
      #expect(lazy.refusal(line) == expected, "seed \(seed), step \(step): \(line)")
      deferrals += lazy.machine.withLock { lazy.machine.unsettledUsers.deferringSpaces.count }
      if step % 100 == 99 {
        #expect(try lazy.answer("check") == eager.answer("check"), "seed \(seed), step \(step)")
        #expect(lazy.state == eager.state, "seed \(seed), step \(step)")
      }
    }
    #expect(deferrals > 20, "seed \(seed): next to nothing was put off")
  }

  /// A child's memory is what its parent's was at the fork, whoever touches it first.
  @Test func sharesWhatItsParentHad() throws {
    var description = Preset.fourNode.machine
    description.settings.thp = .never
    let console = try Console(description)
    _ = try console.answer(
      "mmap(0x100000000, 0x1000000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    for table in 0..<8 {
      _ = try console.answer("store(0x1\(String(table * 2 << 20 + 0x5000 | 1 << 32, radix: 16).dropFirst()), \"old\")")
    }
    _ = try console.answer("fork()")
    #expect(console.machine.withLock { console.machine.unsettledUsers.deferringSpaces.count } == 1)
    #expect(try console.answer("store(0x100005000, \"new\")").contains("faults=1"))
    #expect(try console.answer("[pid 2] load(0x100005000, 3)").contains("\"old\" faults=0"))
    #expect(try console.answer("[pid 2] store(0x100205000, \"its\")").contains("faults=1"))
    #expect(try console.answer("load(0x100205000, 3)").contains("\"old\" faults=0"))
    #expect(console.machine.withLock { console.machine.unsettledUsers.deferringSpaces.count } == 1)
    #expect(try console.answer("check").hasPrefix("no difference"))
    #expect(console.machine.withLock { console.machine.unsettledUsers.deferringSpaces.isEmpty })
    // The table that was the last to be made of one fork is the first to be written to after another.
    _ = try console.answer("fork()")
    _ = try console.answer("store(0x100405000, \"new\")")
    _ = try console.answer("fork()")
    _ = try console.answer("store(0x100405000, \"xyz\")")
    #expect(try console.answer("[pid 4] load(0x100405000, 3)").contains("\"new\" faults=0"))
    #expect(try console.answer("check").hasPrefix("no difference"))
  }

  /// Where memory runs out in the middle of a fork, somebody is killed for it, and nothing of it stays.
  @Test func leavesNothingWhereMemoryRunsOut() throws {
    var description = Preset.fourNode.machine
    description.settings.thp = .never
    let console = try Console(description)
    _ = try console.answer(
      "mmap(0x100000000, 0x40000000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    for table in 0..<512 {
      _ = try console.answer("store(0x\(String(0x1_0000_0000 + table << 21, radix: 16)), \"x\")")
    }
    console.machine.withLock { console.machine.users.limits.overcommit = .always }
    _ = try console.answer("alloc count=8192 owner=spare")
    for count in [262144, 16384, 1024, 64] {
      while console.refusal("alloc count=\(count)").errno == nil {}
    }
    _ = try console.answer("free owner=spare")
    for _ in 0..<24 { _ = try console.answer("fork()") }
    #expect(console.machine.withLock { console.machine.users.events.outOfMemoryKills } > 0)
    #expect(try console.answer("check").hasPrefix("no difference"))
  }
}
