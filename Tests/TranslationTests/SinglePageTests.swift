import MemoryTypes
import Testing

@testable import Translation

/// The ways of single pages and of whole tables against the general ones, for every format.
struct SinglePageTests {
  /// A space with pages of random flags in three tables, the same for the same seed.
  fileprivate struct Subject {
    let memory: TestMemory
    let kernel: PageTable
    let space: PageTable
    let format: PageFormat
    let start: UInt64
    let pages: UInt64
    var random: SplitMix64

    init(_ format: PageFormat, seed: UInt64, enforces: Bool = true) throws {
      self.format = format
      memory = TestMemory(frameSize: format.frameSize, frames: 1 << 14)
      kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
      space = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: enforces)
      random = SplitMix64(seed: seed)
      let inTable = format.basePages(level: 1)
      pages = inTable * 3
      start = format.pageSize(level: 1).rawValue * 2
      for page in 0..<pages where random.next() % 4 != 0 {
        try space.map(
          VirtualAddress(address(page)), to: FrameRange(start: FrameNumber(random.next() >> 44), count: FrameCount(1)),
          flags: Self.flags(&random), sizes: .base)
      }
    }

    func address(_ page: UInt64) -> UInt64 { start + page << format.pageShift }
    func range(_ page: UInt64, _ count: UInt64 = 1) -> PageRange {
      PageRange(VirtualAddress(address(page)), pageCount: count)
    }

    static func flags(_ random: inout SplitMix64) -> PageFlags {
      var flags: PageFlags = .user
      let bits = random.next()
      if bits & 7 != 0 {
        flags.insert(.present)
        if bits & 8 != 0 { flags.formUnion(bits & 16 != 0 ? [.writable, .dirty] : .writable) }
        if bits & 24 == 16 { flags.insert(.executable) }
      }
      if bits & 32 != 0 { flags.insert(.accessed) }
      return flags
    }

