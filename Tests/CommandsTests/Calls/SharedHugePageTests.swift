import AddressSpaces
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// Huge pages of shared memory in what scripts of calls cannot show.
@Suite struct SharedHugePageTests {
  private static let address: UInt64 = 0x1_4000_0000

  private func small(_ sizes: [UInt64] = [64], shared: HugePageSettings.Shared = .always) throws -> (
    SmallMachine, Process
  ) {
    let small = try SmallMachine(sizes)
    small.users.transparent.shared = shared
    return (small, try small.users.spawn(name: "test"))
  }

  /// Maps shared memory at an address of its own.
  private func map(_ small: SmallMachine, _ process: Process, bytes: UInt64, flags: UInt64 = 0) throws {
    _ = try small.users.mmap(
      process, Self.address, bytes, protection: 3, flags: 0x31 | flags, file: nil, offset: 0)
  }

  private func read(_ small: SmallMachine, _ process: Process, _ address: UInt64) -> Bool {
    var byte: UInt8 = 0
    let outcome = unsafe withUnsafeMutableBytes(of: &byte) { unsafe small.users.load(process, address, into: $0) }
    guard case .done = outcome else { return false }
    return true
  }

  private struct Counted: Equatable {
    var shared: Int
    var huge: Int
    var whole: Int
    var mapped: Int
    init(_ shared: Int, huge: Int, whole: Int, mapped: Int) {
      (self.shared, self.huge, self.whole, self.mapped) = (shared, huge, whole, mapped)
    }
    init(_ small: SmallMachine) {
      let node = small.machine.usage().node
      self.init(
        node[.nrShmem], huge: node[.nrShmemHugepages], whole: node[.nrShmemPmdmapped], mapped: node[.nrMapped])
    }
  }

