import Commands
import SystemPackage
import Testing

/// Who reads what.
@Suite struct AnswerTests {
  @Test func showsTheHelpBeforeAnyCommand() throws {
    let console = try Console()
    let help = console.open(writes: false).readAll()
    for word in ["help", "mem", "dump_pt", "alloc", "free", "list", "check", "reset"] {
      #expect(help.lines.dropFirst().contains { $0.hasPrefix(word + " ") }, "\(word)")
    }
    #expect(try console.answer("help") == help)
    // A handle that writes has its own answer: none yet.
    #expect(console.open().readAll() == "")
    #expect(console.open(writes: false).readAll() == help, "other handles' lines change nothing")
  }

  @Test func answersEchoThenCat() throws {
    let console = try Console()
    let echo = console.open(reads: false)
    try echo.write("alloc node=1\n")
    echo.close()
    let cat = console.open(writes: false)
    #expect(cat.readAll().lines.count == 1)
    #expect(console.open(writes: false).readAll().hasPrefix("0x"), "as often as one likes")
    let second = console.open(reads: false)
    try second.write("reset\n")
    second.close()
    #expect(console.open(writes: false).readAll() == "reset\n", "a handle's answer is its own lines' alone")
  }

  @Test func answersAReaderAsItStoodWhenOpened() throws {
    let console = try Console()
    let early = console.open(writes: false)
    let writer = console.open(reads: false)
    let unwritten = console.open(writes: false)
    try writer.write("reset\n")
    let one = console.open(writes: false)
    try writer.write("reset\n")
    let two = console.open(writes: false)
    let silent = console.open(reads: false)
    let still = console.open(writes: false)
    writer.close()
    silent.close()
    let help = try console.answer("help")
    #expect(early.readAll() == help)
    #expect(unwritten.readAll() == help)
    #expect(one.readAll() == "reset\n")
    #expect(two.readAll() == "reset\nreset\n")
    #expect(still.readAll() == "reset\nreset\n", "who opens and writes nothing is not the latest")
    one.offset = 0
    #expect(one.readAll() == "reset\n", "and stays so")
  }

  @Test func givesTheReaderTheReason() throws {
    let console = try Console()
    let echo = console.open(reads: false)
    #expect(throws: Errno.invalidArgument) { try echo.write("bogus\n") }
    echo.close()
    #expect(console.open(writes: false).readAll().hasPrefix("bogus = -1 EINVAL (\"bogus\" at column 1 is no word"))
  }

  @Test func readsBehindTheLastWrite() throws {
    let console = try Console()
    let client = console.open()
    try client.write("reset\n")
    #expect(client.readAll() == "reset\n")
    #expect(client.readAll() == "")
    try client.write("alloc\n")
    let address = client.readAll()
    #expect(address.hasPrefix("0x") && address.lines.count == 1, "only what is new")
    try client.write("reset\n")
    try client.write("reset\n")
    #expect(client.readAll() == "reset\nreset\n", "all since it was read last")
    try client.write("reset\n")
    #expect(client.read(3) == "res")
    try client.write("reset\n")
    #expect(client.readAll() == "et\nreset\n", "a read that stopped half way goes on there")
    client.offset = 0
    #expect(client.readAll().lines.count == 6, "from the start: everything since it was opened")
  }

  @Test func readsBehindARefusedWrite() throws {
    let client = try Console().open()
    #expect(throws: Errno.invalidArgument) { try client.write("bogus\n") }
    #expect(client.readAll().hasPrefix("bogus = -1 EINVAL"))
    try client.write("reset\n")
    #expect(client.readAll() == "reset\n")
    #expect(client.writeAll("reset\nbogus\n") == .invalidArgument)
    let answers = client.readAll()
    #expect(answers.hasPrefix("reset\nbogus = -1 EINVAL"))
  }

  @Test(arguments: [1, 7, 128, 4096])
  func givesTheSameBytesInPieces(size: Int) throws {
    let client = try Console().open()
    try client.write("mem\n")
    let whole = client.readAll()
    client.offset = 0
    #expect(client.readAll(pieces: size) == whole)
    #expect(client.read(size) == "")
  }

