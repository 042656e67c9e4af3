import MemoryTypes
import Testing

@testable import Translation

/// Spaces that keep tables without an entry, against a model that has sets: which tables there are, and what is mapped.
struct KeptTablesTests {
  @Test(arguments: PageFormat.all) func tablesStayUntilNothingIsLeftForThem(format: PageFormat) throws {
    for seed in UInt64(1)...4 {
      var subject = try KeptTables(format, seed: seed)
      for step in 0..<stepCount(100) {
        try subject.step()
        if let difference = subject.difference() {
          Issue.record("\(format), seed \(seed), step \(step): \(difference)")
          return
        }
      }
      try subject.removeAll()
      #expect(subject.space.tableCount == 1 && subject.memory.inUse.count == 2, "\(format), seed \(seed)")
    }
  }

  @Test(arguments: PageFormat.all) func aCopyHasTheTablesThatTheSpaceHas(format: PageFormat) throws {
    var subject = try KeptTables(format, seed: 7)
    for _ in 0..<stepCount(60) { try subject.step() }
    for lowest in [0, 1] {
      let copy = try PageTable(space: 2, kernel: subject.kernel, enforcesWriteXorExecute: true, keepsTables: true)
      try subject.space.copyTables(of: subject.wholeRange, to: copy, lowest: lowest, cpu: CPUID(0))
      let expected = subject.tables.filter { $0.level >= lowest }
      #expect(copy.tableCount == expected.count + 1, "\(format), lowest \(lowest)")
      for table in expected {
        let start = VirtualAddress(table.number << format.shifts[table.level + 1])
        #expect(copy.endLevel(at: start) <= table.level, "\(format), lowest \(lowest)")
      }
    }
  }

  @Test(arguments: PageFormat.all) func aMoveWithoutMemoryLeavesAllWhereItWas(format: PageFormat) throws {
    let subject = try KeptTables(format, seed: 1)
    let size = format.basePages(level: 1)
    let page: UInt64 = size * 2
    for number in [page + 3, page + size + 1] {
      try subject.space.map(
        VirtualAddress(number << format.pageShift),
        to: FrameRange(start: FrameNumber(number), count: FrameCount(1)), flags: [.present, .user])
    }
    let range = PageRange(VirtualAddress(page << format.pageShift), pageCount: size * 2)
    // Not by whole tables, and to where there is none yet; as far away as a table more than one for each is needed.
    let target = VirtualAddress((subject.pageCount * 8 + 1) << format.pageShift)
    var refusals = 0
    while true {
      subject.memory.allowance = refusals
      do throws(MemoryError) {
        try subject.space.move(range, to: target, removing: [], cpu: CPUID(0)).withoutCPUs()
        break
      } catch { refusals += 1 }
      #expect(subject.space.mapping(at: VirtualAddress((page + 3) << format.pageShift)) != nil)
      #expect(subject.space.mapping(at: VirtualAddress((page + size + 1) << format.pageShift)) != nil)
      #expect(subject.space.firstMapping(position: target.rawValue, pages: size * 2) == nil)
    }
    #expect(refusals >= 2)
    let moved = VirtualAddress(target.rawValue + 3 << format.pageShift)
    #expect(subject.space.mapping(at: moved)?.physical == PhysicalAddress((page + 3) << format.pageShift))
  }

