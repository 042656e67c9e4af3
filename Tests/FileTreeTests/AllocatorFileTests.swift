import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// VeridianOS's files about its allocator, and Linux's page_owner.
@Suite struct AllocatorFileTests {
  // MARK: Tunables

  @Test func setsTheThreshold() throws {
    let tree = try Tree()
    let path = "sys/kernel/mm/hybrid_threshold"
    #expect(try tree.read(path) == "512\n")
    try tree.write(path, "64\n")
    #expect(try tree.read(path) == "64\n")
    #expect(tree.machine.withLock { tree.machine.memory.tunables.hybridThreshold } == 64)
    for (text, errno) in [
      ("0", Errno.invalidArgument), ("513", .invalidArgument), ("x", .invalidArgument), ("", .invalidArgument),
      ("-1", .invalidArgument), ("99999999999999999999", .outOfRange),
    ] where !text.isEmpty {
      #expect(throws: errno) { try tree.write(path, text) }
    }
    #expect(try tree.read(path) == "64\n")
    // Requests of 64 frames and more are the buddy system's now.
    let before = try tree.statistics()
    try tree.write("sys/kernel/debug/memory", "alloc count=100\n")
    #expect(try tree.statistics()["buddy_allocations"] == (before["buddy_allocations"] ?? 0) + 1)
  }

  @Test func setsWhatListsHold() throws {
    let tree = try Tree()
    let path = "sys/kernel/mm/percpu_frames"
    #expect(try tree.read(path) == "0\n")
    try tree.write("sys/kernel/debug/memory", "alloc\n")
    try tree.write(path, "7")
    #expect(try tree.read(path) == "7\n")
    let highs = tree.machine.withLock {
      tree.machine.memory.snapshot().nodes.flatMap(\.zones).flatMap(\.lists).map(\.high)
    }
    #expect(!highs.isEmpty && highs.allSatisfy { $0 == 7 })
    #expect(throws: Errno.invalidArgument) { try tree.write(path, "1048577") }
    try tree.write(path, "0")
    #expect(try tree.read(path) == "0\n")
  }

  @Test func switchesBalancing() throws {
    let tree = try Tree()
    let path = "sys/kernel/mm/numa_balance"
    #expect(try tree.read(path) == "0\n")
    for (text, shown) in [("1\n", "1\n"), ("0", "0\n"), ("+1", "1\n"), ("0\n", "0\n")] {
      try tree.write(path, text)
      #expect(try tree.read(path) == shown)
    }
    #expect(throws: Errno.invalidArgument) { try tree.write(path, "2") }
  }

  @Test func movesFramesToLessUsedNodesLineByLine() throws {
    let tree = try Tree()
    let memory = "sys/kernel/debug/memory"
    func used() -> [UInt64] {
      tree.machine.withLock { tree.machine.memory.snapshot().nodes.map(\.used.rawValue) }
    }
    try tree.write(memory, String(repeating: "alloc count=10 node=1 type=movable owner=a\n", count: 200))
    try tree.write(memory, String(repeating: "alloc count=10 node=1\n", count: 20))
    let total = used().reduce(0, +)
    try tree.write(memory, "mem\n")
    #expect(used()[1] >= 2200)
    try tree.write("sys/kernel/mm/numa_balance", "1\n")
    var before = used()[1]
    for _ in 0..<20 {
      try tree.write(memory, "mem\n")
      let now = used()[1]
      #expect(now <= before && before - now <= 512)
      before = now
      #expect(used().reduce(0, +) == total)
      #expect(tree.machine.withLock { tree.machine.memory.verify() }.isEmpty)
    }
    // Nothing is left to do: the least used node is not below 70 % of the most used one, but for an allocation's size.
    let loads = used().sorted()
    #expect(loads[0] + 10 >= loads[3] * 6 / 10)
    // What cannot be moved has stayed, and what moved is still its owner's.
    #expect(used()[1] >= 200)
    try tree.write(memory, "free owner=a\n")
    #expect(used().reduce(0, +) == total - 2000)
    let events = tree.machine.withLock { tree.machine.eventCounts() }
    #expect(events[.numaPagesMigrated] > 1000)
  }

  // MARK: Debug files

