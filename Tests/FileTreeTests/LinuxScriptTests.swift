import FileTree
import Foundation
import Glibc
import Machine
import SystemPackage
import Testing
import Topology

/// What Linux 6.1 showed of processes in /proc, line by line (`LinuxScript`).
@Suite struct LinuxScriptTests {
  private func fixture(_ name: String) throws -> String {
    let file = try #require(Bundle.module.url(forResource: "process", withExtension: nil, subdirectory: "Fixtures"))
    return try String(contentsOf: file.appendingPathComponent(name), encoding: .utf8)
  }

  @Test(arguments: ["process", "areas", "written"]) func showsWhatLinuxShows(_ name: String) throws {
    try answers(name, LinuxScript())
  }

  /// Areas up to `max_map_count`, and promises up to the commit limit.
  @Test func stopsAtTheLimitsWhereLinuxDoes() throws {
    try answers("mapcount", LinuxScript(spareAreas: 25))
    try answers("overcommit", LinuxScript(sparePromises: 18 * 8192 + 4096))
  }

  private func answers(_ name: String, _ script: LinuxScript) throws {
    let ours = try script.run(fixture(name + ".calls"))
    let theirs = try fixture(name + ".linux").split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var differences: [String] = []
    var call = ""
    for index in 0..<max(ours.count, theirs.count) where differences.count < 12 {
      let our = index < ours.count ? ours[index] : "(nothing)"
      let their = index < theirs.count ? theirs[index] : "(nothing)"
      if their.hasPrefix("[pid") { call = their }
      if our != their { differences.append("line \(index + 1), \(call):\n  ours  \(our)\n  linux \(their)") }
    }
    #expect(differences.isEmpty, "\(differences.joined(separator: "\n"))")
  }

  /// Counters follow the same calls, but for what a real machine does meanwhile: up to 128 pages here and there.
  @Test func countsWhatLinuxCounts() throws {
    let ours = try LinuxScript().run(fixture("counters.calls"))
    let theirs = try fixture("counters.linux").split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    #expect(ours.count == theirs.count)
    var call = ""
    for (our, their) in zip(ours, theirs) {
      if !their.contains("counters()"), their.hasPrefix("[pid") { call = their }
      let (a, b) = (our.split(separator: " "), their.split(separator: " "))
      guard their.hasPrefix("  "), a.count == 2, b.count == 2, let mine = Int(a[1]), let real = Int(b[1]) else {
        continue
      }
      #expect(a[0] == b[0])
      let isKilobytes = !b[0].allSatisfy { $0.isLowercase || $0 == "_" }
      #expect(abs(mine - real) <= (isKilobytes ? 512 : 128), "\(b[0]) behind \(call): \(mine), and \(real) on Linux")
    }
  }
}

/// Page tables and huge pages behind every call, as Linux 6.1 counted them.
@Suite struct HugePageScriptTests {
  @Test func countsTablesAndHugePagesAsLinuxDoes() throws {
    let file = try #require(
      Bundle.module.url(forResource: "hugepages", withExtension: "linux", subdirectory: "Fixtures/process"))
    var served: Served?
    var first: [Substring: Int] = [:]
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("=") {
        var description = Preset.fourNode.machine
        description.settings.profile = .linux
        description.settings.thp = .always
        served = try Served(description)
        first = try counts(served!)
        continue
      }
      let parts = line.split(separator: " : ")
      _ = try served!.command(String(parts[0]))
      let now = try counts(served!)
      let changes = now.compactMap { name, value in value == first[name] ? nil : "\(name)=\(value - (first[name] ?? 0))"
      }
      let expected = parts[1].split(separator: " ").map(String.init).filter { $0 != "VmPTE=0" }
      #expect(changes.sorted() == expected.sorted(), "behind \(parts[0])")
    }
  }

  private func counts(_ served: Served) throws -> [Substring: Int] {
    var counts = ["VmPTE": try #require(served.text("proc/1/status").value("VmPTE:"))] as [Substring: Int]
    for line in try served.text("proc/vmstat").split(separator: "\n") where line.hasPrefix("thp_") {
      let words = line.split(separator: " ")
      counts[words[0]] = Int(words[1])
    }
    return counts
  }
}

