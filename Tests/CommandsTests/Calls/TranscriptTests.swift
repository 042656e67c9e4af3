import AddressSpaces
import Glibc
import MemoryTypes
import Testing
import Translation

/// Scripts that a real kernel carried out (Linux 6.1, four nodes, transparent_hugepage=never), with what it answered.
@Suite struct TranscriptTests {
  /// The repository's own copies.
  static let fixtures = [
    "fork-cow", "numa", "policies", "tables", "stack", "lazyfree", "merging", "referenced", "random-1", "random-7",
  ]
  /// The same with transparent_hugepage=always.
  static let hugePageFixtures = [
    "thp-fault", "thp-split", "thp-fork", "thp-collapse", "thp-numa", "thp-bind", "thp-random-1", "thp-random-2",
  ]
  /// The first again with huge pages of shared memory (shmem_enabled: always).
  static let sharedHugePageFixtures = [
    "shmem-fault", "shmem-split", "shmem-fork", "shmem-collapse", "shmem-numa", "shmem-random-1", "shmem-random-2",
  ]
  /// The same with pools of huge pages.
  static let hugePoolFixtures = ["hugetlb-basic", "hugetlb-reserve", "hugetlb-numa", "hugetlb-over", "hugetlb-smaps"]
  /// All of the oracle's, where it is at hand.
  static let oracle: [String] = (try? names(in: oracleFolder)) ?? []
  static let fixtureFolder = folder(above: #filePath, 2) + "/Fixtures/calls"
  static let oracleFolder = folder(above: #filePath, 5) + "/shared/oracle/transcripts"

  @Test(arguments: fixtures) func reproducesFixture(_ name: String) throws {
    try compare(Self.fixtureFolder + "/" + name)
  }

  @Test(.enabled(if: !oracle.isEmpty, "the oracle's transcripts are not beside the repository"), arguments: oracle)
  func reproducesOracle(_ name: String) throws {
    try compare(Self.oracleFolder + "/" + name)
  }

  /// Other page formats with pages of 4 KiB give the same transcripts: the window of the scripts lies in their users' half as well.
  static let formats: [PageFormat] = [.x86_64_5level, .aarch64_4k, .sv39, .sv48]
  @Test(arguments: formats, fixtures)
  func reproducesFixture(_ format: PageFormat, _ name: String) throws {
    try compare(Self.fixtureFolder + "/" + name, format)
  }

  @Test(
    .enabled(if: !oracle.isEmpty, "the oracle's transcripts are not beside the repository"), arguments: formats, oracle)
  func reproducesOracle(_ format: PageFormat, _ name: String) throws {
    try compare(Self.oracleFolder + "/" + name, format)
  }

  /// Arguments at the ends of what they may be; the ends are those of the oracle's addresses, of 56 bits.
  @Test func reproducesEdges() throws { try compare(Self.fixtureFolder + "/edges", .x86_64_5level) }

  @Test(arguments: [PageFormat.x86_64, .aarch64_4k, .sv39], hugePageFixtures)
  func reproducesHugePages(_ format: PageFormat, _ name: String) throws {
    let machine = try CallMachine(format: format, hugePages: .always)
    try compare(Self.fixtureFolder + "/" + name, machine)
    #expect(machine.memory.verify().isEmpty && machine.differences.isEmpty)
    for pid in machine.memory.pids { machine.memory.exit(machine.memory.process(pid)!) }
    #expect(machine.memory.verify().isEmpty && machine.differences.isEmpty)
  }

  @Test(arguments: [PageFormat.x86_64, .aarch64_4k, .sv39], sharedHugePageFixtures)
  func reproducesSharedHugePages(_ format: PageFormat, _ name: String) throws {
    try reproduceSharedHugePages(format, name, .always)
  }

  /// With shmem_enabled set to advise.
  @Test func reproducesAdvisedSharedHugePages() throws { try reproduceSharedHugePages(nil, "shmem-advise", .advise) }

  private func reproduceSharedHugePages(_ format: PageFormat?, _ name: String, _ setting: HugePageSettings.Shared)
    throws
  {
    let machine = try CallMachine(format: format, sharedHugePages: setting)
    try compare(Self.fixtureFolder + "/" + name, machine)
    #expect(machine.memory.verify().isEmpty && machine.differences.isEmpty)
    for pid in machine.memory.pids { machine.memory.exit(machine.memory.process(pid)!) }
    #expect(machine.memory.verify().isEmpty && machine.differences.isEmpty)
    let use = machine.memory.pageUse(of: NodeID(0))
    #expect(use.shared == 0 && use.sharedHuge == 0 && use.sharedWhole == 0 && use.mapped == 0)
  }

  /// Mappings of huge pages, out of a pool of eight of 2 MiB, or of two with two to be made.
  @Test(arguments: [PageFormat.x86_64, .aarch64_4k, .sv39], hugePoolFixtures)
  func reproducesHugePools(_ format: PageFormat, _ name: String) throws {
    let machine = try CallMachine(format: format, hugePages: .always)
    let isOvercommitted = name == "hugetlb-over"
    machine.memory.resizeHugePages(.mib(2), to: isOvercommitted ? 2 : 8)
    machine.memory.hugePools.setOvercommit(.mib(2), to: isOvercommitted ? 2 : 0)
    try compare(Self.fixtureFolder + "/" + name, machine)
    // Processes are gone at the script's end, and all is as it was.
    let pool = machine.memory.hugePools.total(.mib(2))
    #expect(pool.total == (isOvercommitted ? 2 : 8) && pool.free == pool.total)
    #expect(pool.reserved == 0 && pool.surplus == 0)
    machine.memory.resizeHugePages(.mib(2), to: 0)
    #expect(machine.memory.verify().isEmpty && machine.differences.isEmpty)
  }

  /// A space of 32 bits has nothing in the window that `maps()` shows.
  @Test func showsNoAreasOfNarrowSpaces() throws {
    #expect(try CallMachine("i386-highmem").replay("maps()") == "[pid 1] maps()\n")
  }

  /// The same script leads to the same state, to the byte.
  @Test func repeatsItself() throws {
    let script = Self.read(Self.fixtureFolder + "/random-7.calls")
    let machines = [try CallMachine(), try CallMachine()]
    #expect(try machines[0].replay(script) == machines[1].replay(script))
    for pid in machines[0].memory.pids {
      let (a, b) = (machines[0].memory, machines[1].memory)
      #expect(a.smaps(a.process(pid)!) == b.smaps(b.process(pid)!))
      #expect(a.numaMaps(a.process(pid)!) == b.numaMaps(b.process(pid)!))
    }
  }

  private func compare(_ path: String, _ format: PageFormat? = nil) throws {
    try compare(path, CallMachine(format: format))
  }

  private func compare(_ path: String, _ machine: CallMachine) throws {
    let ours = try machine.replay(Self.read(path + ".calls")).split(
      separator: "\n", omittingEmptySubsequences: false)
    let theirs = Self.read(path + ".linux").split(separator: "\n", omittingEmptySubsequences: false)
    var differences: [String] = []
    for index in 0..<max(ours.count, theirs.count) where differences.count < 5 {
      let our = index < ours.count ? ours[index] : "(nothing)"
      let their = index < theirs.count ? theirs[index] : "(nothing)"
      if our != their { differences.append("line \(index + 1):\n  ours  \(our)\n  linux \(their)") }
    }
    #expect(differences.isEmpty, "\(differences.joined(separator: "\n"))")
  }

  static func folder(above path: String, _ levels: Int) -> String {
    path.split(separator: "/").dropLast(levels).reduce("") { $0 + "/" + $1 }
  }

  static func names(in folder: String) throws -> [String] {
    guard let directory = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasSuffix(".calls") { names.append(String(name.dropLast(6))) }
    }
    return names.sorted()
  }

  static func read(_ path: String) -> String {
    guard let file = unsafe fopen(path, "r") else { return "" }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe fread($0.baseAddress, 1, $0.count, file) }
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer.prefix(count)
    }
  }
}
