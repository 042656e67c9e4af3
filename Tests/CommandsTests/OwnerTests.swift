import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// `alloc`'s words beyond size and place, and what `free` and `list` know of names.
@Suite struct OwnerTests {
  private func address(_ answer: String) throws -> UInt64 {
    try #require(UInt64(answer.dropFirst(2).prefix { $0 != "\n" }, radix: 16))
  }

  private func allocation(_ console: Console, at address: UInt64) -> Allocation? {
    console.machine.withLock {
      console.machine.memory.allocation(
        containing: console.machine.memory.frameSize.frame(of: PhysicalAddress(address)))
    }
  }

  @Test(arguments: Mobility.allCases) func takesFramesOfAType(_ type: Mobility) throws {
    let console = try Console()
    let at = try address(console.answer("alloc count=3 type=\(type)"))
    #expect(allocation(console, at: at)?.mobility == type)
    #expect(try console.answer("list").contains("\(type)"))
    #expect(console.differences.isEmpty)
  }

  @Test func alignsToBytes() throws {
    let console = try Console()
    // What precedes is odd, so that an alignment cannot come about by itself.
    _ = try console.answer("alloc")
    let alignments: [(text: String, bytes: UInt64)] = [
      ("1", 4096), ("4K", 4096), ("64K", 65536), ("2M", 2 << 20), ("0x800000", 8 << 20), ("16M", 16 << 20),
    ]
    for (text, bytes) in alignments {
      for line in ["alloc align=\(text)", "alloc count=5 align=\(text)", "alloc count=700 align=\(text)"] {
        let rest = try address(console.answer(line)) % bytes
        #expect(rest == 0, "\(line)")
      }
    }
    // An order's own alignment stays where it is the larger.
    #expect(try address(console.answer("alloc order=4 align=8K")) % 65536 == 0)
    let before = console.state
    #expect(console.refusal("alloc align=3").errno == .invalidArgument)
    #expect(console.refusal("alloc align=12K").errno == .invalidArgument)
    #expect(console.refusal("alloc align=0").errno == .outOfRange)
    #expect(console.refusal("alloc align=0x8000000000000000").errno == .noMemory)
    #expect(console.state == before)
    #expect(console.differences.isEmpty)
  }

  @Test func zeroesWhereAskedTo() throws {
    let console = try Console()
    let first = try address(console.answer("alloc count=3"))
    let word: UInt64 = 0xDEAD_BEEF_CAFE_F00D
    try console.machine.withLock {
      try unsafe withUnsafeBytes(of: word) {
        try unsafe console.machine.memory.bytes.write($0, at: PhysicalAddress(first))
      }
    }
    func read() -> UInt64 {
      var value: UInt64 = 1
      console.machine.withLock {
        unsafe withUnsafeMutableBytes(of: &value) {
          unsafe console.machine.memory.bytes.read(into: $0, at: PhysicalAddress(first))
        }
      }
      return value
    }
    _ = try console.answer("free 0x\(String(first, radix: 16))")
    #expect(try address(console.answer("alloc count=3")) == first)
    #expect(read() == word)
    _ = try console.answer("free 0x\(String(first, radix: 16))")
    #expect(try address(console.answer("alloc count=3 zero")) == first)
    #expect(read() == 0)
  }

  @Test func freesByOwner() throws {
    let console = try Console()
    let free = console.free
    _ = try console.answer("alloc owner=db count=5 node=1")
    _ = try console.answer("alloc owner=db order=9 node=2")
    _ = try console.answer("alloc owner=web count=2 type=movable")
    let kept = try address(console.answer("alloc count=7"))
    let list = try console.answer("list")
    for name in ["db", "web"] { #expect(list.split(separator: "\n").contains { $0.hasSuffix(" \(name)") }) }
    #expect(try console.answer("free owner=db") == "freed 517 frames in 2 allocations\n")
    #expect(try !console.answer("list").contains(" db\n"))
    #expect(try console.answer("free owner=db") == "freed 0 frames in 0 allocations\n")
    #expect(try console.answer("free owner=web") == "freed 2 frames\n")
    _ = try console.answer("free 0x\(String(kept, radix: 16))")
    #expect(console.free == free)
    #expect(console.differences.isEmpty)
  }

  @Test func refusesOwnersThatThereAreNot() throws {
    let console = try Console()
    #expect(console.refusal("free owner=nobody").errno == .invalidArgument)
    // A name becomes known with frames, not with a request that is refused.
    #expect(console.refusal("alloc owner=late order=20").errno == .noMemory)
    #expect(console.refusal("free owner=late").errno == .invalidArgument)
    #expect(console.refusal("free owner=").errno == .invalidArgument)
    #expect(console.refusal("alloc owner=").errno == .invalidArgument)
    #expect(console.refusal("free all owner=late").errno == .invalidArgument)
    _ = try console.answer("alloc owner=late")
    _ = try console.answer("reset")
    #expect(console.refusal("free owner=late").errno == .invalidArgument)
  }

  @Test(arguments: ["zero=1", "zero=", "zero zero", "type=", "type=fixed", "type", "owner", "zeros"])
  func refusesWhatTheGrammarDoesNotKnow(_ words: String) throws {
    let console = try Console()
    let before = console.state
    #expect(console.refusal("alloc \(words)").errno == .invalidArgument)
    #expect(console.state == before)
  }

  @Test func helpShowsFlagsWithoutAValue() throws {
    let help = try Console().answer("help alloc")
    #expect(help.contains("[zero]"))
    #expect(help.contains("[type=unmovable|movable|reclaimable]"))
    #expect(help.contains("[align=ALIGN]"))
  }
}