  @Test(arguments: PageFormat.all) func anEmptyTableIsPutAsideOrGivenBack(format: PageFormat) throws {
    let subject = try KeptTables(format, seed: 1)
    let page = VirtualAddress(3 << format.pageShift)
    try subject.space.map(page, to: FrameRange(start: FrameNumber(9), count: FrameCount(1)), flags: [.present, .user])
    let count = subject.space.tableCount
    subject.space.freeLeafTable(of: page).withoutCPUs()
    subject.space.depositLeafTable(of: page).withoutCPUs()
    #expect(subject.space.tableCount == count && !subject.space.hasEmptyLeafTable(of: page))
    try subject.space.unmap(PageRange(page), holes: .refused).withoutCPUs()
    #expect(subject.space.tableCount == count && subject.space.hasEmptyLeafTable(of: page))
    subject.space.depositLeafTable(of: page).withoutCPUs()
    #expect(subject.space.tableCount == count && subject.space.endLevel(at: page) == 1)
    subject.space.withdraw()
    #expect(subject.space.tableCount == count - 1 && subject.memory.inUse.count == count)
    try subject.space.map(page, to: FrameRange(start: FrameNumber(9), count: FrameCount(1)), flags: [.present, .user])
    try subject.space.unmap(PageRange(page), holes: .refused).withoutCPUs()
    subject.space.freeLeafTable(of: page).withoutCPUs()
    #expect(subject.space.tableCount == count - 1 && subject.space.endLevel(at: page) == 1)
  }
}

/// A space and its model.
struct KeptTables {
  struct Table: Hashable {
    /// Of its entries.
    var level: Int
    /// Its first address divided by what it covers.
    var number: UInt64
  }

  let format: PageFormat
  let memory: TestMemory
  let kernel: PageTable
  let space: PageTable
  /// Frames, and whether the page was written to, by page.
  var pages: [UInt64: ModelPage] = [:]
  var tables: Set<Table> = []
  var random: SplitMix64
  /// Two tables of level 1 and a bit, so that tables of level 1 move as wholes now and then.
  let pageCount: UInt64
  private let size: UInt64