  @Test func countsWhatThereIsAndWhatIsShown() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 4 << 20)
    #expect(small.fill(process, Self.address, pages: 1024))
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 1024, mapped: 1024))
    var events = small.users.hugeEvents
    #expect(events.fileAllocations == 2 && events.fileMapped == 2 && events.fileFallbacks == 0)
    let child = try small.users.fork(process)
    #expect(small.users.smapsField(child, Self.address, "Rss") == 0)
    // The child shows the first as a whole, and a part of the second.
    try small.users.munmap(child, Self.address + 2 << 20, 4096)
    #expect(read(small, child, Self.address))
    #expect(read(small, child, Self.address + 2 << 20 + 4096))
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 1024, mapped: 1024))
    #expect(small.users.smapsField(child, Self.address, "ShmemPmdMapped") == 2048)
    #expect(small.machine.verify().isEmpty)
    // The parent's entry for the second is cut, and goes.
    try small.users.mprotect(process, Self.address + 3 << 20, 4096, protection: 1)
    let parts = small.users.smapsField(child, Self.address + 2 << 20 + 4096, "Rss")!
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 512, mapped: 512 + Int(parts / 4)))
    #expect(small.damaged(process, Self.address, pages: 1024) == 0)
    #expect(small.machine.verify().isEmpty)
    small.users.exit(process)
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 512, mapped: 512 + Int(parts / 4)))
    small.users.exit(child)
    #expect(Counted(small) == Counted(0, huge: 0, whole: 0, mapped: 0))
    events = small.users.hugeEvents
    #expect(events.splits == 0 && events.entrySplits == 1 && events.deferredSplits == 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func showsThemInTheFilesOfTheMachine() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 4 << 20)
    #expect(small.fill(process, Self.address, pages: 600))
    try small.users.munmap(process, Self.address + 2 << 20, 4096)
    let usage = small.machine.usage()
    #expect(usage.shown(.nrShmemHugepages) == 2 && usage.shown(.nrShmemPmdmapped) == 1)
    let counts = small.machine.eventCounts()
    #expect(counts[.thpFileAlloc] == 2 && counts[.thpFileMapped] == 2 && counts[.thpSplitPmd] == 1)
    // Bit 61 tells a file's page, bit 56 that it is shown once.
    #expect(small.users.pagemapEntry(process, page: Self.address + 4096) >> 56 == 0b1010_0001)
  }

  @Test func fallsBackToBasePagesWhereNoneIsFree() throws {
    let (small, process) = try small([32])
    // What is left is less than a block, and what base pages are made of.
    while (try? small.machine.memory.allocate(FrameRequest(count: FrameCount(512), alignment: FrameCount(512)))) != nil
    {}
    try map(small, process, bytes: 2 << 20)
    #expect(small.fill(process, Self.address, pages: 4))
    #expect(small.users.smapsField(process, Self.address, "Rss") == 16)
    // The first page's fault alone tries: afterwards the range is not empty.
    #expect(small.users.hugeEvents.fileFallbacks == 1 && small.users.hugeEvents.fileAllocations == 0)
    #expect(small.machine.eventCounts()[.thpFileFallback] == 1)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func promisesAllOfAHugePageOfWhatIsNotReserved() throws {
    let (small, process) = try small()
    let before = small.users.committedPages
    // MAP_NORESERVE
    try map(small, process, bytes: 3 << 20, flags: 0x4000)
    #expect(small.users.committedPages == before)
    #expect(small.fill(process, Self.address, pages: 513))
    #expect(small.users.committedPages == before + 1024)
    // The second is taken apart: what lies behind the file's end goes.
    try small.users.madvise(process, Self.address + 2 << 20, 4096, advice: 9)
    #expect(small.users.committedPages == before + 512 + 255)
    try small.users.munmap(process, Self.address, 3 << 20)
    #expect(small.users.committedPages == before)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func splitsWhatReachesBehindTheFilesEndUnderPressure() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 3 << 20)
    #expect(small.fill(process, Self.address, pages: 768))
    #expect(small.machine.usage().node[.nrShmem] == 1024)
    small.machine.reclaimCaches(pages: false, slab: true)
    #expect(small.users.hugeEvents.splits == 1)
    #expect(Counted(small) == Counted(768, huge: 512, whole: 512, mapped: 512))
    #expect(small.damaged(process, Self.address, pages: 768) == 0)
    #expect(small.machine.verify().isEmpty)
    // There is nothing more to gain.
    small.machine.reclaimCaches(pages: false, slab: true)
    #expect(small.users.hugeEvents.splits == 1)
  }

  /// Where a table needs a frame no entry is taken out meanwhile, but before anybody is killed for it.
  @Test func splitsForTablesOnceTheyAreLeftAlone() throws {
    let (small, process) = try small([32])
    try map(small, process, bytes: 3 << 20)
    #expect(small.fill(process, Self.address, pages: 768))
    let other = try small.users.spawn(name: "other")
    let page = try small.map(other, pages: 1)
    while (try? small.machine.memory.allocate(FrameRequest(owner: FrameOwner(.pageTable)))) != nil {}
    #expect(small.users.hugeEvents.splits == 0)
    #expect(read(small, other, page))
    #expect(small.users.hugeEvents.splits == 1 && small.users.events.outOfMemoryKills == 0)
    #expect(small.machine.verify().isEmpty)
    #expect(small.damaged(process, Self.address, pages: 512) == 0)
  }

  @Test func takesOneFrameOfAHugePageOutOfService() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 2 << 20)
    #expect(small.fill(process, Self.address, pages: 512))
    let entry = small.users.pagemapEntry(process, page: Self.address + 5 * 4096)
    let frame = FrameNumber(entry & (1 << 55 - 1))
    try small.machine.memory.softOffline(frame)
    #expect(small.machine.memory.isPoisoned(frame))
    #expect(small.damaged(process, Self.address, pages: 512) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func compactsAndMovesThemAsAWhole() throws {
    let (small, process) = try small([64, 64])
    try map(small, process, bytes: 4 << 20)
    #expect(small.fill(process, Self.address, pages: 1024))
    try small.users.munmap(process, Self.address + 2 << 20, 4096)
    #expect(small.fill(process, Self.address + 2 << 20 + 4096, pages: 20))
    let before = Counted(small)
    #expect(try small.users.migratePages(process, of: 0, maxNode: 64, from: [1], to: [2]) == 0)
    #expect(small.users.hugeEvents.migrated == 2 && small.users.events.migrated == 1024)
    #expect(Counted(small) == before)
    #expect(small.machine.usage(of: NodeID(1)).node[.nrShmemHugepages] == 1024)
    #expect(small.machine.verify().isEmpty)
    small.machine.compactAll()
    #expect(Counted(small) == before)
    #expect(small.damaged(process, Self.address + 2 << 20 + 4096, pages: 511) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func splitsWhatMovesWhereNoHugePageIsFree() throws {
    let (small, process) = try small([64, 32])
    try map(small, process, bytes: 2 << 20)
    #expect(small.fill(process, Self.address, pages: 512))
    // Single frames are left on the other node.
    let request = FrameRequest(count: FrameCount(512), alignment: FrameCount(512), node: NodeID(1), onlyNode: true)
    while (try? small.machine.memory.allocate(request)) != nil {}
    _ = try small.users.migratePages(process, of: 0, maxNode: 64, from: [1], to: [2])
    #expect(small.users.hugeEvents.migrationsSplit == 1 && small.users.hugeEvents.splits == 1)
    #expect(small.damaged(process, Self.address, pages: 512) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func khugepagedCollapsesWhatBasePagesFill() throws {
    let (small, process) = try small(shared: .never)
    try map(small, process, bytes: 6 << 20)
    #expect(small.fill(process, Self.address, pages: 1024))
    let child = try small.users.fork(process)
    #expect(small.damaged(child, Self.address, pages: 512) == 0)
    #expect(try small.say("khugepaged") == "scanned 0 pages, collapsed 0 into huge pages\n")
    small.users.transparent.shared = .always
    // Nothing of the third is there; the child's two are huge pages of the file already, of which it has one in its table.
    small.users.transparent.khugepaged.maximumNone = 0
    #expect(try small.say("khugepaged pages=3072") == "scanned 3072 pages, collapsed 2 into huge pages\n")
    #expect(small.users.hugeEvents.collapseAllocations == 2 && small.users.hugeEvents.scansWithTooManyNone == 2)
    #expect(small.users.transparent.khugepaged.pagesCollapsed == 2)
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 0, mapped: 0))
    // Faults show them as a whole, as no table is left.
    #expect(small.damaged(process, Self.address, pages: 1024) == 0)
    #expect(small.damaged(child, Self.address, pages: 512) == 0)
    #expect(Counted(small) == Counted(1024, huge: 1024, whole: 1024, mapped: 1024))
    #expect(small.users.smapsField(child, Self.address, "ShmemPmdMapped") == 2048)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func chooseAddressesThatFitThem() throws {
    let (small, process) = try small(shared: .never)
    func isFitting(_ pages: Int) throws -> Bool {
      try small.map(process, pages: pages, shared: true) & (2 << 20 - 1) == 0
    }
    _ = try small.map(process, pages: 3)
    #expect(try !isFitting(1000))
    small.users.transparent.shared = .advise
    #expect(try isFitting(1000) && isFitting(513))
    #expect(try !isFitting(511))
    small.users.transparent.shared = .deny
    #expect(try !isFitting(1000))
    small.users.transparent.shared = .force
    #expect(try isFitting(512))
  }

  @Test(arguments: HugePageSettings.Shared.allCases) func followsTheSetting(_ setting: HugePageSettings.Shared) throws {
    let (small, process) = try small(shared: setting)
    // A huge page and a half.
    try map(small, process, bytes: 3 << 20)
    _ = small.fill(process, Self.address, pages: 1)
    let first = small.users.hugeEvents.fileAllocations == 1
    _ = small.fill(process, Self.address + 2 << 20, pages: 1)
    let second = small.users.hugeEvents.fileAllocations == (first ? 2 : 1)
    #expect(first == [.always, .force, .withinSize].contains(setting))
    #expect(second == [.always, .force].contains(setting))
    // MADV_HUGEPAGE
    try small.users.madvise(process, Self.address, 3 << 20, advice: 9)
    try small.users.madvise(process, Self.address, 3 << 20, advice: 14)
    let before = small.users.hugeEvents.fileAllocations
    _ = small.fill(process, Self.address + 2 << 20, pages: 1)
    #expect(small.users.hugeEvents.fileAllocations == before + (setting == .never || setting == .deny ? 0 : 1))
    #expect(small.machine.verify().isEmpty)
  }

  /// A page format whose huge pages are not of 2 MiB.
  @Test func followsThePageFormat() throws {
    let small = try SmallMachine([256], paging: .granule16K)
    small.users.transparent.shared = .always
    let process = try small.users.spawn(name: "test")
    try map(small, process, bytes: 64 << 20)
    #expect(small.fill(process, Self.address, pages: 4096))
    #expect(small.users.smapsField(process, Self.address, "ShmemPmdMapped") == 65536)
    try small.users.madvise(process, Self.address + small.page, small.page, advice: 9)
    #expect(small.users.smapsField(process, Self.address, "ShmemPmdMapped") == 32768)
    #expect(small.damaged(process, Self.address + 2 * small.page, pages: 4094) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  /// MADV_PAGEOUT takes them apart; what was not written goes, and the rest has no place to go to, and counts as in use.
  @Test func pagesOutFrameByFrame() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 4 << 20)
    #expect(small.fill(process, Self.address, pages: 512))
    #expect(read(small, process, Self.address + 2 << 20))
    try small.users.madvise(process, Self.address, 4 << 20, advice: 21)
    #expect(small.users.hugeEvents.splits == 2 && small.users.hugeEvents.entrySplits == 2)
    #expect(Counted(small) == Counted(512, huge: 0, whole: 0, mapped: 0))
    #expect(small.machine.usage().node[.nrActiveAnon] == 512)
    #expect(small.damaged(process, Self.address, pages: 512) == 0)
    #expect(!small.users.numaMaps(process).contains(" active="))
    #expect(small.machine.verify().isEmpty)
  }

  /// Locks are of entries that show all of a page.
  @Test func locksThemAsAWhole() throws {
    let (small, process) = try small()
    try map(small, process, bytes: 2 << 20)
    try small.users.mlock(process, Self.address, 2 << 20)
    #expect(small.machine.usage().mlocked == 512)
    let child = try small.users.fork(process)
    #expect(read(small, child, Self.address))
    #expect(small.machine.usage().mlocked == 512)
    try small.users.munlock(process, Self.address, 4096)
    #expect(small.machine.usage().mlocked == 0)
    #expect(small.users.events.locked == 512 && small.users.events.unlocked == 512)
    #expect(small.machine.verify().isEmpty)
  }

  /// The same lines lead to the same state; huge pages and base pages with the same bytes do not.
  @Test func tellsStatesApart() throws {
    func state(_ setting: HugePageSettings.Shared) throws -> String {
      let (small, process) = try small(shared: setting)
      try map(small, process, bytes: 2 << 20)
      #expect(small.fill(process, Self.address, pages: 512))
      small.users.transparent.shared = .never
      return try small.say("check")
    }
    #expect(try state(.always) == state(.always))
    #expect(try state(.always) != state(.never))
  }
}
