import AddressSpaces
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// What each word does, and how it answers.
@Suite struct VerbTests {
  // MARK: help

  @Test func describesEachWord() throws {
    let console = try Console()
    let lines = try console.answer("help").lines.dropFirst()
    let words = lines.prefix { !$0.hasPrefix("Or a call") }
    #expect(words.count > 20)
    for line in words {
      let verb = String(line.prefix(12)).split(separator: " ").joined(separator: " ")
      let text = try console.answer("help \(verb)")
      #expect(text.hasPrefix("usage: \(verb)"))
      #expect(text.lines[1] == "\(verb) \(line.dropFirst(12))")
    }
    for line in lines.dropFirst(words.count + 1) {
      let call = line.prefix { $0 != " " }
      let text = try console.answer("help \(call)")
      #expect(text.hasPrefix("usage: [pid N] \(call)("))
      #expect(text.lines[1] == "\(call) \(line.dropFirst(18))")
    }
    #expect(try console.answer("help tlb").contains("usage: tlb switch CPU PID"))
    let alloc = try console.answer("help alloc")
    for key in ["order", "count", "node", "zone", "cpu"] {
      #expect(alloc.lines[0].contains("[\(key)=") && alloc.lines.dropFirst(2).contains { $0.hasPrefix("  \(key) ") })
    }
  }

  // MARK: alloc, free

  @Test(arguments: [
    ("", 1), ("order=0", 1), ("order=3", 8), ("order=9", 512), ("order=10", 1024), ("order=12", 4096), ("count=1", 1),
    ("count=3", 3), ("count=511", 511), ("count=700", 700), ("count=2K", 2048),
  ])
  func takesExactlyWhatItSays(size: String, frames: Int) throws {
    let console = try Console()
    let before = console.free
    let address = try console.answer("alloc \(size) node=1")
    #expect(console.free == [before[0], before[1] - frames, before[2], before[3]])
    let number = try #require(UInt64(address.dropFirst(2).dropLast(), radix: 16))
    #expect((1 << 30..<2 << 30).contains(number), "on node 1")
    if size.hasPrefix("order") { #expect(number % (UInt64(frames) << 12) == 0, "naturally aligned") }
    let freed = try console.answer("free \(address.dropLast())")
    #expect(freed == "freed \(frames) frame\(frames == 1 ? "" : "s")\n")
    #expect(console.free == before)
    #expect(console.differences == [])
  }

  @Test func servesFromTheNodeOfTheCPUThatAsks() throws {
    let console = try Console()
    let before = console.free
    _ = try console.answer("alloc cpu=5")
    _ = try console.answer("alloc cpu=3")
    _ = try console.answer("alloc cpu=5 node=3")
    #expect(console.free == [before[0] - 1, before[1] - 1, before[2], before[3] - 1])
  }

  @Test func servesFromTheZoneOrBelow() throws {
    let console = try Console()
    let address = try console.answer("alloc zone=dma")
    #expect(UInt64(address.dropFirst(2).dropLast(), radix: 16)! < 16 << 20)
    let far = try console.answer("alloc zone=DMA node=3")
    #expect(
      UInt64(far.dropFirst(2).dropLast(), radix: 16)! < 16 << 20, "node 3 has no DMA zone: the next that has serves")
    let high = try Console(.i386HighMemory)
    let top = try high.answer("alloc zone=High")
    #expect(UInt64(top.dropFirst(2).dropLast(), radix: 16)! >= 768 << 20)
  }

  /// The order on this machine is `1 3 0 2` from node 1: what does not fit on one goes to the next.
  @Test func fallsBackByDistance() throws {
    let console = try Console()
    var order: [Int] = []
    while order.count < 4 {
      let before = console.free
      let (errno, _) = console.refusal("alloc order=9 node=1")
      if errno != nil { break }
      let node = try #require(before.indices.first { console.free[$0] < before[$0] })
      if order.last != node { order.append(node) }
    }
    #expect(order == [1, 3, 0, 2])
    #expect(try console.answer("free all").hasPrefix("freed "))
    #expect(console.differences == [])
  }

