import FileTree
import Glibc
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// What vmstat, zoneinfo, pagetypeinfo, extfrag and iomem say follows the structures.
@Suite struct ZoneFileTests {
  @Test(arguments: [
    ("order=10", 1024), ("count=3", 3), ("order=0", 1), ("order=3", 8), ("count=700", 700), ("order=9", 512),
  ])
  func countsAllocationsToTheFrame(size: String, frames: Int) throws {
    let served = try Served(.fourNode, profile: .linux)
    func counters() throws -> [Int] {
      let vmstat = try served.text("proc/vmstat")
      let zone = try ZoneNumbers.lines(served.text("proc/zoneinfo"), of: "Node 3, zone   Normal")
      return try ["nr_free_pages", "pgalloc_normal", "pgalloc_dma32", "pgfree"].map { try #require(vmstat.value($0)) }
        + [try #require(zone.value("free")), try #require(zone.value("nr_free_pages"))]
    }
    let before = try counters()
    let address = try served.command("alloc \(size) node=3")
    #expect(address.hasPrefix("0x"))
    func after(free: Int, allocated: Int, freed: Int) -> [Int] {
      [
        before[0] + free, before[1] + allocated, before[2], before[3] + freed, before[4] + free, before[5] + free,
      ]
    }
    #expect(try counters() == after(free: -frames, allocated: frames, freed: 0))
    _ = try served.command("free \(address)")
    #expect(try counters() == after(free: 0, allocated: frames, freed: frames))
  }

  /// Free memory is the same in every file, whatever the machine: buddyinfo by order, pagetypeinfo by mobility, zoneinfo less the lists.
  @Test(arguments: [Preset.fourNode, .hmat, .i386HighMemory, .aarch64, .riscv64, .cxl])
  func filesAgreeWithEachOther(preset: Preset) throws {
    let served = try Served(preset, profile: .linux)
    _ = try served.command("alloc count=5\nalloc order=2\nalloc count=999\nalloc order=4")
    var byType: [String: [Int]] = [:]
    for line in try served.text("proc/pagetypeinfo").lines where line.hasPrefix("Node ") && line.contains("type") {
      let words = line.split { $0 == " " || $0 == "," }
      let counts = words[6...].map { Int($0) ?? 0 }
      #expect(counts.count == 11, "\(line)")
      byType["\(words[1]) \(words[3])", default: Array(repeating: 0, count: 11)] =
        zip(byType["\(words[1]) \(words[3])"] ?? Array(repeating: 0, count: 11), counts).map(+)
    }
    var byOrder: [String: [Int]] = [:]
    for line in try served.text("proc/buddyinfo").lines {
      let words = line.split { $0 == " " || $0 == "," }
      byOrder["\(words[1]) \(words[3])"] = words[4...].map { Int($0) ?? 0 }
    }
    #expect(byType == byOrder)
    let zoneinfo = ZoneNumbers(try served.text("proc/zoneinfo"))
    #expect(
      zoneinfo.zones.count == served.machine.description.nodes.count * served.machine.description.resolvedZones.count)
    for (zone, counts) in byOrder {
      let free = counts.enumerated().reduce(0) { $0 + $1.element << $1.offset }
      let numbers = try #require(zoneinfo.zones[zone])
      let listed = (numbers["count:"] ?? []).reduce(0) { $0 + (Int($1) ?? 0) }
      #expect(numbers["cpu:"]?.count == served.machine.description.cpus.count, "\(zone)")
      #expect(numbers["pages"] == ["free \(free + listed)"], "\(zone)")
    }
  }

  @Test func countsBlocksByMobility() throws {
    let served = try Served(.fourNode, profile: .linux)
    func blocks() throws -> [Int] {
      let text = try served.text("proc/pagetypeinfo")
      let line = try #require(text.lines.last { $0.hasPrefix("Node 3, zone   Normal") })
      return line.split(separator: " ").suffix(5).compactMap { Int($0) }
    }
    #expect(try blocks() == [0, 512, 0, 0, 0])
    let address = try served.command("alloc order=0 node=3")
    #expect(try blocks() == [1, 511, 0, 0, 0], "a block became unmovable")
    let larger = try served.command("alloc order=11 node=3")
    #expect(try blocks() == [5, 507, 0, 0, 0])
    _ = try served.command("free \(address)\nfree \(larger)")
    #expect(try blocks() == [5, 507, 0, 0, 0], "a block stays what it was made")
  }

  /// mm/vmstat.c's formulas, on counts that are written down.
  @Test func fragmentationIndices() throws {
    let served = try Served(.fourNode, profile: .linux)
    var zone = try #require(served.machine.memory.snapshot().nodes.last?.zones.last)
    // 100 pages in 70 chunks.
    zone.freeByOrder = [50, 15, 5, 0, 0, 0, 0, 0, 0, 0, 0]
    #expect((0...4).map { zone.unusableIndex($0) } == [0, 500, 800, 1000, 1000])
    #expect((0...2).map { zone.fragmentationIndex($0) } == [-1000, -1000, -1000])
    // 1000 - (1000 + 100000 / 8) / 70 and so on.
    #expect((3...10).map { zone.fragmentationIndex($0) } == [808, 897, 942, 964, 975, 981, 983, 985])
    zone.freeByOrder = Array(repeating: 0, count: 11)
    #expect((0...10).map { zone.unusableIndex($0) } == Array(repeating: 1000, count: 11))
    #expect((0...10).map { zone.fragmentationIndex($0) } == Array(repeating: 0, count: 11))
    // As a kernel prints them: a whole part in two places, and three decimals.
    let line = try #require(served.text("sys/kernel/debug/extfrag/extfrag_index").lines.last)
    #expect(line == "Node 3, zone   Normal" + String(repeating: " -1.000", count: 11) + " ")
  }

  @Test func hidesAddressesFromOthers() throws {
    let served = try Served(.fourNode, profile: .linux)
    let inode = try served.attributes("proc/iomem").inode
    let theirs = try served.tree.open(inode, flags: O_RDONLY, uid: 65534)
    defer { theirs.release() }
    let hidden = try theirs.text()
    let shown = try served.text("proc/iomem")
    #expect(hidden.lines.count == shown.lines.count)
    #expect(hidden.lines.allSatisfy { $0.contains("00000000-00000000 : ") })
    #expect(hidden.lines.map { $0.split(separator: ":").last } == shown.lines.map { $0.split(separator: ":").last })
    #expect(
      shown.contains("100000000-13fffffff : System RAM\n") && shown.contains("  64200000-65001d31 : Kernel code\n"))
  }

