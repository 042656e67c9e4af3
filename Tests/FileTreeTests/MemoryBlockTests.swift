import FileTree
import Glibc
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// Blocks of memory that come and go by their files, as the real kernel's did on four-node when it was asked.
@Suite struct MemoryBlockTests {
  private static let memory = "sys/devices/system/memory/"
  private static let nodes = "sys/devices/system/node/"

  private func block(_ number: Int, _ name: String) -> String { "\(Self.memory)memory\(number)/\(name)" }

  /// All text below what shows memory, with the names of all entries: two of these that are equal show no difference anywhere.
  private func everything(_ served: Served) throws -> [String: String] {
    var all: [String: String] = [:]
    for top in ["sys/devices/system/memory", "sys/devices/system/node", "proc", "sys/bus/memory"] {
      try served.walk(from: top, most: 100) { entry in
        var content = "\(entry.attributes.kind) \(entry.attributes.links) \(entry.attributes.size)"
        // What shows a whole address space has no end to speak of.
        if ["/mem", "/pagemap"].contains(where: entry.path.hasSuffix) { return }
        if entry.attributes.kind == .file, let text = try? served.text(entry.path) { content += text }
        all[entry.path] = content
      }
    }
    all["dev/mem"] = "\(try served.attributes("dev/mem").size)"
    return all
  }