  init(_ format: PageFormat, seed: UInt64) throws {
    self.format = format
    memory = TestMemory(frameSize: format.frameSize, frames: 1 << 12)
    kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
    space = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true, keepsTables: true)
    random = SplitMix64(seed: seed)
    size = format.basePages(level: 1)
    let upper = format.rootLevel > 1 ? format.basePages(level: 2) : size * 8
    pageCount = min(upper * 2 + size * 3, (format.layout.user.last.rawValue >> format.pageShift) / 16)
  }

  /// Moves go a little beyond the end.
  var wholeRange: PageRange { PageRange(VirtualAddress(0), pageCount: pageCount * 4) }
  private func address(_ page: UInt64) -> VirtualAddress { VirtualAddress(page << format.pageShift) }
  private func pagesShift(_ level: Int) -> UInt64 { format.shifts[level + 1] - format.pageShift }

  private mutating func place() -> UInt64 {
    let upper = format.rootLevel > 1 ? format.basePages(level: 2) : size * 8
    let start = (random.next() % 2) * upper + (random.next() % 3) * size
    return min(random.next() % 3 == 0 ? start : start + random.next() % 12, pageCount - 1)
  }
  private mutating func length() -> UInt64 {
    [1, 2, 5, size, size + 3, size * 2, format.rootLevel > 1 ? format.basePages(level: 2) : size][
      Int(random.next() % 7)]
  }

  private mutating func make(_ page: UInt64, downTo level: Int) {
    for level in stride(from: format.rootLevel - 1, through: level, by: -1) {
      tables.insert(Table(level: level, number: page >> pagesShift(level)))
    }
  }
  private func has(_ level: Int, _ page: UInt64) -> Bool {
    level >= format.rootLevel || tables.contains(Table(level: level, number: page >> pagesShift(level)))
  }

  mutating func step() throws {
    let first = place()
    let count = min(length(), pageCount - first)
    let range = PageRange(address(first), pageCount: count)
    switch random.next() % 8 {
    case 0...3:
      if pages[first] != nil { return }
      let page = ModelPage(frame: random.next() % 1024, flags: [.present, .user, .dirty])
      try space.map(
        address(first), to: FrameRange(start: FrameNumber(page.frame), count: FrameCount(1)), flags: page.flags)
      pages[first] = page
      make(first, downTo: 0)
    case 4:
      try space.unmap(range, holes: .skipped).withoutCPUs()
      pages = pages.filter { $0.key < first || $0.key >= first + count }
    case 5, 6:
      // What is mapped besides is what tables are still needed for.
      let floor = pages.keys.filter { $0 < first }.max().map { $0 + 1 } ?? 0
      let ceiling = pages.keys.filter { $0 >= first + count }.min()
      let bounds = TableBounds(floor: address(floor), ceiling: ceiling.map(address) ?? VirtualAddress(.max))
      if random.next() % 2 == 0 {
        try space.unmap(range, holes: .skipped, freeingTablesWithin: bounds) { _ in }.withoutCPUs()
      } else {
        try space.unmap(range, holes: .skipped).withoutCPUs()
        try space.freeTables(of: range, within: bounds).withoutCPUs()
      }
      pages = pages.filter { $0.key < first || $0.key >= first + count }
      for level in 0..<format.rootLevel {
        let shift = pagesShift(level)
        for table in tables where table.level == level {
          let start = table.number << shift
          let end = start + 1 << shift
          let touches = start < first + count && end > first
          // One that keeps another is needed itself.
          let keeps = tables.contains {
            level > 0 && $0.level == level - 1 && ($0.number << pagesShift(level - 1)) >> shift == table.number
          }
          if touches, start >= floor, end <= ceiling ?? .max, !keeps { tables.remove(table) }
        }
      }
    default: try move(first, count, to: place())
    }
  }

  private mutating func move(_ first: UInt64, _ count: UInt64, to target: UInt64) throws {
    let apart = first + count <= target || target + count <= first
    if !apart || (pages.keys.contains { $0 >= target && $0 < target + count }) { return }
    try space.move(
      PageRange(address(first), pageCount: count), to: address(target), removing: .dirty, cpu: CPUID(0)
    ).withoutCPUs()
    var done: UInt64 = 0
    walk: while done < count {
      let (from, to) = (first + done, target + done)
      for level in [2, 1] where level <= format.rootLevel && has(level - 1, from) {
        let size = format.basePages(level: level)
        if (from | to) & (size - 1) != 0 || count - done < size { continue }
        make(to, downTo: level)
        if has(level - 1, to) { continue }
        moveWhole(from, to, level: level)
        done += size
        continue walk
      }
      if has(0, from) {
        make(to, downTo: 0)
        if var page = pages.removeValue(forKey: from) {
          page.flags.remove(.dirty)
          pages[to] = page
        }
        done += 1
      } else {
        if has(1, from), format.rootLevel > 1 { make(to, downTo: 2) }
        done += min(size - from % size, size - to % size)
      }
    }
  }

  /// What one entry of `level` leads to.
  private mutating func moveWhole(_ from: UInt64, _ to: UInt64, level: Int) {
    let size = format.basePages(level: level)
    for table in tables where table.level < level {
      let shift = pagesShift(table.level)
      let start = table.number << shift
      guard start >= from, start < from + size else { continue }
      tables.remove(table)
      tables.insert(Table(level: table.level, number: (start - from + to) >> shift))
    }
    for page in pages.keys where page >= from && page < from + size {
      pages[page - from + to] = pages.removeValue(forKey: page)
    }
  }

  mutating func removeAll() throws {
    let bounds = TableBounds(floor: VirtualAddress(0), ceiling: VirtualAddress(.max))
    try space.unmap(wholeRange, holes: .skipped, freeingTablesWithin: bounds) { _ in }.withoutCPUs()
  }

  func difference() -> String? {
    if space.tableCount != tables.count + 1 { return "\(space.tableCount) tables, expected \(tables.count + 1)" }
    if memory.inUse.count != kernel.tableCount + space.tableCount { return "\(memory.inUse.count) frames in use" }
    var found: [UInt64: ModelPage] = [:]
    space.forEachExtent(through: format.layout.user.last) { extent in
      for page in 0..<extent.pageCount {
        found[extent.start.rawValue >> format.pageShift + page] = ModelPage(
          frame: extent.physical.rawValue >> format.pageShift + page, flags: extent.flags)
      }
    }
    return found == pages ? nil : "\(found.count) pages, expected \(pages.count), or others"
  }
}
