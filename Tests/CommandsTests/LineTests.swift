import SystemPackage
import Testing

/// Writes of several lines, and writes that are cut without regard to lines.
@Suite struct LineTests {
  @Test func carriesOutTheLinesOfAWriteInOrder() throws {
    let console = try Console()
    let free = console.free
    let client = console.open()
    let text = "alloc node=1\nalloc node=1 order=2\nalloc node=0\n"
    #expect(try client.write(text) == text.utf8.count)
    #expect(console.free == [free[0] - 1, free[1] - 5, free[2], free[3]])
    let answers = client.readAll().lines
    #expect(answers.count == 3)
    let list = try console.answer("list")
    for (number, answer) in answers.enumerated() {
      let row = list.lines.first {
        $0.hasPrefix(
          "0x" + String(repeating: "0", count: 14 - answer.count)
            + answer.dropFirst(2))
      }
      #expect(row?.hasSuffix("line \(number + 1)") == true, "\(answer) in\n\(list)")
    }
  }

  @Test func reportsWhatWentBeforeARefusedLineAsWritten() throws {
    let console = try Console()
    let free = console.free
    let client = console.open()
    let text = "alloc node=1\nalloc node=1\nalloc nonsense\nalloc node=1\n"
    #expect(try client.write(text) == "alloc node=1\n".utf8.count * 2, "a short write up to the refused line")
    #expect(console.free[1] == free[1] - 2)
    #expect(client.readAll().lines.count == 2, "the refused line has not been looked at yet")
    #expect(throws: Errno.invalidArgument) { try client.write("alloc nonsense\nalloc node=1\n") }
    #expect(console.free[1] == free[1] - 2, "what stands behind the refused line is not carried out")
    #expect(client.readAll().hasPrefix("alloc nonsense = -1 EINVAL ("))
    // As the C library does it, in one go.
    #expect(client.writeAll(text) == .invalidArgument)
    #expect(console.free[1] == free[1] - 4)
  }

  @Test func refusesTheFirstLineOfAWriteWithoutAnyOther() throws {
    let console = try Console()
    let before = console.state
    let client = console.open()
    #expect(throws: Errno.outOfRange) { try client.write("alloc order=21\nalloc\nalloc\n") }
    #expect(client.offset == 0)
    #expect(console.state == before)
  }

  @Test func countsBlankLinesBeforeARefusedOneAsWritten() throws {
    let client = try Console().open()
    #expect(try client.write("\n\n\nbogus\n") == 3)
  }

  @Test func carriesOutATailWithoutNewlineAtOnce() throws {
    let console = try Console()
    let free = console.free
    let client = console.open()
    #expect(try client.write("alloc node=1\nalloc node=1") == 25)
    #expect(console.free[1] == free[1] - 2)
    #expect(try client.write("alloc node=1") == 12)
    #expect(console.free[1] == free[1] - 3)
    #expect(try client.write("") == 0)
  }

  /// `count` lines, the last one cut so that all are `length` bytes long; nothing but its end is missing.
  private func script(_ length: Int, cut: String) -> String {
    let lines = String(repeating: "alloc node=1\n", count: (length - cut.utf8.count) / 13)
    let blanks = String(repeating: "\n", count: length - cut.utf8.count - lines.utf8.count)
    return lines + blanks + cut
  }

  @Test(arguments: [4096, 8192, 65536])
  func holdsATailWhereTheWritesLengthIsAMultipleOf4096(length: Int) throws {
    let console = try Console()
    let free = console.free
    let client = console.open()
    let text = script(length, cut: "alloc no")
    let whole = (length - 8) / 13
    #expect(try client.write(text) == length)
    #expect(console.free[1] == free[1] - whole, "the tail is held")
    #expect(try client.write("de=3 order=4\nalloc node=2") == 25)
    #expect(console.free == [free[0], free[1] - whole, free[2] - 1, free[3] - 16])
    #expect(client.readAll().lines.count == whole + 2)
    client.close()
    #expect(console.free[3] == free[3] - 16, "nothing is done twice")
    #expect(console.differences == [])
  }

