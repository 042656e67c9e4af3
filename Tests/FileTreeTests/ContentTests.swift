import FileTree
import Glibc
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// What the files say follows what happens to the memory.
@Suite struct ContentTests {
  private func node(_ number: Int, _ file: String) -> String { "sys/devices/system/node/node\(number)/\(file)" }

  /// The sum of a buddyinfo line's chunks, in frames, by `node zone`.
  private func buddyFrames(_ served: Served) throws -> [String: Int] {
    var frames: [String: Int] = [:]
    for line in try served.text("proc/buddyinfo").lines {
      let words = line.split(separator: " ")
      #expect(words.count == 4 + 11, "\(line)")
      frames["\(words[1]) \(words[3])"] = words[4...].enumerated().reduce(0) { $0 + Int($1.element)! << $1.offset }
    }
    return frames
  }

  @Test(arguments: [("order=10", 1024), ("count=3", 3), ("order=0", 1), ("count=700", 700), ("order=16", 65536)])
  func followsAllocAndFreeExactly(size: String, frames: Int) throws {
    let served = try Served()
    func free(_ number: Int) throws -> Int { try #require(try served.text(node(number, "meminfo")).value("MemFree:")) }
    func total() throws -> Int { try #require(try served.text("proc/meminfo").value("MemFree:")) }
    let before = try (0..<4).map(free)
    let (all, meminfo) = (try total(), try served.text(node(1, "meminfo")))
    let pages = try served.text(node(1, "vmstat")).value("nr_free_pages")
    let address = try served.command("alloc \(size) node=1")
    #expect(address.hasPrefix("0x"))
    #expect(try (0..<4).map(free) == [before[0], before[1] - 4 * frames, before[2], before[3]])
    #expect(try total() == all - 4 * frames)
    #expect(try served.text(node(1, "meminfo")).value("MemUsed:") == meminfo.value("MemUsed:")! + 4 * frames)
    #expect(try served.text(node(1, "meminfo")).value("MemTotal:") == meminfo.value("MemTotal:"))
    #expect(try served.text(node(1, "vmstat")).value("nr_free_pages") == pages! - frames)
    #expect(try served.command("free \(address)").hasPrefix("freed"))
    #expect(try served.text(node(1, "meminfo")) == meminfo)
    #expect(try total() == all)
    #expect(try served.text(node(1, "vmstat")).value("nr_free_pages") == pages)
  }

  @Test func showsFreeChunksByOrder() throws {
    let served = try Served()
    let text = try served.text("proc/buddyinfo")
    let before = try buddyFrames(served)
    let address = try served.command("alloc order=11 node=1")
    var after = before
    after["1, Normal"]! -= 2048
    #expect(try buddyFrames(served) == after)
    _ = try served.command("free \(address)")
    #expect(try served.text("proc/buddyinfo") == text, "what was split lies together again")
  }

  @Test func countsFreeMemoryInBuddyinfoAsInMeminfo() throws {
    for preset in Preset.possible {
      let served = try Served(preset)
      _ = try served.command("alloc count=5\nalloc order=2\nalloc count=999")
      let snapshot = served.machine.memory.snapshot()
      let free = snapshot.nodes.flatMap(\.zones).reduce(0) { $0 + Int($1.free.rawValue - $1.listed.rawValue) }
      #expect(try buddyFrames(served).values.reduce(0, +) == free, "\(preset)")
    }
  }

  /// zone_statistics in mm/page_alloc.c.
  @Test func countsWhereMemoryWasWantedAndFound() throws {
    let served = try Served()
    func statistics(_ number: Int) throws -> [Int] {
      let text = try served.text(node(number, "numastat"))
      return try text.lines.map { line in try #require(Int(line.split(separator: " ")[1])) }
    }
    func change(_ line: String) throws -> [[Int]] {
      let before = try (0..<4).map(statistics)
      #expect(try served.command(line).hasPrefix("0x"), "\(line)")
      return try zip(before, (0..<4).map(statistics)).map { zip($1, $0).map(-) }
    }
    let none = [0, 0, 0, 0, 0, 0]
    // hit, miss, foreign, interleave, local, other
    #expect(try change("alloc") == [[1, 0, 0, 0, 1, 0], none, none, none])
    #expect(try change("alloc cpu=5") == [none, [1, 0, 0, 0, 1, 0], none, none])
    #expect(try change("alloc node=1") == [none, [1, 0, 0, 0, 0, 1], none, none])
    #expect(try change("alloc node=3 cpu=5 order=10") == [none, none, none, [1, 0, 0, 0, 0, 1]])
    while try served.text(node(1, "meminfo")).value("MemFree:")! >= 4 << 10 {
      #expect(try served.command("alloc node=1 cpu=5 order=10").hasPrefix("0x"))
      if try statistics(1)[2] > 0 { break }
    }
    #expect(try change("alloc node=1 cpu=5 order=10") == [none, [0, 0, 1, 0, 0, 0], none, [0, 1, 0, 0, 0, 1]])
    let vmstat = try served.text(node(1, "vmstat"))
    #expect(
      try ["numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"].map {
        vmstat.value($0)
      } == statistics(1))
  }

  @Test func showsTheMachineThatWasDescribed() throws {
    let served = try Served()
    for (number, distances) in ["10 21 17 28", "21 10 28 17", "17 28 10 28", "28 17 28 10"].enumerated() {
      #expect(try served.text(node(number, "distance")) == distances + "\n")
    }
    #expect(try (0..<4).map { try served.text(node($0, "cpulist")) } == ["0-3\n", "4-7\n", "\n", "\n"])
    #expect(try served.text("sys/devices/system/node/has_cpu") == "0-1\n")
    #expect(try served.text("sys/devices/system/memory/block_size_bytes") == "8000000\n")
    #expect(try Served(.largest).text("sys/devices/system/memory/block_size_bytes") == "80000000\n")
    #expect(try served.text("proc/1/status").contains("Mems_allowed_list:\t0-3\n"))
  }

  @Test func showsHighMemoryWhereThereIsSome() throws {
    let served = try Served(.i386HighMemory)
    let meminfo = try served.text("proc/meminfo")
    #expect(meminfo.value("HighTotal:")! + meminfo.value("LowTotal:")! == meminfo.value("MemTotal:")!)
    let high = meminfo.value("HighFree:")!
    #expect(try served.command("alloc zone=High order=10").hasPrefix("0x"))
    #expect(try served.text("proc/meminfo").value("HighFree:") == high - 4096)
    #expect(try Served().text("proc/meminfo").value("HighTotal:") == nil)
  }

  @Test func makesAndDropsPoolsOfHugePages() throws {
    let served = try Served()
    let pool = node(1, "hugepages/hugepages-2048kB/")
    let before = try served.text(node(1, "meminfo"))
    try served.write("7\n", to: pool + "nr_hugepages")
    #expect(try served.text(pool + "nr_hugepages") == "7\n" && served.text(pool + "free_hugepages") == "7\n")
    let during = try served.text(node(1, "meminfo"))
    #expect(during.value("HugePages_Total:") == 7)
    #expect(during.value("MemFree:") == before.value("MemFree:")! - 7 * 2048)
    #expect(try served.text("proc/meminfo").value("HugePages_Total:") == 7)
    #expect(try served.command("list").contains("the pool of huge pages"))
    try served.write("0", to: pool + "nr_hugepages")
    #expect(try served.text(node(1, "meminfo")) == before)
    // More than there is: as many as there are, and no error.
    try served.write("100000", to: pool + "nr_hugepages")
    let most = try #require(Int(served.text(pool + "nr_hugepages").dropLast()))
    #expect(most > 400 && most < 512)
    try served.write("0\n", to: pool + "nr_hugepages")
    #expect(try served.text(node(1, "meminfo")) == before)
    #expect(try served.command("check").hasPrefix("no difference, state "))
  }
}
