import Testing

@testable import Commands

@Suite struct CallSyntaxTests {
  @Test func readsStracesSpelling() throws {
    let call = try CallSyntax("[pid 3]  mbind(0x1000, 4096, MPOL_BIND|MPOL_F_STATIC_NODES, [0x3 0], 64, MPOL_MF_MOVE)")
    #expect(call.pid == 3)
    #expect(call.name == "mbind")
    #expect(
      call.arguments == [.number(0x1000), .number(4096), .number(2 | 1 << 15), .mask([3, 0]), .number(64), .number(2)])
    #expect(call.text.hasPrefix("mbind("))
    #expect(try CallSyntax("store(0, \"a\\n\\101\\x41\")").arguments == [.number(0), .text(Array("a\nAA".utf8))])
    #expect(try CallSyntax("f(-1, 010, 99999999999999999999)").arguments == [.number(.max), .number(8), .number(.max)])
    #expect(try CallSyntax("fork()").arguments.isEmpty)
  }

  @Test(arguments: [
    ("", 1), ("mmap", 5), ("mmap(", 6), ("mmap(1", 7), ("mmap(1,", 8), ("mmap(1, BOGUS)", 9), ("mmap(1) x", 9),
    ("[pid x] f()", 6),
    ("[proc 1] f()", 6), ("f(\"abc", 7), ("f([1", 5), ("f(0x)", 3), ("f(09)", 3), ("f(\"\\q\")", 5), ("(1)", 1),
  ])
  func namesTheColumn(_ line: String, _ column: Int) {
    #expect { try CallSyntax(line) } throws: { ($0 as? CallSyntaxError)?.column == column }
  }

  @Test func refusesWhatTheRowDoesNotTake() throws {
    let session = CallSession(try CallMachine().memory)
    #expect { try session.carryOut("frobnicate(1)") } throws: {
      ($0 as? CallSyntaxError) == CallSyntaxError(kind: .unknownCall("frobnicate"), column: 1)
    }
    #expect { try session.carryOut("munmap(1, \"x\")") } throws: { ($0 as? CallSyntaxError)?.column == 11 }
    #expect { try session.carryOut("munmap(1, 2, 3)") } throws: { ($0 as? CallSyntaxError)?.column == 14 }
    #expect { try session.carryOut("munmap(1)") } throws: { ($0 as? CallSyntaxError)?.column == 9 }
    #expect(try session.carryOut("# a comment") == nil)
    #expect { try session.carryOut("[pid 9] fork()") } throws: {
      ($0 as? CallSyntaxError) == CallSyntaxError(kind: .unknownProcess(9), column: 6)
    }
    var isOfNobody = false
    let outcome = try session.transcribe("[pid 9] fork()", isOfNobody: &isOfNobody)
    #expect(outcome == "[pid 9] fork() = ? no such process" && isOfNobody)
  }

  @Test func everyRowHasItsUsage() {
    #expect(CallSession.help.map(\.usage).contains("munmap(ADDRESS, LENGTH)"))
    #expect(Set(CallRow.all.map(\.name)).count == CallRow.all.count)
  }
}
