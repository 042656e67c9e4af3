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