/// The files of a process beyond what they show.
@Suite struct ProcessFileTests {
  @Test func comesAndGoes() throws {
    let served = try Served()
    let names = { try served.tree.entries(of: served.attributes("proc").inode).map(\.name).filter { Int($0) != nil } }
    #expect(try names() == ["1"])
    #expect(try served.command("spawn hog cpu=3") == "2\n")
    #expect(try names() == ["1", "2"])
    #expect(try served.text("proc/2/comm") == "hog\n" && served.text("proc/2/cmdline") == "hog\0")
    #expect(try served.text("proc/2/stat").hasPrefix("2 (hog) S 1 0 0 0 -1 256 0 0 0 0 "))
    #expect(try served.text("proc/2/stat").split(separator: " ").count == 52)
    #expect(try served.text("proc/2/status").contains("Name:\thog\n"))
    #expect(try served.command("fork()").hasSuffix("= 3\n"))
    let child = try served.text("proc/3/status")
    #expect(child.value("VmPeak:") == child.value("VmSize:") && child.value("VmHWM:") == child.value("VmRSS:"))
    _ = try served.command("[pid 3] exit(0)")
    #expect(try served.attributes("proc/2").lifetime == 0 && served.attributes("proc/2/maps").nameLifetime == 0)
    let open = try ["maps", "smaps", "numa_maps", "status", "oom_score_adj", "comm"].map {
      try served.open("proc/2/" + $0)
    }
    let (memory, pagemap) = (try served.open("proc/2/mem", O_RDWR), try served.open("proc/2/pagemap"))
    _ = try served.command("[pid 2] exit(0)")
    #expect(try names() == ["1"])
    for file in open { #expect(failure { () throws(Errno) in try file.text() } == .noSuchProcess) }
    #expect(try memory.read(8, at: 0x1000) == [] && pagemap.read(8, at: 8) == [])
    #expect(try memory.write([1], at: 0x1000) == 0)
    #expect(failure { () throws(Errno) in try served.text("proc/2/maps") } == .noSuchFileOrDirectory)
    #expect(failure { () throws(Errno) in try served.write("1", to: "proc/2/oom_score_adj") } == .noSuchFileOrDirectory)
    // A process of the same number after a reset is another one.
    let old = try served.open("proc/1/mem")
    #expect(try old.read(4, at: 0x1000) == [0, 0, 0, 0])
    let name = try served.open("proc/1/comm", O_RDWR)
    #expect(try name.text() == "init\n")
    _ = try served.command("reset")
    #expect(try old.read(4, at: 0x1000) == [])
    #expect(failure { () throws(Errno) in try name.text() } == .noSuchProcess)
    #expect(failure { () throws(Errno) in try name.write("x") } == .noSuchProcess)
  }

  /// Numbers go round, past the reserved ones, and what was opened of one process shows nothing of the next with its number.
  @Test func givesNumbersAgain() throws {
    let served = try Served(.fourNode, profile: .linux)
    #expect(try served.text("proc/sys/kernel/pid_max") == "32768\n")
    for bad in ["300", "4194305", "-1", "x", ""] {
      let error = failure { () throws(Errno) in try served.write(bad + "\n", to: "proc/sys/kernel/pid_max") }
      #expect(error == .invalidArgument, "\(bad)")
    }
    try served.write("303\n", to: "proc/sys/kernel/pid_max")
    let numbers = (2...302).map { $0 == 2 || $0 == 301 ? "spawn\n" : "spawn\n[pid \($0)] exit(0)\n" }
    #expect(try served.command(numbers.joined()).hasPrefix("2\n3\n"))
    let (memory, status) = (try served.open("proc/2/mem"), try served.open("proc/301/status"))
    #expect(try served.command("fork()").hasSuffix("= 300\n"), "up to 299 numbers are given out once")
    #expect(try served.command("fork()").hasSuffix("= 302\n"), "301 is in use")
    #expect(try served.command("fork()").contains("= -1 EAGAIN"))
    #expect(failure { () throws(Errno) in try served.command("spawn") } == .resourceTemporarilyUnavailable)
    #expect(try served.text("proc/stat").contains("\nprocesses 304\n"))
    #expect(try status.text().contains("\nPid:\t301\n"))
    _ = try served.command("[pid 301] exit(0)")
    #expect(try served.command("spawn next") == "301\n")
    #expect(failure { () throws(Errno) in try status.text() } == .noSuchProcess)
    #expect(try served.text("proc/301/comm") == "next\n")
    #expect(failure { () throws(Errno) in try memory.read(4, at: 0x1000) } == .ioError, "2 goes on")
    try served.write("20\n", to: "proc/sys/kernel/threads-max")
    #expect(try served.text("proc/sys/kernel/threads-max") == "20\n")
    _ = try served.command("reset")
    #expect(try served.text("proc/sys/kernel/pid_max") == "32768\n")
    try served.write("2\n", to: "proc/sys/kernel/threads-max")
    #expect(try served.command("spawn") == "2\n")
    #expect(failure { () throws(Errno) in try served.command("spawn") } == .resourceTemporarilyUnavailable)
  }

  /// What the oracle's kernel counted of six of eight locked pages that moved.
  @Test func countsLockedPagesThatMove() throws {
    let served = try Served(.fourNode, profile: .linux)
    func counts() throws -> [Int?] {
      let text = try served.text("proc/vmstat")
      return ["culled", "rescued", "mlocked", "munlocked", "stranded"].map { text.value("unevictable_pgs_" + $0) }
    }
    _ = try served.command("mmap(0x10000000, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    _ = try served.command("mlock(0x10000000, 32768)")
    #expect(try counts() == [8, 0, 8, 0, 0])
    #expect(try served.command("move_pages(0x10000000, 6, 1, MPOL_MF_MOVE)").hasSuffix("= 0 [1, 1, 1, 1, 1, 1]\n"))
    #expect(try counts() == [14, 6, 14, 0, 6])
    _ = try served.command("munlock(0x10000000, 32768)")
    #expect(try counts() == [14, 14, 14, 8, 6])
  }

  /// What the oracle's kernel counted: tables of the two lowest levels alone, where VmPTE has all but the root; and nothing of the kernel's own.
  @Test func countsTables() throws {
    var description = Preset.fourNode.machine
    description.settings.profile = .linux
    description.settings.thp = .never
    let served = try Served(description)
    var last: [Int] = []
    func change(_ lines: String...) throws -> [Int] {
      for line in lines { _ = try served.command(line) }
      let now = try [
        #require(served.text("proc/meminfo").value("PageTables:")),
        #require(served.text("proc/1/status").value("VmPTE:")),
      ]
      defer { last = now }
      return zip(now, last.isEmpty ? [0, 0] : last).map { $0 - $1 }
    }
    func map(_ address: String, _ kind: String = "PRIVATE") -> String {
      "mmap(\(address), 65536, PROT_READ|PROT_WRITE, MAP_\(kind)|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    }
    #expect(try change() == [8, 12], "of init's heap")
    #expect(try change(map("0x200000000000")) == [0, 0])
    #expect(try change(#"store(0x200000000000, "a")"#) == [8, 12])
    #expect(try change(map("0x200040000000"), #"store(0x200040000000, "a")"#) == [8, 8])
    #expect(try change(map("0x210000000000"), #"store(0x210000000000, "a")"#) == [8, 12])
    #expect(try change(map("0x211040000000", "SHARED"), #"store(0x211040000000, "a")"#) == [8, 8])
    let nodes = try (0..<4).map { node in
      try served.text("sys/devices/system/node/node\(node)/meminfo").value("PageTables:") ?? 0
    }
    #expect(nodes.reduce(0, +) == last[0])
    #expect(try change("fork()", "[pid 2] exit(0)") == [0, 0])
    #expect(try change("munmap(0x200000000000, 65536)") == [-8, -8])
    _ = try served.command("exit(0)")
    #expect(try served.text("proc/meminfo").value("PageTables:") == 0)
  }

  /// What init has on the real machine, but for a number that follows from the memory.
  @Test func showsLimits() throws {
    let served = try Served(.fourNode, profile: .linux)
    let lines = try served.text("proc/1/limits").lines
    #expect(lines.count == 17)
    #expect(lines[0] == "Limit                     Soft Limit           Hard Limit           Units     ")
    #expect(lines[4] == "Max stack size            8388608              unlimited            bytes     ")
    #expect(lines[14] == "Max nice priority         0                    0                    ")
    #expect(lines[16] == "Max realtime timeout      unlimited            unlimited            us        ")
    // An eighth of the memory in stacks of 16 KiB, and half of that.
    let pages = try #require(try served.text("proc/meminfo").value("MemTotal:")) / 4
    let count = "\(pages / 32 / 2)"
    #expect(lines[7] == "Max processes             \(count)                \(count)                processes ")
    #expect(try served.text("proc/1/status").contains("\nSigQ:\t0/\(count)\nSigPnd:"))
  }

  /// The lines of the oracle's kernel, in its order.
  @Test func showsTheStatusOfLinux() throws {
    let labels = """
      Name Umask State Tgid Ngid Pid PPid TracerPid Uid Gid FDSize Groups NStgid NSpid NSpgid NSsid VmPeak VmSize VmLck VmPin VmHWM \
      VmRSS RssAnon RssFile RssShmem VmData VmStk VmExe VmLib VmPTE VmSwap HugetlbPages CoreDumping THP_enabled Threads SigQ SigPnd \
      ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Speculation_Store_Bypass \
      SpeculationIndirectBranch Cpus_allowed Cpus_allowed_list Mems_allowed Mems_allowed_list voluntary_ctxt_switches \
      nonvoluntary_ctxt_switches
      """
    let status = try Served().text("proc/1/status")
    #expect(status.lines.map { $0.prefix { $0 != ":" } } == labels.split(separator: " "))
    #expect(status.contains("\nSpeculation_Store_Bypass:\tnot vulnerable\n"))
    #expect(status.contains("\nSpeculationIndirectBranch:\talways enabled\n"))
  }

  @Test func readsAndWritesThroughThePageTables() throws {
    let served = try Served()
    _ = try served.command("mmap(0x10000000, 0x3000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    let memory = try served.open("proc/1/mem", O_RDWR)
    #expect(try memory.read(3, at: 0x1000_0ffe) == [0, 0, 0], "faults included")
    #expect(try served.command("pagemap(0x10000000, 0x3000)").hasSuffix("= PP.\n"))
    #expect(try memory.write("written", at: 0x1000_1ffd) == 7, "over a page's end, into what may only be read")
    #expect(try served.command("load(0x10001ffd, 7)").contains("\"written\""))
    #expect(try served.command("store(0x10001ffd, \"no\")").contains("SEGV_ACCERR"))
    #expect(try memory.read(100, at: 0x1000_2ff0).count == 16, "up to where nothing is mapped")
    for address: Int64 in [0, 0x0FFF_FFFF, 0x1000_3000, 1 << 50, .max - 8] {
      #expect(failure { () throws(Errno) in try memory.read(8, at: address) } == .ioError, "\(address)")
      #expect(failure { () throws(Errno) in try memory.write([1], at: address) } == .ioError, "\(address)")
    }
    #expect(failure { () throws(Errno) in try memory.seek(0, whence: 3) } == .invalidArgument)
  }

  @Test func showsPagesByEntriesOfEightBytes() throws {
    let served = try Served()
    let file = try served.open("proc/1/pagemap")
    let entry = try file.read(8, at: 8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let frame = try #require(
      try served.command("dump_pt 0x1000").lines[3].split(separator: " ").last { $0.hasPrefix("0x") })
    #expect(entry == 1 << 63 | 1 << 56 | 1 << 55 | UInt64(frame.dropFirst(2), radix: 16)! >> 12)
    for (size, offset) in [(5, 8), (8, 9), (12, 8)] {
      #expect(failure { () throws(Errno) in try file.read(size, at: Int64(offset)) } == .invalidArgument)
    }
    #expect(try file.read(0, at: 8) == [])
    // The last page of the users' half, and nothing behind it.
    let end = Int64(0x7FFF_FFFF_F000 / 512)
    #expect(try file.read(800, at: end - 80).count == 80)
    for offset in [end, end + 8, 1 << 60] { #expect(try file.read(64, at: offset) == []) }
  }

  @Test func takesFaultAroundBytesAsLinuxDoes() throws {
    let served = try Served()
    let path = "sys/kernel/debug/fault_around_bytes"
    #expect(try served.text(path) == "65536\n")
    let cases: [(String, String)] = [
      ("0\n", "4096"), ("5000\n", "4096"), ("65535\n", "32768"), ("0x10000\n", "65536"), ("010000\n", "4096"),
      ("2097152\n", "2097152"),
    ]
    for (written, read) in cases {
      #expect(try served.write(written, to: path) == written.utf8.count)
      #expect(try served.text(path) == read + "\n", "\(written)")
    }
    for (written, errno) in [
      ("2101248", Errno.invalidArgument), ("x", .invalidArgument), ("18446744073709551616", .outOfRange),
    ] {
      #expect(failure { () throws(Errno) in try served.write(written, to: path) } == errno, "\(written)")
    }
    #expect(try served.text(path) == "2097152\n")
  }

  /// `alloc_pages` goes by the policy of who asks, for page tables as well.
  @Test func pageTablesLieWhereThePolicySays() throws {
    let served = try Served()
    func tables() throws -> [UInt64] {
      try (0..<4).map { node in
        let text = try served.text("sys/devices/system/node/node\(node)/meminfo")
        let line = try #require(text.lines.first { $0.contains(" PageTables:") })
        return try #require(UInt64(line.split(separator: " ")[3]))
      }
    }
    func grown(_ lines: String...) throws -> [UInt64] {
      let before = try tables()
      for line in lines { _ = try served.command("[pid 1] " + line) }
      return try zip(tables(), before).map { $0 - $1 }
    }
    _ = try served.command(
      "[pid 1] mmap(0x100000000, 1073741824, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    // A table of base pages, and the one above it.
    #expect(
      try grown("set_mempolicy(MPOL_BIND, [0x4], 64)", "store(0x100000000, \"a\")") == [0, 0, 8, 0])
    #expect(
      try grown("set_mempolicy(MPOL_PREFERRED, [0x8], 64)", "store(0x100200000, \"a\")") == [0, 0, 0, 4])
    #expect(
      try grown(
        "set_mempolicy(MPOL_INTERLEAVE, [0x6], 64)", "store(0x100400000, \"a\")", "store(0x100600000, \"a\")",
        "store(0x100800000, \"a\")") == [0, 8, 4, 0])
    // The child's lie where its parent's policy says: all that the parent has of the window, and what leads there.
    let forked = try grown("fork()")
    #expect(forked[0] == 0 && forked[3] == 0 && forked[1] + forked[2] >= 28, "\(forked)")
    #expect(try grown("set_mempolicy(MPOL_DEFAULT, NULL, 0)", "store(0x100a00000, \"a\")") == [4, 0, 0, 0])
  }
}