  @Test func countsByWhoServed() throws {
    let tree = try Tree()
    let before = try tree.statistics()
    try tree.write("sys/kernel/debug/memory", "alloc\nalloc count=100\nalloc order=10\nfree all\n")
    let after = try tree.statistics()
    for (name, count) in [("list", 1), ("bitmap", 1), ("buddy", 1)] as [(String, UInt64)] {
      #expect(after[name + "_allocations"] == (before[name + "_allocations"] ?? 0) + count, "\(name)")
      #expect(after[name + "_frees"] == (before[name + "_frees"] ?? 0) + count, "\(name)")
    }
    #expect(after["free_frames"] == before["free_frames"])
    #expect(throws: Errno.noMemory) { try tree.write("sys/kernel/debug/memory", "alloc order=20\n") }
    #expect(try tree.statistics()["buddy_failures"] == (before["buddy_failures"] ?? 0) + 1)
  }

  @Test func timesASample() throws {
    let tree = try Tree()
    func samples() -> UInt64 {
      tree.machine.withLock {
        guard let watch = tree.machine.memory.watch else { return 0 }
        return AllocationWatch.Path.allCases.reduce(0) { $0 + watch.latencies($1, .allocate).samples }
      }
    }
    let before = samples()
    let rounds = 10 * Int(AllocationWatch.sampling)
    try tree.write("sys/kernel/debug/memory", String(repeating: "alloc\n", count: rounds))
    #expect(samples() == before + 10)
    let text = try tree.read("sys/kernel/debug/mm/allocator_stats")
    let rows = text.split(separator: "\n").filter { $0.contains("allocate") || $0.contains("free  ") }
      .map { $0.split(separator: " ") }
    // Path, operation, samples, their sum, and the histogram, which holds all samples.
    for row in rows where row.count == 16 {
      #expect(row[4...].reduce(0) { $0 + (Int($1) ?? 0) } == Int(row[2]))
    }
    #expect(rows.count { $0.count == 16 } == 6)
  }

  @Test func showsWhatIsFreeInWhichPieces() throws {
    let tree = try Tree()
    try tree.write("sys/kernel/debug/memory", "alloc node=1\nalloc order=9 node=1\n")
    let snapshot = tree.machine.withLock { tree.machine.memory.snapshot() }
    let rows = try tree.read("sys/kernel/debug/mm/fragmentation").split(separator: "\n").dropFirst()
      .map { $0.split(separator: " ").map(String.init) }
    let zones = snapshot.nodes.flatMap { node in node.zones.map { (node.node, $0) } }
    #expect(rows.count == zones.count)
    for (row, (node, zone)) in zip(rows, zones) {
      #expect(row[0] == "\(node.rawValue)" && row[1] == zone.kind.description)
      #expect(row[2] == "\(zone.free.rawValue)")
      #expect((Int(row[3]) ?? 0) * 512 <= Int(zone.free.rawValue))
      var largest = 0
      for orders in zone.freeByMobility { largest = max(largest, orders.lastIndex { $0 > 0 } ?? 0) }
      #expect(row[4] == String(1 << largest))
    }
  }

  @Test func listsLargeAllocations() throws {
    let tree = try Tree()
    let large = "sys/kernel/debug/mm/large_allocs"
    let before = try tree.read(large)
    try tree.write("sys/kernel/debug/memory", "alloc count=511\nalloc count=700 owner=big node=1 type=movable\n")
    let rows = try tree.read(large).dropFirst(before.count).split(separator: "\n")
    #expect(rows.count == 1)
    #expect(rows.first?.split(separator: " ").dropFirst().map(String.init) == ["700", "1", "movable", "big"])
    try tree.write("sys/kernel/debug/memory", "free owner=big\n")
    #expect(try tree.read(large) == before)
  }

  @Test func showsNodes() throws {
    let tree = try Tree()
    try tree.write("sys/kernel/debug/memory", "alloc count=100000 node=1\n")
    let rows = try tree.read("sys/kernel/debug/mm/numa_stats").split(separator: "\n").dropFirst()
      .map { $0.split(separator: " ").map(String.init) }
    let snapshot = tree.machine.withLock { tree.machine.memory.snapshot() }
    #expect(rows.count == snapshot.nodes.count)
    for (row, node) in zip(rows, snapshot.nodes) {
      #expect(row[1] == "\(node.managed.rawValue)" && row[2] == "\(node.free.rawValue)")
      #expect(row[3] == "\(node.used.rawValue * 100 / node.managed.rawValue)%")
      #expect(row[6] == "\(node.numa.hit)")
    }
    #expect(rows[1][3] == "40%")
  }

