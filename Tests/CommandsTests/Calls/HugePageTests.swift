import AddressSpaces
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// Transparent huge pages in what scripts of calls cannot show.
@Suite struct HugePageTests {
  private func small(_ sizes: [UInt64] = [64]) throws -> (SmallMachine, Process) {
    let small = try SmallMachine(sizes)
    small.users.transparent.enabled = .always
    return (small, try small.users.spawn(name: "test"))
  }

  /// Maps huge pages at an address of their own, and fills them.
  private func map(_ small: SmallMachine, _ process: Process, hugePages: Int) throws -> UInt64 {
    let address: UInt64 = 0x1_4000_0000
    let size = UInt64(hugePages) * small.users.hugePageSize
    _ = try small.users.mmap(process, address, size, protection: 3, flags: 0x32, file: nil, offset: 0)
    #expect(small.fill(process, address, pages: Int(size / small.page)))
    return address
  }

  private func free(_ small: SmallMachine) -> Int { small.machine.usage().free }

  @Test func splitsUnmappedPartsUnderPressure() throws {
    let (small, process) = try small()
    let address = try map(small, process, hugePages: 2)
    #expect(small.users.smapsField(process, address, "AnonHugePages") == 4096)
    #expect(small.machine.usage().node[.nrAnonTransparentHugepages] == 1024)
    let anonymous = small.machine.usage().node[.nrAnonPages]
    let before = free(small)
    // All but the first page of each.
    for huge in 0..<2 as Range<UInt64> {
      try small.users.munmap(process, address + huge << 21 + 4096, 511 * 4096)
    }
    #expect(small.machine.verify().isEmpty)
    #expect(free(small) <= before)
    #expect(small.machine.usage().node[.nrAnonPages] == anonymous - 2 * 511)
    #expect(small.users.hugeEvents.deferredSplits == 2 && small.users.hugeEvents.splits == 0)
    small.machine.reclaimCaches(pages: false, slab: true)
    #expect(small.users.hugeEvents.splits == 2)
    #expect(free(small) >= before + 2 * 511 - 8)
    #expect(small.machine.usage().node[.nrAnonPages] == anonymous - 2 * 511)
    #expect(small.damaged(process, address, pages: 1) == 0 && small.damaged(process, address + 1 << 21, pages: 1) == 0)
    #expect(small.machine.verify().isEmpty)
    small.users.exit(process)
    #expect(small.machine.verify().isEmpty)
  }

