import AddressSpaces
import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// The page cache gives way to those who allocate, and no byte of a file or a process is lost.
@Suite struct ReclaimTests {
  private static func pattern(_ salt: Int) -> [UInt8] { (0..<509).map { UInt8(truncatingIfNeeded: $0 * 7 + salt) } }

  private func content(_ small: SmallMachine, _ file: MemoryFile) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try small.users.read(file, offset: 0, size: file.size, cpu: CPUID(0)) { bytes += $1 }
    return bytes
  }

  private func expected(_ salt: Int, _ size: Int) -> [UInt8] {
    let pattern = Self.pattern(salt)
    return (0..<size).map { pattern[$0 % pattern.count] }
  }

  private func free(_ small: SmallMachine) -> Int {
    small.machine.memory.drainLists()
    return small.machine.memory.snapshot().nodes.reduce(0) { $0 + Int($1.free.rawValue) }
  }

  @Test(arguments: [Paging.fourLevel, .pae, .granule4K, .sv39]) func cacheGivesWay(_ paging: Paging) throws {
    let small = try SmallMachine([24], paging: paging)
    let machine = small.machine
    let total = free(small)
    let file = try #require(machine.createFile("dirty", size: 0))
    // Twice as much as memory holds, so that what is dirty must be written to its disk on the way.
    let size = UInt64(total * 2) * small.page
    let chunk = small.page * 64
    for offset in stride(from: 0, to: size, by: Int(chunk)) {
      try machine.write(
        file, offset: offset, size: chunk, pattern: [UInt8(truncatingIfNeeded: offset / chunk)], cpu: CPUID(1))
      machine.endLine()
    }
    #expect(machine.verify() == [])
    #expect(file.cachedPages < total && file.cachedPages > 0)
    let counts = small.users.reclaimCounts
    let events = small.users.nodeEvents(of: NodeID(0))
    #expect(events.written > 0 && events.dirtied >= events.written)
    #expect(counts.stolenByKswapd + counts.stolenDirectly > 0)

    // A process takes nearly everything: the cache goes, and nobody is killed.
    do {
      let process = try small.users.spawn(name: "hungry")
      let pages = total * 8 / 10
      let address = try small.map(process, pages: pages)
      #expect(small.fill(process, address, pages: pages))
      #expect(small.users.process(process.pid) != nil)
      #expect(small.damaged(process, address, pages: pages) == 0)
      #expect(machine.verify() == [])
      small.users.exit(process)
    }

    // What was dropped comes back from the disk.
    for offset in stride(from: 0, to: size, by: Int(chunk) * 5) {
      var bytes: [UInt8] = []
      try small.users.read(file, offset: offset, size: chunk, cpu: CPUID(0)) { bytes += $1 }
      #expect(bytes == [UInt8](repeating: UInt8(truncatingIfNeeded: offset / chunk), count: Int(chunk)))
    }
    #expect(small.users.nodeEvents(of: NodeID(0)).refaults > 0)
    #expect(machine.verify() == [])
    #expect(machine.removeFile("dirty"))
    #expect(free(small) == total)
  }

  /// Every kind of request gets the cache's memory; then it is ENOMEM, with nothing half done, and all of it comes back.
  @Test(arguments: Mobility.allCases, [0, 3, 9]) func exhaustion(_ mobility: Mobility, _ order: Int) throws {
    let small = try SmallMachine([24])
    let machine = small.machine
    let total = free(small)
    for name in ["a", "b"] {
      let file = try #require(machine.createFile(name, size: 0))
      try machine.write(
        file, offset: 0, size: UInt64(total / 3) * small.page, pattern: Self.pattern(3), cpu: CPUID(0))
      if name == "a" { small.users.sync(file) }
    }
    var held: [FrameRange] = []
    let request = FrameRequest(
      count: FrameCount(order: order), alignment: FrameCount(order: order), mobility: mobility,
      owner: FrameOwner(.command, id: 1))
    var refusal: MemoryError?
    while refusal == nil {
      do throws(MemoryError) { held.append(try machine.memory.allocate(request)) } catch { refusal = error }
    }
    #expect(refusal == .outOfMemory(count: request.count))
    #expect(machine.verify() == [])
    let cached = ["a", "b"].reduce(0) { $0 + (machine.file(named: $1)?.cachedPages ?? 0) }
    if order == 0 { #expect(cached == 0, "\(cached) pages were kept") }
    // A word that cannot be had leaves the file as it was.
    let file = try #require(machine.file(named: "a"))
    let before = file.size
    let outcome = Result { try machine.write(file, offset: 5, size: 100 * small.page, pattern: [1], cpu: CPUID(0)) }
    if case .failure = outcome { #expect(file.size == before) }
    #expect(machine.verify() == [])
    for range in held { try machine.memory.free(range, cpu: CPUID(1)) }
    if case .failure = outcome { #expect(try content(small, file) == expected(3, total / 3 * Int(small.page))) }
    #expect(machine.removeFile("a") && machine.removeFile("b"))
    #expect(free(small) == total)
    #expect(machine.verify() == [])
  }

  @Test func dropsOnlyWhatIsClean() throws {
    let small = try SmallMachine([32])
    let machine = small.machine
    let clean = try #require(machine.createFile("clean", size: 100 * small.page))
    let dirty = try #require(machine.createFile("dirty", size: 0))
    #expect(try content(small, clean).allSatisfy { $0 == 0 })
    try machine.write(dirty, offset: 0, size: 50 * small.page, pattern: [9], cpu: CPUID(0))
    let process = try small.users.spawn(name: "maps")
    let address = try small.users.mmap(
      process, 0, 10 * small.page, protection: 1, flags: 1, file: clean, offset: 0)
    #expect(small.damaged(process, address, pages: 10) == 10)
    #expect(small.users.pageUse(of: NodeID(0)).mapped == 10)
    #expect(small.users.pageUse(of: NodeID(0)).dirty == 50)
    machine.reclaimCaches(pages: true, slab: true)
    #expect(clean.cachedPages == 10)
    #expect(dirty.cachedPages == 50)
    #expect(small.users.sync(dirty) == 50)
    #expect(small.users.sync(dirty) == 0)
    machine.reclaimCaches(pages: true, slab: false)
    #expect(dirty.cachedPages == 0)
    #expect(try content(small, dirty) == [UInt8](repeating: 9, count: 50 * Int(small.page)))
    #expect(machine.verify() == [])
  }

  /// What does not fit on the disks is refused, and changes nothing; zeros take no room.
  @Test func disksAreBounded() throws {
    let small = try SmallMachine([32])
    let machine = small.machine
    small.users.diskCapacity = 100 * small.page
    let file = try #require(machine.createFile("full", size: 0))
    func write(_ offset: UInt64, _ pages: UInt64, _ byte: UInt8) throws {
      try machine.write(file, offset: offset, size: pages * small.page, pattern: [byte], cpu: CPUID(0))
    }
    let full = MemoryError.diskFull(ByteCount(101 * small.page), capacity: ByteCount(100 * small.page))
    #expect(throws: full) { try write(0, 101, 7) }
    #expect(file.size == 0 && file.cachedPages == 0)
    try write(0, 100, 7)
    // What has its place already may be written again, what has not may not.
    try write(0, 100, 8)
    #expect(throws: (any Error).self) { try write(99 * small.page, 2, 9) }
    #expect(try content(small, file) == [UInt8](repeating: 8, count: 100 * Int(small.page)))
    try write(50 * small.page, 200, 0)
    small.users.sync(file)
    machine.reclaimCaches(pages: true, slab: false)
    try write(300 * small.page, 50, 5)
    #expect(throws: (any Error).self) { try write(400 * small.page, 1, 5) }
    #expect(machine.verify() == [])
    #expect(machine.removeFile("full"))
    let next = try #require(machine.createFile("next", size: 0))
    try machine.write(next, offset: 0, size: 100 * small.page, pattern: [1], cpu: CPUID(0))
    #expect(machine.verify() == [])
  }

  /// A low limit makes a writer write back at every few pages, in the order in which they were written.
  @Test func writersWriteBackInOrder() throws {
    let small = try SmallMachine([64])
    let machine = small.machine
    machine.set(.dirtyBytes, to: 16 * Int(small.page))
    machine.set(.dirtyBackgroundBytes, to: 8 * Int(small.page))
    let file = try #require(machine.createFile("log", size: 0))
    for round in 0..<3 {
      try machine.write(
        file, offset: 0, size: 4000 * small.page, pattern: Self.pattern(round), cpu: CPUID(0))
      #expect(small.users.pageUse(of: NodeID(0)).dirty <= 16)
    }
    #expect(small.users.nodeEvents(of: NodeID(0)).written >= 3 * 3984)
    #expect(try content(small, file) == expected(2, 4000 * Int(small.page)))
    #expect(machine.verify() == [])
  }

  /// What a process writes to a file that it maps reaches the disk, also when reclaim takes the page.
  @Test func mappedFilesAreWritten() throws {
    let small = try SmallMachine([16])
    let machine = small.machine
    let file = try #require(machine.createFile("mapped", size: 64 * small.page))
    let process = try small.users.spawn(name: "writer")
    let address = try small.users.mmap(process, 0, 64 * small.page, protection: 3, flags: 1, file: file, offset: 0)
    #expect(small.fill(process, address, pages: 64))
    try small.users.msync(process, address, 40 * small.page, flags: 4)
    #expect(small.users.nodeEvents(of: NodeID(0)).written == 40)
    #expect(small.users.sync(file) == 24)
    #expect(small.fill(process, address, pages: 32, salt: 3))
    #expect(small.users.pageUse(of: NodeID(0)).dirty == 32)
    let order = UserMemory.ReclaimOrder(
      node: NodeID(0), highest: .movable, wanted: 1000, isKswapd: false, mayUnmap: true)
    while small.users.reclaim(order) > 0 {}
    #expect(file.cachedPages == 0)
    #expect(small.damaged(process, address, pages: 32, salt: 3) == 0)
    #expect(small.damaged(process, address + 32 * small.page, pages: 32) == 0)
    #expect(machine.verify() == [])
  }

  @Test func lockedPagesStayAndLazilyFreedOnesGo() throws {
    let small = try SmallMachine([16])
    let process = try small.users.spawn(name: "locker")
    let locked = try small.map(process, pages: 20)
    let lazy = try small.map(process, pages: 20)
    small.fill(process, locked, pages: 20)
    small.fill(process, lazy, pages: 20)
    try small.users.mlock(process, locked, 20 * small.page)
    #expect(small.users.pageUse(of: NodeID(0))[.unevictable] == 20)
    try small.users.madvise(process, lazy, 20 * small.page, advice: 8)
    // Written again: kept.
    #expect(small.fill(process, lazy, pages: 5, salt: 1))
    let order = UserMemory.ReclaimOrder(
      node: NodeID(0), highest: .movable, wanted: 1000, isKswapd: false, mayUnmap: true)
    while small.users.reclaim(order) > 0 {}
    #expect(small.users.reclaimCounts.lazilyFreed == 15)
    #expect(small.damaged(process, locked, pages: 20) == 0)
    #expect(small.damaged(process, lazy, pages: 5, salt: 1) == 0)
    #expect(small.machine.verify() == [])
    try small.users.munlock(process, locked, 20 * small.page)
    #expect(small.users.pageUse(of: NodeID(0))[.unevictable] == 0)
    #expect(small.machine.verify() == [])
  }

  @Test func words() throws {
    let small = try SmallMachine([32])
    #expect(try small.say("file create log size=8192") == "created\n")
    #expect(try small.say("file write log data=abc size=5000 offset=100") == "wrote 5000 bytes\n")
    #expect(try small.say("file read log") == "read 8192 bytes\n")
    #expect(try small.say("file sync log") == "wrote 2 pages to its disk\n")
    #expect(try small.say("file list").contains("log"))
    #expect(throws: Refusal.self) { try small.say("file create log") }
    #expect(throws: Refusal.self) { try small.say("file read nothing") }
    #expect(throws: Refusal.self) { try small.say("file rename log") }
    #expect(throws: Refusal.self) { try small.say("file read log cpu=99") }
    #expect(try small.say("file drop log") == "dropped\n")
    #expect(throws: Refusal.self) { try small.say("file sync log") }
    #expect(try small.say("check").hasPrefix("no difference, state "))
  }

  /// A cache of somebody else's is asked in proportion, and what it gives counts.
  @Test func shrinkersAreAsked() throws {
    final class Objects: Shrinker {
      var left: [FrameRange] = []
      let memory: PhysicalMemory
      init(_ memory: PhysicalMemory) { self.memory = memory }
      func count(on node: NodeID) -> Int { left.count }
      func scan(on node: NodeID, _ objects: Int) -> Int {
        let gone = left.suffix(objects)
        for range in gone { try? memory.free(range, cpu: CPUID(0)) }
        left.removeLast(gone.count)
        return gone.count
      }
    }
    let small = try SmallMachine([16])
    let objects = Objects(small.machine.memory)
    small.machine.register(objects)
    for _ in 0..<500 { objects.left.append(try small.machine.memory.allocate(FrameRequest(owner: FrameOwner(.slab)))) }
    var held: [FrameRange] = []
    while let range = try? small.machine.memory.allocate(FrameRequest(owner: FrameOwner(.command))) {
      held.append(range)
    }
    #expect(objects.left.isEmpty)
    #expect(small.machine.verify() == [])
    for range in held { try small.machine.memory.free(range, cpu: CPUID(0)) }
  }

  /// What Linux keeps of pages that went, and of a kswapd that tries in vain, in the files' words.
  @Test func tellsOfNodesThatWaitAndThatAreGivenUp() throws {
    let small = try SmallMachine([24])
    let machine = small.machine
    let node = NodeID(0)
    func value(_ event: VMEvent) -> Int { machine.eventCounts()[event] }
    let total = free(small)
    let file = try #require(machine.createFile("much", size: 0))
    for offset in stride(from: 0, to: UInt64(total * 2) * small.page, by: Int(small.page * 64)) {
      try machine.write(file, offset: offset, size: small.page * 64, pattern: [1], cpu: CPUID(0))
      machine.endLine()
    }
    // Written in order, evicted in order: groups of 64 pages that are all out, but for those at the seam.
    let evicted = total * 2 - file.cachedPages
    let waiting = machine.usage(of: node).node[.workingsetNodes]
    #expect(waiting > 0 && abs(waiting - evicted / 64) <= 2, "\(waiting) of \(evicted)")
    #expect(machine.usage().node[.workingsetNodes] == waiting)
    #expect(value(.pageoutrun) > 0 && !machine.isUnreclaimable(node))
    // A page that comes back takes its group out of those that wait.
    try small.users.read(file, offset: 0, size: 1, cpu: CPUID(0)) { _, _ in }
    #expect(machine.usage(of: node).node[.workingsetNodes] <= waiting)

    // Private memory cannot go anywhere: kswapd tries sixteen times and leaves the node to others.
    #expect(machine.removeFile("much"))
    #expect(machine.usage(of: node).node[.workingsetNodes] == 0)
    let process = try small.users.spawn(name: "hungry")
    let pages = free(small)
    let address = try small.map(process, pages: pages)
    let (high, runs) = (value(.kswapdHighWmarkHitQuickly), value(.pageoutrun))
    for index in 0..<pages where !machine.isUnreclaimable(node) {
      _ = small.users.touch(process, address + UInt64(index) * small.page, 1, write: true)
      machine.beginLine()
      machine.endLine()
    }
    #expect(machine.isUnreclaimable(node))
    #expect(value(.kswapdHighWmarkHitQuickly) == high + 15)
    #expect(value(.pageoutrun) >= runs + 16)
    // Whoever frees something there makes kswapd try again.
    small.users.exit(process)
    let other = try #require(machine.createFile("other", size: 0))
    for offset in stride(from: 0, to: UInt64(total * 2) * small.page, by: Int(small.page * 64)) {
      try machine.write(other, offset: offset, size: small.page * 64, pattern: [1], cpu: CPUID(0))
      machine.beginLine()
      machine.endLine()
    }
    #expect(!machine.isUnreclaimable(node))
    #expect(value(.kswapdLowWmarkHitQuickly) > 0)
    #expect(machine.verify() == [])
  }
}
