import SystemPackage
import Testing
import Topology

/// Which lines are refused, with which errno and reason, and that nothing is changed by them.
@Suite struct GrammarTests {
  /// A line, the writer's errno, and what the reason names: the offending part.
  static let refused: [(line: String, errno: Errno, part: String)] = [
    // Words that are none
    ("frobnicate", .invalidArgument, "\"frobnicate\" at column 1"), ("MEM", .invalidArgument, "\"MEM\""),
    ("me", .invalidArgument, "\"me\""), ("memory", .invalidArgument, "\"memory\""),
    ("  bogus x", .invalidArgument, "\"bogus\" at column 3"), ("=", .invalidArgument, "\"=\""),
    ("help nothing", .invalidArgument, "\"nothing\" at column 6"),
    ("mmap(NULL, 4096)", .invalidArgument, "column 16: PROT is missing"),
    // Rubbish behind
    ("mem now", .invalidArgument, "\"now\" at column 5"), ("mem order=1", .invalidArgument, "\"order=1\""),
    ("check 1", .invalidArgument, "\"1\""), ("list all", .invalidArgument, "\"all\""),
    ("reset now", .invalidArgument, "\"now\""), ("help mem alloc", .invalidArgument, "\"alloc\" at column 10"),
    ("dump_pt 0x1000 0x2000", .invalidArgument, "\"0x2000\" at column 16"),
    ("free 0x1000 0x2000", .invalidArgument, "\"0x2000\""), ("alloc 4", .invalidArgument, "\"4\" at column 7"),
    ("alloc order=1 rubbish", .invalidArgument, "\"rubbish\" at column 15"),
    // What is missing
    ("dump_pt", .invalidArgument, "ADDRESS"), ("free", .invalidArgument, "ADDRESS"),
    // Keys
    ("alloc colour=red", .invalidArgument, "colour="), ("alloc Order=1", .invalidArgument, "Order="),
    ("alloc =1", .invalidArgument, "\"=1\""), ("alloc order=1 order=1", .invalidArgument, "order= is given twice"),
    ("alloc node=0 zone=DMA node=1", .invalidArgument, "\"node=1\" at column 23"),
    ("alloc order=1 count=2", .invalidArgument, "count="), ("alloc count=2 order=1", .invalidArgument, "order="),
    ("alloc order =1", .invalidArgument, "\"order\""),
    // Numbers
    ("alloc order=", .invalidArgument, "at column 13"), ("alloc order=x", .invalidArgument, "\"x\" at column 13"),
    ("alloc count=-1", .invalidArgument, "\"-1\""), ("alloc count=+1", .invalidArgument, "\"+1\""),
    ("alloc count=1.5", .invalidArgument, "\"1.5\""), ("alloc count=1e3", .invalidArgument, "\"1e3\""),
    ("alloc count=1_000", .invalidArgument, "\"1_000\""), ("alloc count=0x", .invalidArgument, "\"0x\""),
    ("alloc count=0xG", .invalidArgument, "\"0xG\""), ("alloc count=K", .invalidArgument, "\"K\""),
    ("alloc count=1KK", .invalidArgument, "\"1KK\""), ("alloc count=1KiB", .invalidArgument, "\"1KiB\""),
    ("alloc count=1P", .invalidArgument, "\"1P\""), ("alloc count=\u{664}", .invalidArgument, "\u{664}"),
    ("plug 0 0 at=0xffffffffffffffff", .invalidArgument, "whole blocks"),
    ("alloc count=ff", .invalidArgument, "\"ff\""), ("dump_pt -1", .invalidArgument, "\"-1\""),
    ("alloc count=18446744073709551616", .outOfRange, "\"18446744073709551616\" at column 13"),
    ("alloc count=0x10000000000000000", .outOfRange, "0x10000000000000000"),
    ("alloc count=16777216T", .outOfRange, "16777216T"), ("alloc count=18014398509481984K", .outOfRange, "984K"),
    ("dump_pt 99999999999999999999999", .outOfRange, "99999999999999999999999"),
    ("alloc order=21", .outOfRange, "21"), ("alloc order=18446744073709551615", .outOfRange, ""),
    ("alloc count=0", .outOfRange, "0 frames"), ("alloc count=1048577", .outOfRange, "1048577"),
    ("alloc count=1T", .outOfRange, "1099511627776"), ("alloc node=4294967296", .outOfRange, "\"4294967296\""),
    ("alloc cpu=4G", .outOfRange, "\"4G\" at column 11"),
    // What the machine has not
    ("alloc node=4", .operationNotSupportedByDevice, "node: 4"),
    ("alloc node=2147483647", .operationNotSupportedByDevice, "2147483647"),
    ("alloc cpu=8", .operationNotSupportedByDevice, "CPU: 8"),
    ("alloc zone=High", .operationNotSupportedByDevice, "High"),
    ("alloc zone=DMA32", .operationNotSupportedByDevice, "DMA32"), ("alloc zone=DMA64", .invalidArgument, "\"DMA64\""),
    ("alloc order=20", .noMemory, "1048576"),
    // Frames that cannot be given back
    ("free nowhere", .invalidArgument, "\"nowhere\" at column 6"), ("free All", .invalidArgument, "\"All\""),
    ("free   0x1001", .invalidArgument, "\"0x1001\" at column 8"), ("free 1", .invalidArgument, "\"1\""),
    ("free 0x0", .noSuchAddressOrDevice, "frame 0x0 is no memory"),
    ("free 0xa0000", .noSuchAddressOrDevice, "frame 0xa0"),
    ("free 0xfffffffffffff000", .noSuchAddressOrDevice, "frame 0xfffffffffffff"),
    ("free 0x40000000", .invalidArgument, "frame 0x40000 is not allocated"),
  ]