    /// What every page is: its frame and flags.
    func pages(of table: PageTable) -> [String?] {
      (0..<pages).map { page in
        table.mapping(at: VirtualAddress(address(page))).map { "\($0.physical) \($0.flags) \($0.level)" }
      }
    }
  }

  @Test(arguments: PageFormat.all) func tablesAreCopiedAsPagesWouldBe(format: PageFormat) throws {
    for seed in UInt64(1)...3 {
      let label = Comment(rawValue: "\(format), seed \(seed)")
      let (ours, model) = (try Subject(format, seed: seed), try Subject(format, seed: seed))
      let (copy, expected) = try (child(of: ours), child(of: model))
      let forgotten: PageFlags = seed == 1 ? .accessed : [.accessed, .dirty]
      let inTable = format.basePages(level: 1)
      var seen: [String] = []
      var wasSeen: [String] = []
      // Parts of tables, and whole ones.
      for part in [(0, 5), (5, inTable - 5), (inTable, inTable), (inTable * 2 + 7, inTable - 7)] as [(UInt64, UInt64)] {
        let hadWritable = ours.hasPresent(.writable, part)
        let changed = try ours.space.copyBasePages(
          ours.range(part.0, part.1), to: copy, removing: .writable, forgetting: forgotten, cpu: CPUID(0)
        ) { seen.append("\($0) \($1)") }
        #expect(changed == hadWritable, label)
        ours.space.flushObligation(ours.range(part.0, part.1)).withoutCPUs()
        for page in part.0..<part.0 + part.1 {
          guard let mapping = model.space.mapping(at: VirtualAddress(model.address(page))) else { continue }
          let frame = FrameNumber(mapping.physical.rawValue >> format.pageShift)
          wasSeen.append("\(frame) \(mapping.flags)")
          try expected.map(
            VirtualAddress(model.address(page)), to: FrameRange(start: frame, count: FrameCount(1)),
            flags: mapping.flags.subtracting(forgotten.union(.writable)), sizes: .base)
          try model.space.change(model.range(page), removing: .writable, inserting: [], merging: true).withoutCPUs()
        }
      }
      #expect(seen == wasSeen, label)
      #expect(ours.pages(of: copy) == model.pages(of: expected), label)
      #expect(ours.pages(of: ours.space) == model.pages(of: model.space), label)
      #expect(copy.tableCount == expected.tableCount, label)
      // All of it goes again: the counts of entries are right.
      try copy.unmap(ours.range(0, ours.pages), holes: .skipped).withoutCPUs()
      #expect(copy.tableCount == 1, label)
    }
  }

  @Test(arguments: PageFormat.all) func aTableWithoutMemoryIsNotCopied(format: PageFormat) throws {
    let subject = try Subject(format, seed: 9)
    let copy = try child(of: subject)
    let (before, inUse) = (subject.pages(of: subject.space), subject.memory.inUse.count)
    for allowance in 0..<format.rootLevel {
      subject.memory.allowance = allowance
      #expect(throws: MemoryError.self) {
        _ = try subject.space.copyBasePages(
          subject.range(0, 8), to: copy, removing: .writable, forgetting: [], cpu: CPUID(0)
        ) { _, _ in Issue.record("a page was shown") }
      }
      #expect(subject.memory.inUse.count == inUse && copy.tableCount == 1)
      #expect(subject.pages(of: subject.space) == before)
    }
    subject.memory.allowance = .max
    // Where nothing is mapped no table is made.
    let empty = PageRange(VirtualAddress(subject.start - format.pageSize(level: 0).rawValue), pageCount: 1)
    let changed = try subject.space.copyBasePages(
      empty, to: copy, removing: .writable, forgetting: [], cpu: CPUID(0)
    ) { _, _ in }
    #expect(!changed && copy.tableCount == 1)
  }

  @Test(arguments: PageFormat.all) func singlePagesChangeAsRangesDo(format: PageFormat) throws {
    for seed in UInt64(1)...3 {
      var ours = try Subject(format, seed: seed, enforces: seed != 2)
      let model = try Subject(format, seed: seed, enforces: seed != 2)
      for step in 0..<stepCount(600) {
        let label = Comment(rawValue: "\(format), seed \(seed), step \(step)")
        let page = ours.random.next() % ours.pages
        let flags = Subject.flags(&ours.random)
        let address = VirtualAddress(ours.address(page))
        let (old, was) = (ours.space.mapping(at: address), model.space.mapping(at: address))
        if ours.random.next() % 2 == 0 {
          let removing = Subject.flags(&ours.random).subtracting(.user)
          var (seen, wasSeen): (PageFlags?, PageFlags?)
          let one = outcome { () throws(MemoryError) in
            try ours.space.change(ours.range(page), removing: removing, inserting: flags) { seen = $0.flags }
          }
          // Merging takes the general way.
          let other = outcome { () throws(MemoryError) in
            try model.space.change(model.range(page), removing: removing, inserting: flags, merging: true) {
              wasSeen = $0.flags
            }
          }
          #expect(one == other && seen == wasSeen && old?.flags == was?.flags, label)
        } else {
          let frame = FrameNumber(ours.random.next() >> 44)
          let one = outcome { () throws(MemoryError) in try ours.space.replace(address, with: frame, flags: flags) }
          guard was != nil else {
            #expect(one == "\(MemoryError.notMapped(address))", label)
            continue
          }
          try model.space.unmap(model.range(page)).withoutCPUs()
          try model.space.map(address, to: FrameRange(start: frame, count: FrameCount(1)), flags: flags, sizes: .base)
          #expect(one == (was!.flags.contains(.present) ? "1" : "0"), label)
        }
        let (now, then) = (ours.space.mapping(at: address), model.space.mapping(at: address))
        #expect(now?.raw == then?.raw, label)
      }
      #expect(ours.pages(of: ours.space) == model.pages(of: model.space))
    }
  }

  private func child(of subject: Subject) throws -> PageTable {
    try PageTable(space: 2, kernel: subject.kernel, enforcesWriteXorExecute: true)
  }

  /// How many pages are to be flushed, or why it was refused.
  private func outcome(_ change: () throws(MemoryError) -> FlushObligation) -> String {
    do throws(MemoryError) {
      let obligation = try change()
      let pages = obligation.pageCount
      obligation.withoutCPUs()
      return "\(pages)"
    } catch { return "\(error)" }
  }
}

extension SinglePageTests.Subject {
  fileprivate func hasPresent(_ flags: PageFlags, _ part: (UInt64, UInt64)) -> Bool {
    (part.0..<part.0 + part.1).contains { page in
      space.mapping(at: VirtualAddress(address(page)))?.flags.isSuperset(of: flags.union(.present)) == true
    }
  }
}