  @Test func wordsAndErrorsAreLinuxs() throws {
    let served = try Served(.fourNode, profile: .linux)
    func write(_ text: String, _ name: String = "state") -> Errno? {
      failure { () throws(Errno) in try served.write(text, to: block(9, name)) }
    }
    func shows() throws -> [String] {
      [
        try served.text(block(9, "state")), try served.text(block(9, "valid_zones")),
        try served.text(block(9, "online")),
      ]
    }
    #expect(try shows() == ["online\n", "DMA32\n", "1\n"])
    // As chmem writes it, and as echo does.
    #expect(write("offline") == nil)
    #expect(try shows() == ["offline\n", "DMA32 Movable\n", "0\n"])
    #expect(try served.text(block(9, "removable")) == "1\n")
    #expect(write("offline\n") == .invalidArgument)
    #expect(write("online_movable\n") == nil)
    #expect(try shows() == ["online\n", "Movable\n", "1\n"])
    #expect(write("offline\n") == nil && write("online\n") == nil)
    #expect(try shows() == ["online\n", "DMA32\n", "1\n"])
    let before = try everything(served)
    for word in [
      "online\n", "online_movable\n", "online_kernel\n", "Offline\n", "offline \n", "\n", "", "foo\n", "remove\n",
      "offline\n\n",
    ] { #expect(write(word) == .invalidArgument, "\(word)") }
    #expect(write("2\n", "online") == .invalidArgument)
    #expect(write("1\n", "online") == nil)
    #expect(try everything(served) == before)
    // What is so already is no error to `online`.
    for (text, state) in [
      ("0\n", "offline\n"), ("1\n", "online\n"), ("off\n", "offline\n"), ("0\n", "offline\n"), ("on\n", "online\n"),
    ] {
      #expect(write(text, "online") == nil)
      #expect(try served.text(block(9, "state")) == state)
    }
  }

  @Test func whatCannotGoLeavesEveryFileAsItWas() throws {
    let served = try Served(.fourNode, profile: .linux)
    _ = try served.command("alloc count=3 node=3")
    var listed = FrameRequest(count: FrameCount(1), node: NodeID(3), mobility: .movable)
    listed.owner = FrameOwner(.command)
    let given = try served.machine.memory.allocate(listed)
    try served.machine.memory.free(given, cpu: CPUID(0))
    let frame = try #require(
      UInt64(try served.command("alloc node=3").lines[0].dropFirst(2), radix: 16).map { Int($0 >> 27) })
    let before = try everything(served)
    // Several zones; holes; the kernel's image; early allocations; what a line holds that is not movable.
    for (number, error) in [
      (0, Errno.invalidArgument), (23, .invalidArgument), (12, .resourceBusy), (39, .resourceBusy),
      (frame, .resourceBusy),
    ] {
      #expect(
        failure { () throws(Errno) in try served.write("offline", to: block(number, "state")) } == error, "\(number)")
      #expect(failure { () throws(Errno) in try served.write("0", to: block(number, "online")) } == error, "\(number)")
      #expect(try everything(served) == before, "\(number)")
    }
    #expect(served.machine.memory.verify() == [])
  }

  @Test func everyFileFollows() throws {
    let served = try Served(.fourNode, profile: .linux)
    let total = try #require(try served.text("proc/meminfo").value("MemTotal:"))
    let free = try #require(try served.text(Self.nodes + "node3/meminfo").value("MemFree:"))
    let limit = try #require(try served.text("proc/meminfo").value("CommitLimit:"))
    for number in 33..<39 { try served.write("offline", to: block(number, "state")) }
    #expect(try served.text("proc/meminfo").value("MemTotal:") == total - 6 * 131_072)
    #expect(try served.text(Self.nodes + "node3/meminfo").value("MemFree:") == free - 6 * 131_072)
    #expect(try served.text("proc/meminfo").value("CommitLimit:") == limit - 3 * 131_072)
    #expect(try served.text(Self.nodes + "has_memory") == "0-3\n")
    // A link stays: the block is the node's still.
    #expect(try served.attributes(Self.nodes + "node3/memory33").kind == .link)
    // Node 2 without its last block, which has a hole and so cannot go, has memory still; it comes back as movable memory.
    for number in 16..<23 where number != 20 { _ = try? served.write("offline", to: block(number, "state")) }
    try served.write("online_movable", to: block(17, "state"))
    #expect(try served.text("proc/buddyinfo").lines.contains { $0.hasPrefix("Node 2, zone  Movable") })
    _ = try served.command("reset")
    #expect(try served.text("proc/meminfo").value("MemTotal:") == total)
    #expect(try served.text(block(33, "state")) == "online\n")
  }

  @Test func memoryLessNodes() throws {
    // Two nodes of 512 MiB, the second with nothing in it that is not free.
    let source = """
      nodes:
        - {cpus: 0-1, memory: 512M}
        - {cpus: 2-3, memory: 512M}
      distances: [[10, 20], [20, 10]]
      """
    var description = try MachineDescription(yaml: source, source: "test", name: "test")
    description.settings.profile = .linux
    description.reserved.removeAll {
      $0.range.start >= PhysicalAddress(512 << 20) && $0.range.start < PhysicalAddress(1 << 30)
    }
    let served = try Served(description)
    for number in 4..<8 { try served.write("offline", to: block(number, "state")) }
    #expect(
      try served.text(Self.nodes + "has_memory") == "0\n" && served.text(Self.nodes + "has_normal_memory") == "0\n")
    #expect(try served.text(Self.nodes + "online") == "0-1\n")
    #expect(try served.text(Self.nodes + "node1/meminfo").value("MemTotal:") == 0)
    #expect(try served.text("proc/1/status").contains("Mems_allowed_list:\t0\n"))
    // Beside no zone: Normal, however low.
    #expect(try served.text(block(5, "valid_zones")) == "Normal Movable\n")
    try served.write("online_movable", to: block(5, "state"))
    #expect(
      try served.text(Self.nodes + "has_memory") == "0-1\n" && served.text(Self.nodes + "has_normal_memory") == "0\n")
    try served.write("online", to: block(4, "state"))
    #expect(try served.text(block(4, "valid_zones")) == "Normal\n")
    #expect(try served.text(Self.nodes + "has_normal_memory") == "0-1\n")
    #expect(served.machine.memory.verify() == [])
  }

  @Test func aProfileWithoutMovable() throws {
    let served = try Served(.fourNode)
    try served.write("offline", to: block(9, "state"))
    #expect(try served.text(block(9, "valid_zones")) == "Normal\n")
    #expect(
      failure { () throws(Errno) in try served.write("online_movable", to: block(9, "state")) } == .invalidArgument)
    try served.write("online_kernel", to: block(9, "state"))
    #expect(try served.text(block(9, "state")) == "online\n")
  }

  @Test func probeAddsABlock() throws {
    let served = try Served(.fourNode, profile: .linux)
    let probe = Self.memory + "probe"
    func write(_ text: String) -> Errno? { failure { () throws(Errno) in try served.write(text, to: probe) } }
    #expect(failure { () throws(Errno) in try served.open(probe, O_RDONLY) } == .permissionDenied)
    let before = try everything(served)
    for (text, error) in [
      ("0x140000001", Errno.invalidArgument), ("foo", .invalidArgument), ("", .invalidArgument),
      ("0x8000000", .fileExists),
      ("0x100000000", .fileExists), ("0xf8000000", .fileExists), ("0xfff8000000", .argListTooLong),
      ("0xfffffffff8000000", .argListTooLong), ("0xfffffffff0000000", .argListTooLong),
      ("0xffffffffffffffff", .invalidArgument),
      ("0x10000000000000000", .outOfRange),
    ] {
      #expect(write(text) == error, "\(text)")
      #expect(try everything(served) == before, "\(text)")
    }
    let map = try #require(try served.text("proc/meminfo").value("DirectMap2M:"))
    let total = try #require(try served.text("proc/meminfo").value("MemTotal:"))
    #expect(write("0x140000000\n") == nil)
    #expect(try served.text(block(40, "state")) == "offline\n" && served.text(block(40, "phys_index")) == "00000028\n")
    #expect(try served.text(block(40, "valid_zones")) == "Normal Movable\n")
    // No node's memory lies around it: the node of the lowest memory gets it.
    #expect(try served.attributes(Self.nodes + "node0/memory40").kind == .link)
    #expect(try served.attributes("sys/bus/memory/devices/memory40").kind == .link)
    #expect(try served.attributes("dev/mem").size == 41 << 27)
    #expect(try served.text("proc/meminfo").value("DirectMap2M:") == map + 131_072)
    #expect(try served.text("proc/meminfo").value("MemTotal:") == total)
    #expect(write("0x140000000") == .fileExists)
    let links = try served.attributes("sys/devices/system/memory").links
    // Set online at once where that was said.
    try served.write("online_movable\n", to: Self.memory + "auto_online_blocks")
    #expect(try served.text(Self.memory + "auto_online_blocks") == "online_movable\n")
    #expect(
      failure { () throws(Errno) in try served.write("1", to: Self.memory + "auto_online_blocks") } == .invalidArgument)
    #expect(write("0x148000000") == nil)
    #expect(try served.text(block(41, "valid_zones")) == "Movable\n")
    #expect(try served.text("proc/meminfo").value("MemTotal:") == total + 131_072)
    #expect(try served.attributes("sys/devices/system/memory").links == links + 1)
    #expect(served.machine.memory.verify() == [])
    // By word to another node, and at another place.
    #expect(try served.command("plug 3 256M") == "0x150000000-0x15fffffff memory42 to memory43\n")
    #expect(try served.attributes(Self.nodes + "node3/memory43").kind == .link)
    #expect(try served.text(block(43, "state")) == "online\n")
    #expect(try served.command("plug 2 128M at=0x1a0000000") == "0x1a0000000-0x1a7ffffff memory52\n")
    // Inside the bridge's window.
    #expect(try served.text("proc/iomem").contains("  1a0000000-1a7ffffff : System RAM\n"))
    for line in ["plug 7 128M", "plug 2 100M", "plug 2 128M at=0x1a0000000", "plug 2 0", "plug 2 64T at=0", "plug 2"] {
      #expect(failure { () throws(Errno) in try served.command(line) } != nil, "\(line)")
    }
    #expect(served.machine.memory.verify() == [])
    _ = try served.command("reset")
    #expect(try everything(served).filter { !$0.key.hasPrefix("proc") } == before.filter { !$0.key.hasPrefix("proc") })
    #expect(failure { () throws(Errno) in try served.attributes(block(40, "state")) } == .noSuchFileOrDirectory)
  }

  @Test func namesThatComeAndGoAreNotCached() throws {
    let served = try Served(.fourNode)
    #expect(try served.attributes(block(9, "state")).lifetime == 0)
    #expect(try served.attributes(Self.nodes + "node1/memory9").nameLifetime == 0)
    let directory = try served.attributes("sys/devices/system/memory")
    #expect(directory.lifetime == 0 && directory.nameLifetime == .infinity)
    let memory = try served.attributes("dev/mem")
    #expect(memory.lifetime == 0 && memory.nameLifetime == .infinity)
    #expect(try served.attributes(Self.nodes + "node0/meminfo").lifetime == .infinity)
    #expect(try served.attributes(Self.nodes + "node0").lifetime == .infinity)
  }

  @Test func framesAreTakenOutOfService() throws {
    let served = try Served(.fourNode, profile: .linux)
    func corrupted() throws -> Int? { try served.text("proc/meminfo").value("HardwareCorrupted:") }
    func write(_ text: String, _ name: String) -> Errno? {
      failure { () throws(Errno) in try served.write(text, to: Self.memory + name) }
    }
    #expect(write("0", "soft_offline_page") == .ioError)
    #expect(write("foo", "soft_offline_page") == .invalidArgument)
    #expect(write("0x10000000000", "soft_offline_page") == .noSuchAddressOrDevice)
    #expect(try corrupted() == 0)
    let free = try #require(try served.text(Self.nodes + "node1/meminfo").value("MemFree:"))
    #expect(write("0x70000000", "soft_offline_page") == nil && write("0x70000000", "soft_offline_page") == nil)
    #expect(try corrupted() == 4)
    #expect(try served.text(Self.nodes + "node1/meminfo").value("MemFree:") == free - 4)
    #expect(write("foo", "hard_offline_page") == .invalidArgument)
    #expect(write("0x10000000000", "hard_offline_page") == .noSuchAddressOrDevice)
    #expect(write("0x70001000", "hard_offline_page") == nil)
    // What the kernel holds is broken, and stays where it is.
    #expect(write("0x64200000", "hard_offline_page") == .resourceBusy)
    #expect(try corrupted() == 12)
    #expect(write("0x70000000", "hard_offline_page") == Errno(rawValue: EHWPOISON))
    // A process's page goes elsewhere first, with what is in it.
    _ = try served.command(
      "[pid 1] mmap(0x50000000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    _ = try served.command("[pid 1] store(0x50000000, \"kept\")")
    func address() throws -> String {
      let walk = try served.command("dump_pt 0x50000000")
      return String(try #require(walk.lines.last?.split(separator: " ").dropFirst(2).first).dropLast())
    }
    let old = try address()
    #expect(write(old, "soft_offline_page") == nil)
    #expect(try corrupted() == 16)
    #expect(try address() != old)
    #expect(try served.command("[pid 1] load(0x50000000, 4)").contains("kept"))
    #expect(served.machine.memory.verify() == [])
  }

  @Test func processesLeaveABlockThatGoes() throws {
    let served = try Served(.fourNode, profile: .linux)
    // Where movable memory goes first.
    try served.write("offline", to: block(35, "state"))
    try served.write("online_movable", to: block(35, "state"))
    _ = try served.command(
      "[pid 1] mmap(0x50000000, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)")
    _ = try served.command("[pid 1] mbind(0x50000000, 65536, MPOL_BIND, [0x8], 64, 0)")
    for page in 0..<16 { _ = try served.command("[pid 1] store(\(0x5000_0000 + page * 4096), \"page\(page)\")") }
    func frame(_ page: Int) throws -> UInt64 {
      let walk = try served.command("dump_pt \(0x5000_0000 + page * 4096)")
      let words = try #require(walk.lines.last?.split(separator: " "))
      return try #require(UInt64(words[2].dropFirst(2).dropLast(), radix: 16))
    }
    let numbers = try Set((0..<16).map { Int(try frame($0) >> 27) })
    #expect(numbers == [35])
    for number in numbers {
      #expect(
        failure { () throws(Errno) in try served.write("offline", to: block(number, "state")) } == nil, "\(number)")
    }
    for page in 0..<16 {
      #expect(try served.machine.node(of: FrameNumber(frame(page) >> 12)) != NodeID(3))
      #expect(try served.command("[pid 1] load(\(0x5000_0000 + page * 4096), 6)").contains("page\(page)"))
    }
    #expect(served.machine.memory.verify() == [])
  }
}