  @Test func refusesWhatItDoesNotUnderstandAndSaysWhy() throws {
    let console = try Console()
    let before = console.state
    for (line, errno, part) in Self.refused {
      let (got, reason) = console.refusal(line)
      #expect(got == errno, "\(line): \(reason)")
      #expect(reason.contains(part), "\(line): \(reason)")
      #expect(reason.hasPrefix("\(line) = -1 E"), "\(line): \(reason)")
      #expect(reason.lines.count == 1 && reason.hasSuffix(")\n"), "\(line): \(reason)")
    }
    #expect(console.state == before)
    #expect(console.differences == [])
  }

  @Test func takesNumbersInEveryForm() throws {
    // Lines that ask for the same number of frames.
    let same: [[String]] = [
      ["2048", "0x800", "0X800", "2K", "2k", "0x2K", "02048", "0x00000800"], ["1048576", "1M", "1m", "0x1M", "1024K"],
      ["10", "0xa", "0xA"], ["11", "0xb", "0xB"],
    ]
    for forms in same {
      var sizes: [Int] = []
      for form in forms {
        let console = try Console(.largest)
        let before = console.free.reduce(0, +)
        _ = try console.answer("alloc count=\(form)")
        sizes.append(before - console.free.reduce(0, +))
      }
      #expect(sizes == [Int](repeating: try #require(Int(forms[0])), count: forms.count), "\(forms)")
    }
    let console = try Console()
    for (form, shown) in [
      ("1G", "0x40000000"), ("1g", "0x40000000"), ("2T", "0x20000000000"), ("0xFFFFt", "0xffff0000000000"),
      ("18446744073709551615", "0xffffffffffffffff"), ("0", "0x0"),
    ] {
      #expect(try console.answer("dump_pt \(form)").lines.last?.hasPrefix(shown + " ") == true, "\(form)")
    }
  }

  @Test func takesBlanksAndTabsBetweenWordsAndBlankLines() throws {
    let console = try Console()
    let free = console.free
    #expect(try console.answer("") == "")
    #expect(try console.answer(" \t ") == "")
    #expect(try console.answer("\n\n") == "")
    #expect(try console.answer("\t alloc\torder=3   node=2 \t").hasPrefix("0x"))
    #expect(try console.answer("alloc node=2 order=3").hasPrefix("0x"), "keys come in any order")
    #expect(console.free[2] == free[2] - 16)
  }

  @Test func refusesBytesThatAreNoText() throws {
    let console = try Console()
    let before = console.state
    let lines: [[UInt8]] = [
      [0], [0xFF], [0xC0, 0x80], Array("mem".utf8) + [0], Array("mem\r".utf8), Array("alloc ".utf8) + [0x80],
      Array("alloc\u{1B}[31m".utf8), [0x7F], [0xED, 0xA0, 0x80], Array("mem ".utf8) + [0xE2, 0x82],
    ]
    for line in lines {
      let (errno, reason) = console.refusal(line)
      #expect(errno == .invalidArgument, "\(line): \(reason)")
      #expect(reason.contains("is not text"), "\(line): \(reason)")
      #expect(reason.utf8.allSatisfy { $0 == 0x0A || $0 >= 0x20 && $0 != 0x7F }, "\(line): the answer is text")
    }
    #expect(console.state == before)
  }

  @Test func saysOfALongWordOnlyItsBeginning() throws {
    let console = try Console()
    for length in [41, 5000, 300_001] {
      let (errno, reason) = console.refusal(String(repeating: "x", count: length))
      #expect(errno == .invalidArgument)
      #expect(reason.utf8.count < 500 && reason.contains("xxx..."), "\(length): \(reason.utf8.count)")
      let key = console.refusal("alloc " + String(repeating: "y", count: length) + "=1")
      #expect(key.errno == .invalidArgument)
      #expect(key.reason.utf8.count < 600, "\(length): \(key.reason.utf8.count)")
    }
    // Blanks are part of no word: a line that is long for them is carried out.
    #expect(try console.answer("alloc" + String(repeating: " ", count: 100_000) + "order=0").hasPrefix("0x"))
  }
}