  @Test func keepsProcessesFromThoseWhoMightNotTraceThem() throws {
    let served = try Served()
    for name in ["maps", "smaps", "smaps_rollup", "numa_maps", "pagemap", "mem"] {
      let inode = try served.attributes("proc/1/\(name)").inode
      let refusal = failure { () throws(Errno) in try served.tree.open(inode, flags: O_RDONLY, uid: 65534) }
      #expect(refusal == .permissionDenied, "\(name)")
      // access(2) asks for the mode alone.
      let granted = served.tree.refusal(ofAccess: R_OK, to: inode, uid: 65534) == nil
      #expect(granted == (name != "pagemap" && name != "mem"), "\(name)")
      #expect(failure { () throws(Errno) in try served.tree.open(inode, flags: O_RDONLY, uid: 0) } == nil, "\(name)")
    }
  }

  /// Every address of memory is in one System RAM, or in what firmware or devices took of it.
  @Test(arguments: Preset.allCases) func resourcesNest(preset: Preset) throws {
    let resources = preset.machine.resources()
    var around: [PhysicalRange] = []
    for resource in resources {
      around.removeLast(around.count - resource.depth)
      if let last = around.last {
        #expect(last.start <= resource.range.start && resource.range.end <= last.end, "\(resource)")
      }
      around.append(resource.range)
    }
    #expect(zip(resources, resources.dropFirst()).allSatisfy { $0.range.start <= $1.range.start })
    let memory = resources.filter { $0.name == "System RAM" }
    #expect(memory.allSatisfy { $0.depth == 0 } && !memory.isEmpty)
    let present = preset.machine.nodes.reduce(UInt64(0)) { sum, node in
      let withheld = preset.machine.reservations(of: node).filter { !$0.kind.isPresent }
      return sum + node.memory.reduce(0) { $0 + $1.size.rawValue }
        - withheld.reduce(0) { $0 + preset.machine.frameSize.bytes($1.frames.count).rawValue }
    }
    // Frames that are withheld whole for the sake of a byte are RAM to the byte here.
    let bytes = memory.reduce(UInt64(0)) { $0 + $1.range.size.rawValue }
    #expect(bytes >= present && bytes - present < UInt64(resources.count) << 16)
  }

  @Test func tiersFollowMemory() throws {
    let served = try Served(.cxl, profile: .linux)
    #expect(try served.text("sys/devices/virtual/memory_tiering/memory_tier4/nodelist") == "0-4\n")
  }
}