  // MARK: page_owner

  @Test func isNotThereUnlessAskedFor() throws {
    let tree = try Tree()
    #expect(throws: Errno.noSuchFileOrDirectory) { try tree.read("sys/kernel/debug/page_owner") }
  }

  /// The blocks of page_owner, by their frame.
  private func owners(_ tree: Tree) throws -> [UInt64: [String]] {
    var found: [UInt64: [String]] = [:]
    for block in try tree.read("sys/kernel/debug/page_owner").split(separator: "\n\n") {
      let lines = block.split(separator: "\n").map(String.init)
      let words = lines[1].split(separator: " ")
      #expect(lines[0].hasPrefix("Page allocated via order ") && words[0] == "PFN")
      found[try #require(UInt64(words[1]))] = lines
    }
    return found
  }

  @Test func knowsWhoAskedForEveryFrame() throws {
    let tree = try Tree(settings: ["page_owner": "on"])
    let boot = try owners(tree)
    var allocations: [Allocation] = []
    tree.machine.withLock {
      tree.machine.memory.forEachAllocation {
        allocations.append($0)
        return true
      }
    }
    #expect(Set(boot.keys) == Set(allocations.map(\.range.start.rawValue)))
    #expect(boot.values.allSatisfy { $0[2] == " boot" && $0.count == 3 })

    let memory = "sys/kernel/debug/memory"
    try tree.write(memory, "alloc order=3 node=1 owner=db\n")
    try tree.write(
      memory,
      "mmap(0x10000000, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\nstore(0x10000000, \"x\")\n"
    )
    let after = try owners(tree)
    let fresh = after.filter { boot[$0.key] == nil }
    let line = try #require(fresh.values.first { $0[2] == " alloc" })
    #expect(
      line[0]
        == "Page allocated via order 3, mask 0xcc0(GFP_KERNEL), pid 0, tgid 0 (swapper), ts 1000000 ns, free_ts 0 ns")
    #expect(line[1].contains(" type Unmovable Block ") && line[1].contains("(node=1|zone=2|lastcpupid=0x1fffff)"))
    #expect(line[3] == " line 1: alloc order=3 node=1 owner=db")
    let page = try #require(fresh.values.first { $0[2] == " store" && $0[0].contains("MOVABLE") })
    #expect(
      page[0]
        == "Page allocated via order 0, mask 0x100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), pid 1, tgid 1 (init), ts 3000000 ns, free_ts 0 ns"
    )
    #expect(page[1].contains("type Movable Block") && page[1].contains("uptodate|lru|swapbacked|node=0"))
    let table = try #require(fresh.values.first { $0[0].contains("GFP_KERNEL_ACCOUNT|__GFP_ZERO") })
    #expect(table[2] == " store")

    // What is freed leaves, and says when to who gets it next.
    try tree.write(memory, "free owner=db\n")
    #expect(try owners(tree).count == after.count - 1)
    try tree.write(memory, "alloc order=3 node=1\n")
    #expect(try owners(tree).values.contains { $0[0].hasSuffix("ts 5000000 ns, free_ts 4000000 ns") })
    // Files ask too.
    try tree.write("sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "1\n")
    let pool = try #require(try owners(tree).values.first { $0[2].contains("hugepages-2048kB/nr_hugepages") })
    #expect(pool[0].contains("order 9") && pool[1].contains("head|node=2"))
    #expect(tree.machine.withLock { tree.machine.memory.verify() }.isEmpty)
  }
}

private typealias Tree = Served

extension Served {
  fileprivate init(settings: [String: String]) throws {
    var description = Preset.fourNode.machine
    for (key, value) in settings { try description.settings.set(key, value) }
    try self.init(description)
  }

  fileprivate func read(_ path: String) throws(Errno) -> String { try text(path) }
  fileprivate func write(_ path: String, _ text: String) throws(Errno) { _ = try write(text, to: path) }

  /// The numbers of allocator_stats.
  fileprivate func statistics() throws -> [String: UInt64] {
    var found: [String: UInt64] = [:]
    for line in try read("sys/kernel/debug/mm/allocator_stats").split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, let value = UInt64(words[1]) { found[String(words[0])] = value }
    }
    return found
  }
}
