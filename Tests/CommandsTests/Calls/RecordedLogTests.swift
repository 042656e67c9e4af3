import AddressSpaces
import Machine
import MemoryTypes
import SystemPackage
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

  /// What strace(1) prints with -t, -tt, -ttt, -T and -y, and without -o.
  @Test(arguments: [
    "7  12:00:01 munmap(0x7f1200000000, 4096) = 0", "7 12:00:01.123456 munmap(0x7f1200000000, 4096) = 0 <0.000012>",
    "[pid     7] 1700000000.123456 munmap(0x7f1200000000, 4096) = 0",
    "munmap(0x1, 4096) = -1 EINVAL (Invalid argument)",
    "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|0x1000000 /* MAP_??? */, 3</a\\\"b>, 0) = 0x7f1200000000",
    "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|21<<MAP_HUGE_SHIFT, -1, 0) = 0x7f1200000000",
    "7 mlock2(0x7f1200000000, 4096, MLOCK_ONFAULT) = 0", "[pid 7] futex(0x7f12, FUTEX_WAIT, 2, NULL <unfinished ...>",
    "[pid 7] <... futex resumed>) = 0", "strace: Process 7 attached", "7 +++ killed by SIGTERM +++",
    "7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---",
    "[00007f12abcdef01] munmap(0x7f1200000000, 4096) = 0", "7 [????????????????] +++ exited with 0 +++",
    "[pid 7] [00007f12abcdef01] munmap(0x1, 4096) = -1 EINVAL (Invalid argument)",
    "[????????????????] --- SIGCHLD {si_signo=SIGCHLD} ---",
  ])
  func takesWhatOptionsAdd(_ line: String) throws {
    var log = RecordedLog(try machine())
    #expect(RecordedLog.isRecorded(line))
    #expect(try log.take(line) == nil)
    #expect(log.counts.differing == 0)
  }

  /// Calls about policies and CPUs take effect, for the process that they name.
  @Test func placesAsRecorded() throws {
    let machine = try machine()
    var log = RecordedLog(machine)
    func take(_ line: String) throws -> String? { try log.take(line) }
    for line in [
      "7 mmap(NULL, 16384, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_POPULATE, -1, 0) = 0x7f1200000000",
      "7 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 8",
      "7 move_pages(0, 3, [0x7f1200000000, 0x7f1200001000, 0x7f1200002000], [1, 2, 2], [1, 2, 2], MPOL_MF_MOVE_ALL) = 0",
      "7 move_pages(0, 2, [0x7f1200000000, 0x7f1200009000], NULL, [1, -ENOENT], 0) = 0",
      "7 migrate_pages(8, 64, [0x00000000000004], [0x00000000000008]) = 0",
      "8 get_mempolicy([MPOL_DEFAULT], [0x0000000000000000], 64, NULL, 0) = 0",
      "7 sched_setaffinity(8, 128, [5 7])  = 0", "7 sched_setaffinity(7, 128, [2]) = 0",
    ] { #expect(try take(line) == nil, "\(line)") }
    #expect(log.counts.calls == 8 && log.counts.skipped == 0 && log.counts.differing == 0)
    let (parent, child) = (machine.users.process(ProcessID(2))!, machine.users.process(ProcessID(3))!)
    #expect(machine.users.numaMaps(parent).contains("N0=1 N1=1 N3=2"), "\(machine.users.numaMaps(parent))")
    #expect(parent.allowedCPUs.map(\.rawValue) == [2] && child.allowedCPUs.map(\.rawValue) == [5, 7])
    #expect(
      try take("8 sched_setaffinity(0, 128, [77]) = 0") == "sched_setaffinity(0, 128, [77]) = -1 EINVAL, recorded 0")
    // Of a long list strace prints the beginning.
    #expect(try take("7 move_pages(0, 99, [0x7f1200000000, ...], [1, ...], [1, ...], MPOL_MF_MOVE) = 0") == nil)
    #expect(log.counts.skipped == 1)
  }

  /// Without -o strace says in the middle of a line that it follows a new process.
  @Test(arguments: [
    [
      "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLDstrace: Process 8 attached",
      ", child_tidptr=0x7f12) = 8",
    ],
    [
      "[pid 7] clone(child_stack=NULL, flags=SIGCHLDstrace: Process 8 attached", " <unfinished ...>",
      "[pid 8] brk(NULL) = 0x55d0c0f00000", "[pid 7] <... clone resumed>, child_tidptr=0x7f12) = 8",
    ],
  ]) func joinsTornLines(_ lines: [String]) throws {
    let machine = try machine()
    var replay = Replay(machine)
    var text = TextBuffer()
    for line in ["brk(NULL) = 0x55d0c0e00000"] + lines { replay.carryOut(line, into: &text) }
    #expect(text.string == "" && replay.refused == 0)
    #expect(machine.users.pids.count == (lines.count == 2 ? 3 : 4), "\(machine.users.pids)")
    let console = CommandFile(machine: machine).open(reads: true, writes: true, appends: false)
    let log = (lines.joined(separator: "\n") + "\n").utf8
    #expect(try unsafe Array(log).withUnsafeBytes { try unsafe console.write($0, at: 0) } == log.count)
  }

  /// A line of somebody else's is none that goes on with a torn one.
  @Test func leavesWhatFollowsATornLine() throws {
    let machine = try machine()
    var replay = Replay(machine)
    var text = TextBuffer()
    for line in ["clone(child_stack=NULLstrace: Process 8 attached", "spawn hog", "clone(xstrace: Process 9 attached"] {
      replay.carryOut(line, into: &text)
    }
    replay.carryOut("[pid 2] exit(0)", into: &text)
    #expect(text.string == "spawn hog = 2\n[pid 2] exit(0) = ?\n" && replay.refused == 0)
  }

  /// A log that ends anywhere.
  @Test func saysWhatIsCutShort() throws {
    for line in ["8325  mmap(NULL, 90", "8325", "83"] {
      var replay = Replay(try machine(), summarizes: true)
      var text = TextBuffer()
      replay.carryOut(line, into: &text)
      #expect(text.string.contains("one of a recorded log, which this is not or not all of"), "\(line)")
      #expect(replay.refused == 1)
    }
  }

  /// A program whose log is replayed has made no invalid access where its pages are made as it touches them.
  @Test func countsNoFaultsThatTheProgramHadNot() throws {
    let machine = try machine()
    var replay = Replay(machine, summarizes: true)
    var text = TextBuffer()
    for line in [" L 04222cac,8", " S 1ffeffe7e8,16", "I  04001000,3"] { replay.carryOut(line, into: &text) }
    replay.printSummary(into: &text)
    #expect(text.string.contains("; 0 accesses refused\n") && replay.refused == 0)
    #expect(machine.users.events.invalid == 0 && machine.users.events.faults > 0)
  }

  /// Lines of a script that look like it.
  @Test(arguments: [
    "store(0x10000, \"a() = b\")", "1234", "8325 frees", "12:00", "[pid 7] munmap(0x1000, 4096)", "mem", "I am",
    " Left",
    "dump_pt 0x1000", "alloc order=3",
  ])
  func leavesScriptsAlone(_ line: String) {
    #expect(!RecordedLog.isRecorded(line))
  }

  /// execve maps a program's image, which no call says; its protection is changed later.
  @Test func mapsTheImageWhereItIsUsed() throws {
    let machine = try machine()
    var log = RecordedLog(machine)
    for line in [
      "7 execve(\"/bin/true\", [\"true\"], 0x7ffd0 /* 12 vars */) = 0",
      "7 mprotect(0x55d0c0f00000, 8192, PROT_READ) = 0",
      "7 mprotect(0x55d0c0f01000, 8192, PROT_READ) = -1 ENOMEM (Cannot allocate memory)",
    ] { #expect(try log.take(line) == nil) }
    let maps = machine.users.maps(machine.users.process(ProcessID(2))!)
    #expect(maps.contains("55d0c0f00000-55d0c0f02000 r--p"))
  }

  /// A child or thread that is heard of before its parent's call returns is what that call makes.
  @Test func knowsWhatIsBornBeforeTheCallReturns() throws {
    let machine = try machine()
    var memory: UserMemory { machine.users }
    var log = RecordedLog(machine)
    for line in [
      "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1200000000",
      "7 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f11} => {parent_tid=[8]}, 88 <unfinished ...>",
      "8 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1200002000",
      "7 <... clone3 resumed>) = 8",
      "7 vfork( <unfinished ...>",
      "9 munmap(0x7f1200000000, 4096) = 0",
      "9 exit_group(0) = ?", "9 +++ exited with 0 +++",
      "7 <... vfork resumed>) = 9",
      "7 munmap(0x7f1200002000, 4096) = 0",
    ] { #expect(try log.take(line) == nil, "\(line)") }
    #expect(log.counts.differing == 0)
    #expect(memory.maps(memory.process(ProcessID(2))!).contains("7f1200000000-7f1200001000 rw-p"))
    #expect(memory.pids.map(\.rawValue) == [1, 2])
  }

  /// A log that is written to the command file is carried out like one that is replayed, whatever handles it comes through.
  @Test func isTakenByTheCommandFile() throws {
    let machine = try machine()
    let file = CommandFile(machine: machine)
    let log = """
      7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f1200000000
      7 munmap(0x7f1200001000, 4096 <unfinished ...>
      7 openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3
      7 <... munmap resumed>) = 0
      7 munmap(0x7f1200000001, 4096) = 0
      ==9== Lackey
       S 04222cac,8

      """
    #expect(try write(log, to: file) == "munmap(0x7f1200000001, 4096) = -1 EINVAL, recorded 0\n")
    #expect(try write("7 munmap(0x7f1200000000, 4096) = 0\n", to: file) == "")
    #expect(try write("[pid 2] load(0x4222cac, 1)\n", to: file) == "[pid 2] load(0x4222cac, 1) = \"\\0\" faults=0\n")
    #expect(throws: Errno.invalidArgument) { try write("7 munmap(what, 4096) = 0\n", to: file) }
    #expect(machine.verify() == [])
  }

  /// Writes lines through a handle of their own; what it answers.
  private func write(_ lines: String, to file: CommandFile) throws -> String {
    let handle = file.open(reads: true, writes: true, appends: false)
    let bytes = Array(lines.utf8)
    #expect(try unsafe bytes.withUnsafeBytes { try unsafe handle.write($0, at: 0) } == bytes.count)
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = unsafe buffer.withUnsafeMutableBytes { unsafe handle.read(into: $0, at: 0) }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  /// Sizes that no instruction has are no accesses.
  @Test func refusesAccessesWithoutBound() {
    #expect(RecordedLog.isRecorded(" L 1ffefff800,512"))
    #expect(!RecordedLog.isRecorded(" L 1000,18446744073709551615"))
    #expect(!RecordedLog.isRecorded("I  1000,99999999999999999999999"))
  }
}