  @Test func refusesWhatDoesNotFitAndLeavesAllAsItWas() throws {
    let console = try Console()
    let fresh = console.free
    while console.refusal("alloc order=13").errno == nil {}
    while console.refusal("alloc order=4").errno == nil {}
    while console.refusal("alloc").errno == nil {}
    // Other requests leave it a reserve (lowmem_reserve_ratio).
    while console.refusal("alloc zone=DMA").errno == nil {}
    let before = console.state
    for line in ["alloc", "alloc order=9", "alloc count=3 node=2", "alloc zone=DMA"] {
      let (errno, reason) = console.refusal(line)
      #expect(errno == .noMemory && reason.contains("out of memory"), "\(line): \(reason)")
    }
    #expect(console.state == before)
    #expect(console.differences == [])
    _ = try console.answer("free all")
    #expect(console.free == fresh)
  }

  @Test func refusesDoubleForeignAndCrookedFrees() throws {
    let console = try Console()
    let address = String(try console.answer("alloc order=2 node=1").dropLast())
    let number = try #require(UInt64(address.dropFirst(2), radix: 16))
    let frame = "frame 0x" + String(number >> 12, radix: 16)
    let before = console.state
    func expect(_ line: String, _ errno: Errno, _ part: String, sourceLocation: SourceLocation = #_sourceLocation) {
      let (got, reason) = console.refusal(line)
      #expect(got == errno && reason.contains(part), "\(line): \(reason)", sourceLocation: sourceLocation)
      #expect(console.state == before, "\(line)", sourceLocation: sourceLocation)
    }
    expect(
      "free 0x" + String(number + 4096, radix: 16), .invalidArgument,
      "lies inside the allocation that begins at \(frame)")
    expect("free 0x" + String(number + 8, radix: 16), .invalidArgument, "multiple of 4096")
    #expect(try console.answer("free \(address)") == "freed 4 frames\n")
    let (errno, reason) = console.refusal("free \(address)")
    #expect(errno == .invalidArgument && reason.contains("\(frame) is not allocated"), "\(reason)")
    #expect(console.differences == [])
  }

  @Test func refusesToFreeWhatOthersHold() throws {
    let console = try Console()
    let before = console.state
    let walk = try console.answer("dump_pt 0x1000").lines
    // The tables on the way, and process 1's page.
    for line in walk.dropLast() {
      let table = try #require(line.split(separator: " ").first { $0.hasPrefix("0x") })
      let address = "0x" + String(UInt64(table.dropFirst(2), radix: 16)! << 12, radix: 16)
      let (errno, reason) = console.refusal("free \(address)")
      #expect(errno == .resourceBusy && reason.contains("page table"), "\(address): \(reason)")
    }
    let page = walk.last!.split(separator: " ")[2].dropLast()
    let (errno, reason) = console.refusal("free \(page)")
    #expect(errno == .resourceBusy && reason.contains("process 1"), "\(reason)")
    let kernel = console.refusal("free 0x64200000")
    #expect(kernel.errno == .notPermitted && kernel.reason.contains("Kernel code"), "\(kernel.reason)")
    #expect(console.state == before)
    #expect(try console.answer("free all") == "freed 0 frames in 0 allocations\n", "it gives back only what alloc took")
    #expect(console.state == before)
  }

  // MARK: list

  @Test func listsWhatIsAllocatedWhereAndByWhom() throws {
    let console = try Console()
    let small = try console.answer("alloc node=1 order=1")
    let large = try console.answer("alloc node=3 count=700")
    let list = try console.answer("list").lines
    func row(_ address: String) -> [Substring] {
      let number = UInt64(address.dropFirst(2).dropLast(), radix: 16)!
      return list.first { UInt64($0.dropFirst(2).prefix { $0 != " " }, radix: 16) == number }?.split(separator: " ")
        ?? []
    }
    #expect(row(small).dropFirst() == ["2", "1", "1", "unmovable", "line", "1"])
    #expect(row(large).dropFirst() == ["700", "1", "3", "unmovable", "line", "2"])
    #expect(list.contains { $0.hasSuffix("the page table of process 1") })
    #expect(list.contains { $0.hasSuffix("the kernel's page table") })
    // All that is used is listed.
    var used = 0
    for line in list.dropFirst() {
      let columns = line.split(separator: " ")
      used += Int(columns[1])! * Int(columns[2])!
    }
    let snapshot = console.machine.memory.snapshot()
    #expect(used == snapshot.nodes.reduce(0) { $0 + Int($1.used.rawValue) })
  }

