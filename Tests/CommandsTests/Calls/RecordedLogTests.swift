import AddressSpaces
import Machine
import MemoryTypes
import Testing
import Topology

@testable import Commands

@Suite struct RecordedLogTests {
  private func machine() throws -> Machine {
    var description = Preset.fourNode.machine
    description.settings.profile = .linux
    description.settings.aslr = false
    return try Machine(description)
  }

  /// A reset takes a log's processes and files away; what it says next makes new ones, and the machine ends in peace.
  @Test func survivesAReset() throws {
    let line = "7  mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3</lib>, 0) = 0x7f1200000000"
    let machine = try machine()
    var log = RecordedLog(machine)
    for _ in 0..<3 {
      #expect(try log.take(line) == nil)
      #expect(machine.users.pids.map(\.rawValue) == [1, 2])
      #expect(machine.verify() == [])
      machine.reset()
    }
  }

  @Test func carriesOutWhatStraceSaw() throws {
    let machine = try machine()
    var memory: UserMemory { machine.users }
    var log = RecordedLog(machine)
    let lines = [
      "8325  execve(\"/usr/bin/ls\", [\"ls\"], 0x7ffd0 /* 12 vars */) = 0",
      "8325  brk(NULL)                         = 0x55d0c0f00000",
      "8325  mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1200000000",
      "8325  openat(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC) = 3",
      "8325  mmap(NULL, 20000, PROT_READ, MAP_PRIVATE, 3</etc/ld.so.cache>, 0) = 0x7f1200010000",
      "8325  munmap(0x7f1200010000, 20000)     = 0",
      "8325  brk(0x55d0c0f21000)               = 0x55d0c0f21000",
      "8325  clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f12) = 8326",
      "8326  mprotect(0x7f1200000000, 4096, PROT_READ <unfinished ...>",
      "8325  mprotect(0x7f1200001000, 4096, PROT_NONE) = 0",
      "8326  <... mprotect resumed>)           = 0",
      "8326  exit_group(0)                     = ?",
      "8326  +++ exited with 0 +++",
      "8325  --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
      "8325  munmap(0x1001, 4096)              = -1 EINVAL (Invalid argument)",
    ]
    for line in lines {
      #expect(RecordedLog.isRecorded(line), "\(line)")
      #expect(try log.take(line) == nil, "\(line)")
    }
    #expect(log.counts.differing == 0)
    #expect(log.counts.skipped == 2)
    #expect(memory.pids.map(\.rawValue) == [1, 2])
    let maps = memory.maps(memory.process(ProcessID(2))!)
    #expect(maps.contains("7f1200000000-7f1200001000 rw-p"))
    #expect(maps.contains("7f1200001000-7f1200002000 ---p"))
    #expect(maps.contains("55d0c0f00000-55d0c0f21000 rw-p"))
    #expect(maps.contains("[heap]"))
  }

  @Test func takesAccessesUntilAnotherKindOfLineBegins() throws {
    var log = RecordedLog(try machine())
    func take(_ text: String) -> Int {
      let bytes = Array(text.utf8)
      // SAFETY: bytes have no padding.
      return unsafe log.takeAccesses(bytes.span.bytes)
    }
    #expect(take("I  04000a30,3\n L 1ffefff800,8\n==77== done\n") == 30)
    #expect(take(" S 04222cac,8\n M 04222fff,") == 14, "a line without its end")
    #expect(take("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1200000000\n") == 0)
    #expect(log.counts.accesses == 3)
    for line in [
      "", "I", "I  ", "I  04000a30", "I  04000a30,x\n", "I  04000g30,3\n", " L 0400_a30,3\n", " X 04000a30,3\n",
    ] {
      #expect(take(line) == 0, "\(line)")
    }
  }

  @Test func readsFiguresAsTheyAreWritten() {
    var random = SplitMix64(seed: 7)
    for _ in 0..<20_000 {
      // Mostly figures, of either case, now and then a byte that is none.
      let text = (0..<8).map { _ in
        random.next() % 40 == 0
          ? UInt8(truncatingIfNeeded: random.next())
          : Array("0123456789abcdefABCDEF".utf8)[Int(random.next() % 22)]
      }
      let isNumber = text.allSatisfy { Character(UnicodeScalar($0)).isHexDigit && $0 < 0x80 }
      let packed = text.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let expected = isNumber ? UInt64(String(decoding: text, as: UTF8.self), radix: 16) : nil
      #expect(LackeyAccess.eightFigures(packed) == expected, "\(text)")
    }
    for (line, address, size) in [
      ("I  1,2", 1, 2), (" L ffffffffffffffff,16", UInt64.max, 16), (" L  0ABCDEF1,4", 0xABC_DEF1, 4),
    ] {
      var position = 0
      let bytes = Array("\(line)\n".utf8)
      // SAFETY: bytes have no padding.
      let access = unsafe LackeyAccess(bytes.span.bytes, at: &position)
      #expect(access?.address == address && access?.size == UInt64(size) && position == bytes.count, "\(line)")
    }
  }

  @Test func mapsWhatLackeyTouches() throws {
    let machine = try machine()
    var memory: UserMemory { machine.users }
    var log = RecordedLog(machine)
    for line in [
      "==77== Lackey, an example Valgrind tool", "I  04000a30,3", " L 1ffefff800,8", " S 04222cac,8", " M 04222fff,2",
    ] {
      #expect(RecordedLog.isRecorded(line))
      #expect(try log.take(line) == nil)
    }
    #expect(log.counts.accesses == 4)
    #expect(log.counts.signals == 0)
    let process = memory.process(ProcessID(2))!
    #expect(process.space.counts.anonymousResident == 2)
    #expect(memory.isEntered(process, page: 0x0422_3000))
    #expect(!RecordedLog.isRecorded("load(0x1000, 8)"))
  }
}