  @Test(arguments: [4095, 4097, 8191])
  func carriesOutATailWhereItIsNot(length: Int) throws {
    let console = try Console()
    let free = console.free
    let client = console.open()
    #expect(try client.write(script(length, cut: "alloc node=3")) == length)
    #expect(console.free[3] == free[3] - 1)
  }

  @Test func holdsATailUntilRelease() throws {
    let console = try Console()
    let free = console.free
    let client = console.open(reads: false)
    #expect(try client.write(script(4096, cut: "alloc node=3")) == 4096)
    #expect(console.free[3] == free[3])
    client.close()
    #expect(console.free[3] == free[3] - 1)
    let reader = console.open(writes: false)
    #expect(reader.readAll().lines.count == (4096 - 12) / 13 + 1, "its outcome is in the answer")
  }

  @Test func tellsAReaderWhyALineHeldUntilReleaseWasRefused() throws {
    let console = try Console()
    let client = console.open(reads: false)
    #expect(try client.write(script(4096, cut: "alloc bogus")) == 4096)
    client.close()
    #expect(console.open(writes: false).readAll().hasSuffix("usage: \(Self.allocUsage))\n"))
  }
  private static let allocUsage =
    "alloc [order=ORDER] [count=COUNT] [node=NODE] [zone=ZONE] [cpu=CPU] [type=unmovable|movable|reclaimable] "
    + "[align=ALIGN] [owner=OWNER] [zero]"

  @Test func holdsNothingOfAWriteThatEndsWithItsLine() throws {
    let console = try Console()
    let client = console.open()
    #expect(try client.write(script(4096, cut: "alloc node=3\n")) == 4096)
    let answers = client.readAll().lines.count
    client.close()
    let after = console.open()
    try after.write("list\n")
    #expect(answers == (4096 - 13) / 13 + 1)
  }

  @Test func namesTheWholeOfALineWhoseBeginningWasHeld() throws {
    let console = try Console()
    let before = console.state
    let client = console.open()
    let blanks = String(repeating: " ", count: 4088)
    #expect(try client.write("alloc no" + blanks) == 4096)
    #expect(throws: Errno.invalidArgument) { try client.write("rubbish\n") }
    let reason = client.readAll()
    #expect(reason.hasPrefix("alloc no "), "\(reason)")
    #expect(reason.contains("\"no\" at column 7"), "\(reason)")
    #expect(console.state == before)
    // The refused line is gone; the handle goes on.
    #expect(try client.write("alloc\n") == 6)
  }

  @Test(arguments: [4096, 8192])
  func losesNoLineOfALongScriptAndDoesNoneTwice(piece: Int) throws {
    // Lines of many lengths, so that cuts fall everywhere.
    var random = SplitMix64(seed: 11)
    var text = ""
    var lines = 0
    while text.utf8.count < 60_000 {
      let blanks = String(repeating: " ", count: random.below(40))
      text += "alloc\(blanks) order=\(random.below(3))\(random.below(2) == 0 ? " node=\(random.below(4))" : "")\n"
      lines += 1
    }
    let whole = try Console()
    let first = whole.open()
    #expect(try first.write(text) == text.utf8.count)
    let pieces = try Console()
    let second = pieces.open()
    #expect(second.writeAll(text, pieces: piece) == nil)
    second.close()
    #expect(pieces.state == whole.state)
    let answers = first.readAll()
    #expect(answers.lines.count == lines)
    second.offset = 0
    #expect(second.readAll() == answers)
  }

  @Test func refusesALineThatIsTooLongWhereNobodyEndsIt() throws {
    let console = try Console()
    let before = console.state
    let client = console.open()
    let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 4096)
    for _ in 0..<256 { #expect(try client.write(piece) == 4096) }
    #expect(throws: Errno.argListTooLong) { try client.write(piece) }
    #expect(client.readAll().contains("E2BIG"))
    #expect(console.state == before)
    #expect(try client.write("alloc\n") == 6, "the handle goes on")
    client.close()
    #expect(console.differences == [])
  }
}
