import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// Memory that comes and goes in blocks of 32768 frames (128 MiB).
@Suite struct PlugTests {
  static let block = 32768

  private func twoNodes(_ profile: Profile = .linux) throws -> PhysicalMemory {
    try PhysicalMemory(machine([[0..<0x40000], [0x40000..<0x80000]], profile: profile))
  }

  private func block(_ number: Int, _ count: Int = 1) -> FrameRange { frames(number * Self.block, count * Self.block) }

  @Test func offlineAndOnline() throws {
    let memory = try twoNodes()
    let before = memory.snapshot()
    try memory.offline(block(9))
    var zone = memory.snapshot().nodes[1].zones[0]
    #expect((zone.kind, zone.present.rawValue, zone.spanned.rawValue) == (.dma32, 0x40000 - 32768, 0x40000))
    #expect(memory.snapshot().free == before.free - 32768)
    #expect(memory.zone(of: 9 * Self.block) == -1 && memory.node(of: block(9).start) == NodeID(1))
    #expect(memory.onlyZone(of: block(9)) == nil)
    #expect(memory.possibleZones(for: block(9)) == [.dma32, .movable])
    #expect(memory.verify() == [])
    // The last block of all: the span shrinks, and so the block is beside no zone when it comes back, and goes to Normal.
    try memory.offline(block(15))
    zone = memory.snapshot().nodes[1].zones[0]
    #expect(zone.spanned.rawValue == 0x40000 - 32768)
    try memory.online(block(15))
    #expect(memory.onlyZone(of: block(15)) == .normal)
    memory.reset()
    try memory.offline(block(9))
    try memory.online(block(9))
    #expect(memory.verify() == [])
    // Linux computes min_free_kbytes from what is above the high watermarks, and counts frames that come back: the rest is as before.
    var after = memory.snapshot()
    for node in after.nodes.indices {
      for zone in after.nodes[node].zones.indices {
        let old = before.nodes[node].zones[zone]
        after.nodes[node].zones[zone].watermarks = old.watermarks
        after.nodes[node].zones[zone].listHigh = old.listHigh
        after.nodes[node].zones[zone].freedFrames = old.freedFrames
      }
    }
    #expect((after == before) == true)
  }

  @Test func movableZone() throws {
    let memory = try twoNodes()
    try memory.offline(block(9))
    try memory.online(block(9), as: .movable)
    let zones = memory.snapshot().nodes[1].zones
    #expect(zones.map(\.kind) == [.dma32, .movable])
    #expect((zones[1].start.rawValue, zones[1].spanned.rawValue) == (9 * 32768, 32768))
    // A kernel's request never goes there, a movable one goes there first.
    let movable = try memory.allocate(FrameRequest(1, cpu: 2, mobility: .movable))
    #expect(block(9).contains(movable.start))
    #expect(!block(9).contains(try memory.allocate(FrameRequest(1, cpu: 2)).start))
    #expect(zones[0].watermarks.protection[Int(ZoneKind.movable.rawValue)].rawValue == 128)
    // Beside it, memory that is set online joins it only where it lies inside, and outside the kernel's zones.
    try memory.offline(block(10))
    #expect(memory.possibleZones(for: block(10)) == [.dma32, .movable])
    try memory.online(block(10))
    #expect(memory.onlyZone(of: block(10)) == .dma32)
    try memory.free(movable, cpu: CPUID(2))
    try memory.offline(block(9))
    #expect(memory.snapshot().nodes[1].zones.map(\.kind) == [.dma32])
    #expect(memory.verify() == [])
  }