  /// A shell's `read` takes a block, and seeks back to behind the line that it wanted.
  @Test func servesReadersThatSeekBack() throws {
    let console = try Console()
    let client = console.open()
    func readLine() -> Substring {
      let begin = client.offset
      let block = client.read(128)
      let line = block.prefix { $0 != "\n" }
      client.offset = begin + Int64(line.utf8.count) + 1
      return line
    }
    try client.write("reset\nalloc\n")
    #expect(readLine() == "reset")
    #expect(readLine().hasPrefix("0x"))
    try client.write("reset\n")
    #expect(readLine() == "reset")
    client.offset = 0
    #expect(readLine() == "reset")
    #expect(readLine().hasPrefix("0x"))
  }

  @Test func readsBehindAnAppendedWrite() throws {
    let client = try Console().open(appends: true)
    try client.write("reset\n")
    #expect(client.readAll() == "reset\n")
    try client.write("alloc\n")
    #expect(client.readAll().hasPrefix("0x"))
    try client.write("reset\n")
    #expect(client.readAll() == "reset\n")
  }

  @Test func keepsScriptsWithHandlesOfTheirOwnApart() throws {
    let console = try Console()
    let first = console.open()
    let second = console.open()
    try first.write("alloc node=1\n")
    try second.write("reset\n")
    try first.write("alloc node=1\n")
    #expect(second.readAll() == "reset\n")
    #expect(first.readAll().lines.count == 2)
    #expect(console.open(writes: false).readAll().contains("help"), "handles that read and write are never the latest")
    let echo = console.open(reads: false)
    try echo.write("reset\n")
    try first.write("alloc node=2\n")
    #expect(console.open(writes: false).readAll() == "reset\n")
    #expect(first.readAll().lines.count == 1)
    second.close()
    first.close()
    #expect(console.open(writes: false).readAll() == "reset\n")
  }

  @Test func keepsTheLastMiB() throws {
    let console = try Console()
    let client = console.open()
    let help = try console.answer("help")
    let times = (5 << 20) / 2 / help.utf8.count
    for _ in 0..<times / 100 { #expect(client.writeAll(String(repeating: "help\n", count: 100)) == nil) }
    client.offset = 0
    let kept = client.readAll()
    #expect((1 << 20) - 200...1 << 20 ~= kept.utf8.count)
    #expect(help.lines.contains(kept.lines[0]), "from the beginning of a line on")
    #expect(String(repeating: help, count: (1 << 20) / help.utf8.count + 1).hasSuffix(kept))
    #expect(client.readAll() == "")
    try client.write("reset\n")
    #expect(client.readAll() == "reset\n")
  }

  /// A reader who is left behind by more than a MiB goes on with the first byte that is still there.
  @Test func goesOnWithWhatIsLeftForASlowReader() throws {
    let console = try Console()
    let client = console.open()
    try client.write("reset\n")
    #expect(client.read(3) == "res")
    #expect(client.writeAll(String(repeating: "help\n", count: 4000)) == nil)
    let rest = client.readAll()
    #expect((1 << 20) - 200...1 << 20 ~= rest.utf8.count)
    #expect(rest.hasSuffix(try console.answer("help")))
  }

  @Test func servesManyHandlesAtOnce() async throws {
    let console = try Console()
    let free = console.free
    await withTaskGroup(of: Void.self) { group in
      for node in 0..<4 {
        group.addTask {
          let client = console.open()
          for _ in 0..<100 {
            #expect(client.writeAll("alloc node=\(node) order=1\n") == nil)
            let address = client.readAll()
            #expect(address.lines.count == 1)
            #expect(client.writeAll("free \(address)") == nil)
            #expect(client.readAll() == "freed 2 frames\n")
            #expect(client.writeAll("nonsense \(node)\n") == .invalidArgument)
            #expect(client.readAll().hasPrefix("nonsense \(node) = -1 EINVAL"))
          }
          client.close()
        }
      }
      group.addTask {
        for _ in 0..<50 { _ = console.open(writes: false).readAll() }
      }
    }
    #expect(console.free == free)
    #expect(console.differences == [])
  }
}