  // MARK: mem, check, reset

  @Test(arguments: Preset.possible)
  func showsTheMemoryThatThereIs(preset: Preset) throws {
    let console = try Console(preset)
    if console.refusal("alloc order=3").errno != nil { Issue.record("\(preset): nothing can be allocated") }
    let text = try console.answer("mem")
    let snapshot = console.machine.memory.snapshot()
    let kilobytes = snapshot.frameSize.kilobytes
    for node in snapshot.nodes {
      let row = text.lines.first { $0.hasPrefix("Node \(node.node.rawValue) ") }?.split(separator: " ") ?? []
      #expect(
        row.dropFirst(2).map { UInt64($0) }
          == [node.managed, node.free, node.used, node.reserved].map { kilobytes($0) }, "\(preset) \(node.node)")
    }
    let total = text.lines.first { $0.hasPrefix("Total ") }?.split(separator: " ").compactMap { UInt64($0) } ?? []
    #expect(total.count == 4 && total[0] == total[1] + total[2], "managed is free and used: \(total)")
    // Free blocks by order are what is free outside the CPUs' lists.
    let zones = snapshot.nodes.flatMap(\.zones)
    for zone in zones {
      let listed = zone.freeByOrder.enumerated().reduce(0) { $0 + $1.element << $1.offset }
      #expect(listed == Int(zone.free.rawValue - zone.listed.rawValue), "\(preset) \(zone.kind)")
    }
    let blocks = text.lines.drop { !$0.hasPrefix("Free blocks") }.dropFirst().prefix(zones.count)
    for (line, zone) in zip(blocks, zones) {
      #expect(line.split(separator: " ").dropFirst(2).map { Int($0) } == zone.freeByOrder, "\(preset): \(line)")
    }
    #expect(try console.answer("check").hasPrefix("no difference, state "), "\(preset)")
  }

  @Test func countsRequestsThatWereServedAndRefused() throws {
    let console = try Console()
    func requests() throws -> [Int] {
      try console.answer("mem").lines.drop { !$0.hasPrefix("Requests") }.first { $0.hasPrefix("1 Normal") }?
        .split(separator: " ").dropFirst(2).compactMap { Int($0) } ?? []
    }
    let before = try requests()
    _ = try console.answer("alloc node=1\nalloc node=1 count=5\nalloc node=1 order=9")
    #expect(console.refusal("alloc node=1 order=20").errno == .noMemory)
    #expect(try zip(requests(), before).map(-) == [2, 0, 1, 1])
  }

  @Test func resetsToTheStateAfterBooting() throws {
    let console = try Console()
    let booted = console.state
    let list = try console.answer("list")
    let walk = try console.answer("dump_pt 0x1000")
    let node = NodeID(1)
    _ = try console.answer("alloc order=9\nalloc count=3 node=2\nalloc order=12 node=3")
    console.machine.withLock { console.machine.resizeHugePages(node, .mib(2), to: 5) }
    let device = DevicePower.Device(path: "sys/devices/system/node", outer: 0, inner: 0)
    console.machine.withLock { console.machine.power.setAsynchronous(true, device) }
    #expect(console.state != booted)
    #expect(try console.answer("reset") == "reset\n")
    #expect(console.state == booted)
    #expect(try console.answer("list") == list)
    #expect(try console.answer("dump_pt 0x1000") == walk)
    #expect(console.machine.withLock { console.machine.hugePages.pool(node, .mib(2)).total } == 0)
    #expect(!console.machine.withLock { console.machine.power.isAsynchronous(device) })
    #expect(console.differences == [])
  }

  /// The same machine with the same lines reaches the same state, and gives the same answers.
  @Test func answersTheSameLinesTheSame() throws {
    let lines = ["alloc order=3", "alloc node=2 count=700", "free 0x1000", "list", "mem", "dump_pt 0x1000", "free all"]
    func answers() throws -> String {
      let client = try Console().open()
      return lines.map { line in
        _ = client.writeAll(line + "\n")
        return client.readAll()
      }.joined()
    }
    #expect(try answers() == answers())
  }
}