  @Test func aProfileWithoutMovableZones() throws {
    let memory = try twoNodes(.veridian)
    try memory.offline(block(9))
    #expect(memory.possibleZones(for: block(9)) == [.normal])
    #expect(throws: MemoryError.notPluggable(block(9), reason: "this machine has no zone for it")) {
      try memory.online(block(9), as: .movable)
    }
    try memory.online(block(9), as: .kernel)
    #expect(memory.verify() == [])
  }

  @Test func aNodeLosesAllItsMemory() throws {
    // Four nodes, the last two without CPUs, as four-node.
    let memory = try PhysicalMemory(
      machine(
        (0..<4).map { [$0 << 18..<($0 + 1) << 18] }, cpus: [4, 4, 0, 0],
        distances: [[10, 21, 17, 28], [21, 10, 28, 17], [17, 28, 10, 28], [28, 17, 28, 10]], profile: .linux))
    #expect(memory.fallbackOrder(of: NodeID(3)).map(\.rawValue) == [3, 1, 0, 2])
    for number in 16..<24 { try memory.offline(block(number)) }
    #expect(memory.zones(of: NodeID(2)) == [])
    #expect(memory.fallbackOrder(of: NodeID(0)).map(\.rawValue) == [0, 1, 3])
    let elsewhere = try memory.allocate(FrameRequest(1, node: 2))
    #expect(memory.node(of: elsewhere.start) == NodeID(0))
    // Without a zone beside it, memory goes to Normal, however low it lies.
    #expect(memory.possibleZones(for: block(16)) == [.normal, .movable])
    for number in 16..<24 { try memory.online(block(number)) }
    #expect(memory.zones(of: NodeID(2)) == [.normal])
    // As the real kernel's "Fallback order for Node 3: 3 1 2 0" once memory has come and gone.
    #expect(
      (0..<4).map { memory.fallbackOrder(of: NodeID($0)).map(\.rawValue) } == [
        [0, 2, 1, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 1, 2, 0],
      ])
    #expect(memory.verify() == [])
  }

  @Test func whatCannotGoStays() throws {
    let memory = try PhysicalMemory(
      machine(
        [[0..<0x40000], [0x40000..<0x7fff0]], reserved: [(0x8000 + 5..<0x8000 + 7, "Kernel code")], profile: .linux))
    let held = try memory.allocate(FrameRequest(Self.block, align: Self.block, node: 1))
    _ = try memory.allocate(FrameRequest(1, node: 1))
    let before = memory.snapshot()
    func expectRefused(_ range: FrameRange, _ matches: (MemoryError) -> Bool) {
      do {
        try memory.offline(range)
        Issue.record("\(range) went offline")
      } catch { #expect(matches(error), "\(error)") }
      #expect((memory.snapshot() == before) == true && memory.verify() == [])
    }
    expectRefused(block(0)) { $0 == .notPluggable(block(0), reason: "it lies in several zones") }
    expectRefused(block(15)) { $0 == .notPluggable(block(15), reason: "it has holes") }
    expectRefused(block(1)) { $0 == .busy(block(1), reason: "frame 32773 is reserved (Kernel code)") }
    let number = Int(held.start.rawValue) / Self.block
    expectRefused(block(number)) { if case .busy = $0 { true } else { false } }
    expectRefused(frames(0x10000 + 512, 512)) { if case .notPluggable = $0 { true } else { false } }
    expectRefused(block(77)) { if case .notPluggable = $0 { true } else { false } }
    #expect(throws: MemoryError.notPluggable(block(3), reason: "it is in use already")) { try memory.online(block(3)) }
    #expect((memory.snapshot() == before) == true)
  }

  @Test func isolatedFramesAreNobodys() throws {
    let memory = try unguarded(machine([[0x8000..<0x18000]], profile: .linux))
    var held: [FrameRange] = []
    for _ in 0..<600 { held.append(try memory.allocate(FrameRequest(1, mobility: .movable))) }
    for index in stride(from: 0, to: 600, by: 2) { try memory.free(held[index], cpu: CPUID(0)) }
    held = stride(from: 1, to: 600, by: 2).map { held[$0] }
    let before = memory.snapshot()
    // Movable allocations and what lies in lists are isolated with the rest.
    let number = Int(held[0].start.rawValue) / Self.block
    let isolation = try memory.isolate(block(number))
    #expect(memory.verify() == [])
    #expect(throws: MemoryError.busy(block(number), reason: "it is isolated already")) {
      let another = try memory.isolate(block(number))
      memory.endIsolation(another)
    }
    var others: [FrameRange] = []
    while let other = try? memory.allocate(FrameRequest(1, mobility: .movable)) { others.append(other) }
    #expect(!others.contains { $0.overlaps(block(number)) })
    // What is freed meanwhile joins them.
    let isolated = memory.snapshot().nodes[0].zones.reduce(0) { $0 + Int($1.isolated.rawValue) }
    let mine = held.removeLast()
    try memory.free(mine, cpu: CPUID(1))
    #expect(memory.snapshot().nodes[0].zones.reduce(0) { $0 + Int($1.isolated.rawValue) } == isolated + 1)
    #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) { try memory.allocate(FrameRequest(1)) }
    for other in others { try memory.free(other, cpu: CPUID(0)) }
    memory.endIsolation(isolation)
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == before.free + 1)
  }

  @Test func endingAnIsolationLeavesNoTrace() throws {
    for seed in UInt64(1)...4 {
      let memory = try unguarded(machine([[0x8000..<0x18000]], profile: .linux))
      var random = SplitMix64(seed: seed)
      var held: [FrameRange] = []
      for _ in 0..<500 {
        let count = [1, 1, 2, 4, 8, 3, 512, 700, 33].randomElement(using: &random)!
        if random.below(3) > 0 {
          held.append(try memory.allocate(FrameRequest(count, cpu: random.below(2), mobility: .movable)))
        } else if let index = held.indices.randomElement(using: &random) {
          try memory.free(held.remove(at: index), cpu: CPUID(random.below(2)))
        }
      }
      let before = memory.snapshot()
      let isolation = try memory.isolate(frames(0xA000, 0xE000))
      #expect(memory.verify() == [], "seed \(seed)")
      memory.endIsolation(isolation)
      #expect((memory.snapshot() == before) == true, "seed \(seed)")
      #expect(memory.verify() == [], "seed \(seed)")
      // Not even in the order in which frames are handed out.
      let next = try memory.allocate(FrameRequest(1, mobility: .movable))
      let again = try unguarded(machine([[0x8000..<0x18000]], profile: .linux))
      var replay = SplitMix64(seed: seed)
      var replayed: [FrameRange] = []
      for _ in 0..<500 {
        let count = [1, 1, 2, 4, 8, 3, 512, 700, 33].randomElement(using: &replay)!
        if replay.below(3) > 0 {
          replayed.append(try again.allocate(FrameRequest(count, cpu: replay.below(2), mobility: .movable)))
        } else if let index = replayed.indices.randomElement(using: &replay) {
          try again.free(replayed.remove(at: index), cpu: CPUID(replay.below(2)))
        }
      }
      #expect(try again.allocate(FrameRequest(1, mobility: .movable)) == next, "seed \(seed)")
    }
  }

  @Test func addedMemory() throws {
    let memory = try twoNodes()
    let before = memory.snapshot()
    let size = memory.bytes.size
    try memory.add(block(20), to: NodeID(1))
    #expect((memory.snapshot() == before) == true)
    #expect(memory.bytes.size.rawValue == UInt64(21 * Self.block) << 12 && memory.bytes.reach > memory.bytes.size)
    #expect(memory.memory(of: NodeID(1)) == [frames(0x40000, 0x40000), block(20)])
    #expect(memory.possibleZones(for: block(20)) == [.normal, .movable])
    try memory.online(block(20))
    let added = memory.snapshot().nodes[1]
    #expect(added.zones.map(\.kind) == [.dma32, .normal] && added.zones[1].start.rawValue == UInt64(20 * Self.block))
    let held = try memory.allocate(FrameRequest(512, cpu: 2))
    #expect(block(20).contains(held.start))
    memory.bytes.store64(7, at: PhysicalAddress(held.start.rawValue << 12))
    try memory.free(held, cpu: CPUID(2))
    #expect(throws: MemoryError.noSuchNode(NodeID(7))) { try memory.add(block(21), to: NodeID(7)) }
    for (range, error) in [(block(20), "memory"), (block(3), "memory")] {
      do {
        try memory.add(range, to: NodeID(0))
        Issue.record("added twice")
      } catch { if case .memoryExists = error {} else { Issue.record("\(error)") } }
      _ = error
    }
    do {
      try memory.add(block(1 << 20), to: NodeID(0))
      Issue.record("added beyond reach")
    } catch { if case .beyondReach = error {} else { Issue.record("\(error)") } }
    #expect(throws: MemoryError.self) { try memory.remove(block(20)) }
    try memory.offline(block(20))
    try memory.remove(block(20))
    #expect(memory.bytes.size == size)
    #expect(memory.verify() == [])
    try memory.add(block(20, 2), to: NodeID(0))
    try memory.online(block(20, 2), as: .movable)
    memory.reset()
    #expect(memory.bytes.size == size && memory.memory(of: NodeID(0)) == [frames(0, 0x40000)])
    #expect(try (memory.snapshot() == twoNodes().snapshot()) == true)
  }

  /// Moves everything but what it is told to refuse.
  private final class Mover: FrameMover, @unchecked Sendable {
    let memory: PhysicalMemory
    /// Guarded by who uses it from one thread.
    var refused: Set<FrameNumber> = []
    var moves = 0
    init(_ memory: PhysicalMemory) { self.memory = memory }
    func move(_ allocation: Allocation, to target: FrameRange) -> Bool {
      if refused.contains(allocation.range.start) { return false }
      memory.copyFrames(allocation.range, to: target)
      moves += 1
      return true
    }
  }

  @Test func whatIsMovableGoesElsewhere() throws {
    let memory = try twoNodes()
    let mover = Mover(memory)
    memory.setMover(mover)
    var held: [FrameRange] = []
    for count in [1, 1, 512, 700, 3, 8] {
      let range = try memory.allocate(FrameRequest(count, node: 1, mobility: .movable))
      memory.bytes.store64(UInt64(count), at: PhysicalAddress(range.start.rawValue << 12))
      held.append(range)
    }
    let numbers = Set(held.map { Int($0.start.rawValue) / Self.block })
    // One of them is pinned: what was moved before it was found comes back.
    mover.refused = [held[3].start]
    let before = memory.snapshot()
    let number = Int(held[3].start.rawValue) / Self.block
    #expect(throws: MemoryError.self) { try memory.offline(block(number)) }
    #expect(memory.verify() == [])
    for range in held { #expect(memory.allocation(containing: range.start)?.range == range) }
    #expect(memory.snapshot().free == before.free)
    mover.refused = []
    for number in numbers { try memory.offline(block(number)) }
    #expect(mover.moves >= held.count)
    #expect(memory.verify() == [])
    // As Linux: to other nodes by preference.
    var found: [Allocation] = []
    memory.forEachAllocation {
      found.append($0)
      return true
    }
    #expect(found.map { Int($0.range.count.rawValue) }.sorted() == [1, 1, 3, 8, 512, 700])
    for allocation in found {
      #expect(memory.node(of: allocation.range.start) == NodeID(0))
      #expect(
        memory.bytes.load64(PhysicalAddress(allocation.range.start.rawValue << 12)) == allocation.range.count.rawValue)
    }
  }

  @Test func poisonedFrames() throws {
    let memory = try twoNodes()
    memory.setMover(Mover(memory))
    let held = try memory.allocate(FrameRequest(1, node: 1, mobility: .movable))
    let kernels = try memory.allocate(FrameRequest(1, node: 1))
    let free = memory.snapshot().free
    let number = Int(held.start.rawValue) / Self.block
    let victim = FrameNumber(UInt64(number * Self.block + 777))
    try memory.softOffline(victim)
    try memory.softOffline(victim)
    #expect(memory.isPoisoned(victim) && memory.poisonedFrames == 1)
    #expect(throws: MemoryError.poisonedAlready(victim)) { try memory.hardOffline(victim) }
    // One that lies in a CPU's list, in the middle of an entry of eight.
    let eight = try memory.allocate(FrameRequest(8, align: 8, node: 1, mobility: .movable))
    try memory.free(eight, cpu: CPUID(0))
    try memory.hardOffline(eight.start + FrameCount(3))
    #expect(memory.snapshot().free == free - 2)
    // What is held is moved first, and only its frame goes.
    try memory.softOffline(held.start)
    #expect(memory.isPoisoned(held.start) && memory.snapshot().free == free - 3)
    #expect(memory.verify() == [])
    #expect(throws: MemoryError.unhandlable(kernels.start, owner: "the kernel")) {
      try memory.softOffline(kernels.start)
    }
    #expect(memory.poisonedFrames == 3)
    // Counted, and left where it is.
    #expect(throws: MemoryError.busy(frames(Int(kernels.start.rawValue), 1), reason: "it is held by the kernel")) {
      try memory.hardOffline(kernels.start)
    }
    #expect(throws: MemoryError.poisonedAlready(kernels.start)) { try memory.hardOffline(kernels.start) }
    #expect(memory.poisonedFrames == 4)
    #expect(throws: MemoryError.noSuchFrame(FrameNumber(1 << 30))) { try memory.softOffline(FrameNumber(1 << 30)) }
    // They do not keep a block from going.
    try memory.free(kernels, cpu: CPUID(0))
    try memory.offline(block(number))
    try memory.online(block(number))
    #expect(!memory.isPoisoned(victim) && memory.poisonedFrames == 4)
    #expect(memory.verify() == [])
  }

  /// A real kernel raises a smaller choice whenever memory comes or goes while huge pages are in use, and keeps it while they are not.
  @Test(arguments: [(HugePageMode.never, UInt64(20000)), (.always, 67584)])
  func minFreeFollowsUnlessItWasChosen(thp: HugePageMode, chosen: UInt64) throws {
    var description = machine([[0..<0x40000], [0x40000..<0x80000]], profile: .linux)
    description.settings.thp = thp
    let memory = try PhysicalMemory(description)
    let before = memory.tunables.minFreeKilobytes
    for number in 9..<15 { try memory.offline(block(number)) }
    #expect(memory.tunables.minFreeKilobytes < before)
    var tunables = memory.tunables
    tunables.minFreeKilobytes = 20000
    memory.setTunables(tunables)
    for number in 9..<15 { try memory.online(block(number)) }
    #expect(memory.tunables.minFreeKilobytes == chosen)
  }
}