  /// MAP_POPULATE of what may only be read: the frame of zeros, or the huge one, in every page, a fault an entry.
  @Test(arguments: [HugePageSettings.Enabled.never, .always]) func makesPagesOfZerosAhead(
    _ enabled: HugePageSettings.Enabled
  ) throws {
    let (small, process) = try small()
    small.users.transparent.enabled = enabled
    // Three pages, two tables' worth, and five pages.
    let (address, pages) = (UInt64(0x1_4000_0000 - 3 * 4096), 3 + 2 * 512 + 5)
    _ = try small.users.mmap(
      process, address, UInt64(pages) * 4096, protection: 1, flags: 0x8032, file: nil, offset: 0)
    #expect(process.minorFaults == (enabled == .never ? UInt64(pages) : 3 + 2 + 5))
    for page in 0..<UInt64(pages) {
      let entry = small.users.pagemapEntry(process, page: address + page * 4096)
      #expect(entry >> 63 == 1)
    }
    #expect(small.machine.verify().isEmpty)
    small.users.exit(process)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func takesOneFrameOfAHugePageOutOfService() throws {
    let (small, process) = try small()
    let address = try map(small, process, hugePages: 1)
    let entry = small.users.pagemapEntry(process, page: address + 5 * 4096)
    let frame = FrameNumber(entry & (1 << 55 - 1))
    try small.machine.memory.softOffline(frame)
    #expect(small.machine.memory.isPoisoned(frame))
    #expect(small.users.smapsField(process, address, "AnonHugePages") == 0)
    #expect(small.damaged(process, address, pages: 512) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func khugepagedCollapsesWhatBasePagesFill() throws {
    let (small, process) = try small()
    small.users.transparent.enabled = .never
    let address = try map(small, process, hugePages: 3)
    #expect(small.users.smapsField(process, address, "AnonHugePages") == 0)
    try small.users.munmap(process, address + 2 << 21, 4096)
    #expect(try small.say("khugepaged") == "scanned 0 pages, collapsed 0 into huge pages\n")
    small.users.transparent.enabled = .always
    #expect(try small.say("khugepaged pages=512") == "scanned 512 pages, collapsed 1 into huge pages\n")
    #expect(try small.say("khugepaged") == "scanned 512 pages, collapsed 1 into huge pages\n")
    #expect(small.users.smapsField(process, address, "AnonHugePages") == 4096)
    #expect(small.damaged(process, address, pages: 1024) == 0)
    #expect(small.users.transparent.khugepaged.pagesCollapsed == 2)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func khugepagedKeepsToItsLimits() throws {
    let (small, process) = try small()
    small.users.transparent.enabled = .never
    let address: UInt64 = 0x1_4000_0000
    _ = try small.users.mmap(process, address, 2 << 20, protection: 3, flags: 0x32, file: nil, offset: 0)
    #expect(small.fill(process, address, pages: 500))
    small.users.transparent.enabled = .always
    small.users.transparent.khugepaged.maximumNone = 11
    #expect(small.machine.runKhugepaged(pages: nil).collapsed == 0)
    #expect(small.users.hugeEvents.scansWithTooManyNone == 1)
    small.users.transparent.khugepaged.maximumNone = 12
    #expect(small.machine.runKhugepaged(pages: nil).collapsed == 1)
    #expect(small.damaged(process, address, pages: 500) == 0)
  }

  @Test func fallsBackToBasePagesWhereNoneIsFree() throws {
    let (small, process) = try small([32])
    // What is left is less than a block, and what base pages are made of.
    while (try? small.machine.memory.allocate(FrameRequest(count: FrameCount(512), alignment: FrameCount(512)))) != nil
    {}
    let address: UInt64 = 0x1_4000_0000
    _ = try small.users.mmap(process, address, 2 << 20, protection: 3, flags: 0x32, file: nil, offset: 0)
    #expect(small.fill(process, address, pages: 4))
    #expect(small.users.smapsField(process, address, "Rss") == 16)
    #expect(small.users.hugeEvents.faultFallbacks == 1 && small.users.hugeEvents.faultAllocations == 0)
  }

  @Test func dropsWhatWasFreedLazily() throws {
    let (small, process) = try small()
    let address = try map(small, process, hugePages: 2)
    try small.users.madvise(process, address, 4 << 20, advice: 8)
    #expect(small.fill(process, address, pages: 1))
    let before = free(small)
    let order = UserMemory.ReclaimOrder(
      node: NodeID(0), highest: .movable, wanted: 4096, isKswapd: false, mayUnmap: true)
    #expect(small.users.reclaim(order) == 512)
    #expect(free(small) >= before + 512)
    #expect(small.users.smapsField(process, address, "Rss") == 2048)
    #expect(small.damaged(process, address, pages: 512) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  /// A page format whose huge pages are not of 2 MiB.
  @Test func followsThePageFormat() throws {
    let small = try SmallMachine([256], paging: .granule16K)
    small.users.transparent.enabled = .always
    let process = try small.users.spawn(name: "test")
    let address = try map(small, process, hugePages: 2)
    #expect(small.users.hugePageSize == 32 << 20)
    #expect(small.users.smapsField(process, address, "AnonHugePages") == 65536)
    try small.users.munmap(process, address + small.page, small.page)
    #expect(small.users.smapsField(process, address + 2 * small.page, "AnonHugePages") == 32768)
    #expect(small.damaged(process, address + 2 * small.page, pages: 4094) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  /// Parts of a huge page that another process shows as well are nobody's to free lazily.
  @Test func leavesSharedPartsToBeFreedLazily() throws {
    let (small, process) = try small()
    let address = try map(small, process, hugePages: 1)
    try small.users.munmap(process, address, 4096)
    let child = try small.users.fork(process)
    try small.users.madvise(process, address + 4096, 511 * 4096, advice: 8)
    #expect(small.users.smapsField(process, address + 4096, "LazyFree") == 0)
    #expect(small.machine.verify().isEmpty)
    small.users.exit(child)
    #expect(small.damaged(process, address + 4096, pages: 511) == 0)
    #expect(small.machine.verify().isEmpty)
  }

  /// What the kernel touches for a process is not used twice by that.
  @Test func populatesWithoutActivating() throws {
    let (small, process) = try small()
    let address: UInt64 = 0x1_4000_0000
    // MAP_POPULATE
    _ = try small.users.mmap(process, address, 2 << 20, protection: 3, flags: 0x8032, file: nil, offset: 0)
    try small.users.mlock(process, address, 2 << 20)
    try small.users.munlock(process, address, 2 << 20)
    #expect(small.users.numaMaps(process).contains("140000000 default anon=512 dirty=512 active=0 N0=512"))
  }

  // MARK: Pools

  private static let mapHugePages: UInt64 = 0x40032

  @Test func keepsPagesInUseAsSurplus() throws {
    let (small, process) = try small()
    let address: UInt64 = 0x1_4000_0000
    small.machine.resizeHugePages(.mib(2), to: 4)
    _ = try small.users.mmap(
      process, address, 6 << 20, protection: 3, flags: Self.mapHugePages, file: nil, offset: 0)
    #expect(small.fill(process, address, pages: 1024))
    func expect(total: Int, free: Int, reserved: Int, surplus: Int) {
      let pool = small.machine.hugePages.total(.mib(2))
      #expect(pool.total == total && pool.free == free && pool.reserved == reserved && pool.surplus == surplus)
    }
    expect(total: 4, free: 2, reserved: 1, surplus: 0)
    #expect(process.space.counts.hugeTLB == 1024)
    small.machine.resizeHugePages(.mib(2), to: 0)
    expect(total: 3, free: 1, reserved: 1, surplus: 3)
    small.machine.resizeHugePages(.mib(2), to: 2)
    expect(total: 3, free: 1, reserved: 1, surplus: 1)
    #expect(small.damaged(process, address, pages: 1024) == 0)
    try small.users.munmap(process, address, 6 << 20)
    expect(total: 2, free: 2, reserved: 0, surplus: 0)
    small.machine.resizeHugePages(.mib(2), to: 0)
    expect(total: 0, free: 0, reserved: 0, surplus: 0)
    #expect(small.machine.verify().isEmpty)
  }

  @Test func movesPoolPagesInUse() throws {
    let (small, process) = try small()
    let address: UInt64 = 0x1_4000_0000
    small.machine.resizeHugePages(.mib(2), to: 1)
    _ = try small.users.mmap(
      process, address, 2 << 20, protection: 3, flags: Self.mapHugePages, file: nil, offset: 0)
    #expect(small.fill(process, address, pages: 512))
    let frame = FrameNumber(small.users.pagemapEntry(process, page: address + 4096) & (1 << 55 - 1))
    try small.machine.memory.softOffline(frame)
    #expect(small.machine.memory.isPoisoned(frame))
    #expect(small.damaged(process, address, pages: 512) == 0)
    #expect(small.users.smapsField(process, address, "Private_Hugetlb") == 2048)
    small.users.exit(process)
    let pool = small.machine.hugePages.total(.mib(2))
    #expect(pool.total == 1 && pool.free == 1)
    #expect(small.machine.verify().isEmpty)
  }
}
