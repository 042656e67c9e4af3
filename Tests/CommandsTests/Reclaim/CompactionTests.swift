import AddressSpaces
import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// Compaction makes whole blocks of scattered free frames, and nobody's bytes change.
@Suite struct CompactionTests {
  /// Fills a machine with pages of two processes and frames of lines, then frees most of them at random.
  struct Scattered {
    let small: SmallMachine
    let process: Process
    let address: UInt64
    let pages: Int
    /// Pages that are still there, by index.
    var kept: [Int] = []
    /// Frames of lines with the word that they hold.
    var words: Set<UInt64> = []

    init(_ small: SmallMachine, keep percent: Int, seed: UInt64) throws {
      self.small = small
      var random = Random(seed: seed)
      process = try small.users.spawn(name: "scattered")
      let memory = small.machine.memory
      pages = Int(memory.snapshot().nodes[0].free.rawValue) * 45 / 100
      address = try small.map(process, pages: pages)
      var lines: [FrameRange] = []
      for index in 0..<pages {
        #expect(small.fill(process, address + UInt64(index) * small.page, pages: 1))
        guard index % 3 == 0 else { continue }
        let range = try memory.allocate(
          FrameRequest(
            count: FrameCount(1 + random.next() % 3), mobility: .movable, owner: FrameOwner(.command, id: UInt32(index))
          ))
        let word = UInt64(index) << 20 | range.count.rawValue
        try unsafe withUnsafeBytes(of: word) {
          try unsafe memory.bytes.write($0, at: memory.frameSize.address(of: FrameNumber(range.end.rawValue - 1)))
        }
        lines.append(range)
      }
      for index in 0..<pages {
        if Int(random.next() % 100) < percent {
          kept.append(index)
        } else {
          try small.users.munmap(process, address + UInt64(index) * small.page, small.page)
        }
      }
      for range in lines {
        if Int(random.next() % 100) < percent {
          words.insert(word(at: range))
        } else {
          try memory.free(range, cpu: CPUID(0))
        }
      }
    }

    func word(at range: FrameRange) -> UInt64 {
      let memory = small.machine.memory
      var word: UInt64 = 0
      unsafe withUnsafeMutableBytes(of: &word) {
        unsafe memory.bytes.read(into: $0, at: memory.frameSize.address(of: FrameNumber(range.end.rawValue - 1)))
      }
      return word
    }

    /// What is not as it was left.
    func damage() -> Int {
      var found: Set<UInt64> = []
      small.machine.memory.forEachAllocation {
        if $0.owner.kind == .command { found.insert(word(at: $0.range)) }
        return true
      }
      return found.symmetricDifference(words).count
        + kept.count { small.damaged(process, address + UInt64($0) * small.page, pages: 1) != 0 }
    }

    /// Whole free blocks, and as many as all free frames would make.
    func wholeBlocks() -> (are: Int, couldBe: Int) {
      small.machine.memory.drainLists()
      var are = 0
      var free = 0
      for zone in small.machine.memory.snapshot().nodes.flatMap(\.zones) {
        free += Int(zone.free.rawValue)
        for order in 9...20 { are += zone.freeByMobility.reduce(0) { $0 + $1[order] } << (order - 9) }
      }
      return (are, free / 512)
    }
  }

  @Test(arguments: Paging.allCases) func makesWholeBlocks(_ paging: Paging) throws {
    let small = try SmallMachine([48], paging: paging)
    let scattered = try Scattered(small, keep: 30, seed: 11)
    let before = scattered.wholeBlocks()
    small.machine.withLock { small.machine.compactAll() }
    let after = scattered.wholeBlocks()
    #expect(after.are > before.are + 5, "\(before) \(after)")
    // What is left loose is less than a block a zone, unmovable blocks apart.
    #expect(after.couldBe - after.are <= 4, "\(after)")
    #expect(small.machine.memory.verify() == [])
    #expect(scattered.damage() == 0)
    let counts = small.machine.compaction.counts
    #expect(counts.migrateScanned > 0 && counts.freeScanned > 0 && counts.isolated > 0)
    #expect(counts.notMoved == 0 && small.users.events.migrationsFailed == 0)
    #expect(UInt64(counts.isolated) >= 2 * (counts.moved + small.users.events.migrated))
  }

  /// A request that only fragmentation stands against is served by compacting on the way.
  @Test func servesARequestThatFragmentationRefused() throws {
    let small = try SmallMachine([48])
    var scattered = try Scattered(small, keep: 40, seed: 5)
    let memory = small.machine.memory
    var blocks: [FrameRange] = []
    let request = FrameRequest(
      count: FrameCount(512), alignment: FrameCount(512), mobility: .movable, owner: FrameOwner(.kernel))
    let whole = scattered.wholeBlocks()
    while let block = try? memory.allocate(request) { blocks.append(block) }
    #expect(blocks.count > whole.are + 3, "\(whole)")
    let counts = small.machine.compaction.counts
    #expect(counts.successes > 0 && counts.stalls == counts.successes + counts.failures)
    #expect(memory.verify() == [])
    #expect(scattered.damage() == 0)
    for block in blocks { try memory.free(block, cpu: CPUID(0)) }
    scattered.kept = []
    small.users.exit(scattered.process)
    #expect(memory.verify() == [])
  }

  /// What cannot be moved keeps its block, and its place.
  @Test func leavesUnmovableBlocksAlone() throws {
    let small = try SmallMachine([16])
    let memory = small.machine.memory
    var held: [FrameRange] = []
    for _ in 0..<1024 { held.append(try memory.allocate(FrameRequest(owner: FrameOwner(.kernel)))) }
    var kept: [FrameRange] = []
    for (index, range) in held.enumerated() {
      if index % 8 == 0 { kept.append(range) } else { try memory.free(range, cpu: CPUID(0)) }
    }
    small.machine.withLock { small.machine.compactAll() }
    for range in kept { #expect(memory.allocation(containing: range.start)?.range == range) }
    #expect(memory.verify() == [])
  }

  /// A failed allocation wakes kcompactd, which runs behind the line.
  @Test func runsBehindTheLine() throws {
    let small = try SmallMachine([48])
    let scattered = try Scattered(small, keep: 40, seed: 9)
    small.machine.memory.drainLists()
    let before = scattered.wholeBlocks().are
    for _ in 0..<before + 1 { _ = try? small.say("alloc order=9") }
    #expect(small.machine.compaction.counts.daemonWakes > 0)
    #expect(small.machine.memory.verify() == [])
  }
}

/// SplitMix64, seeded by each test.
struct Random {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
