import MemoryTypes
import Testing

@testable import Translation

/// Random histories of map, unmap, protect, switch, access and flush over all CPUs, against a model that has page tables
/// (as dictionaries) and no TLBs: what may differ is only what has not been acknowledged yet.
struct StaleTranslationTests {
  static let cpuCount = 5

  @Test(arguments: PageFormat.all) func nothingStaleIsUsedAfterAnAcknowledgedFlush(format: PageFormat) throws {
    // the steps go to several machines, so that histories begin anew
    let steps = stepCount(4500)
    for seed in UInt64(1)...4 {
      var machine = try StaleMachine(format: format, seed: seed)
      for step in 0..<steps / 4 {
        if let difference = try machine.step() {
          Issue.record("\(format), seed \(seed), step \(step): \(difference)")
          return
        }
      }
      try machine.finish()
    }
  }

  /// Also where it was the table's only page that was unmapped, and the frame is soon another table.
  @Test(arguments: PageFormat.all) func theWayToATableThatGoesIsForgotten(format: PageFormat) throws {
    let memory = TestMemory(frameSize: format.frameSize, frames: 1 << 8)
    let kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
    let mmu = try MMU(cpuCount: 3, kernel: kernel)
    let space = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true)
    try mmu.attach(space)
    for cpu in 0..<3 { try mmu.switchSpace(on: CPUID(cpu), to: space) }
    func address(_ table: UInt64, _ page: UInt64) -> VirtualAddress {
      VirtualAddress((table * format.basePages(level: 1) + page) << format.pageShift)
    }
    func map(_ address: VirtualAddress) throws {
      try space.map(
        address, to: FrameRange(start: FrameNumber(200), count: FrameCount(1)), flags: [.present, .user], sizes: .base)
    }
    func isThere(_ address: VirtualAddress, on cpu: Int) -> Bool {
      if case .success = mmu.access(address, .read, user: true, on: CPUID(cpu)) { return true }
      return false
    }
    // A second table keeps those above from going as well.
    try map(address(0, 3))
    try map(address(1, 3))
    for cpu in 0..<3 { #expect(isThere(address(0, 3), on: cpu)) }
    try space.unmap(PageRange(address(0, 3))).now(mmu, from: CPUID(0))
    try map(address(2, 5))
    for cpu in 0..<3 { #expect(isThere(address(2, 5), on: cpu) && !isThere(address(0, 5), on: cpu), "CPU \(cpu)") }
    mmu.detach(space)
  }
}

/// The machine and its model.
struct StaleMachine {
  /// A page in the model, with the frames and permissions that a CPU may still hold because a batch waits.
  typealias Pages = [UInt64: ModelPage]

  let format: PageFormat
  let memory: TestMemory
  let mmu: MMU
  let kernel: PageTable
  var spaces: [PageTable?]
  /// By space; the last is the kernel's half.
  var models: [Pages]
  /// Translations that were true when the open batch began, by page: allowed until it is discharged.
  var allowed: [UInt64: [ModelPage]] = [:]
  var batch = BatchBox()
  var batchSpace = -1
  var loaded: [Int]
  var random: SplitMix64
  var nextNumber: UInt32 = 1
  let cpuCount = StaleTranslationTests.cpuCount
  /// Positions, in base pages, at which larger pages fit.
  let spread: UInt64
  /// Some machines have base pages alone, so that what is done for these in a way of its own goes on being done.
  let hasLargePages: Bool
  /// Some machines' spaces keep tables without an entry.
  let keepsTables: Bool

  /// Holds a noncopyable batch between steps.
  final class BatchBox {
    var batch: FlushBatch? = nil
  }

  init(format: PageFormat, seed: UInt64) throws {
    self.format = format
    memory = TestMemory(frameSize: format.frameSize, frames: 1 << 13)
    kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
    // small caches: more of everything that can go wrong
    mmu = try MMU(
      cpuCount: StaleTranslationTests.cpuCount, kernel: kernel,
      geometry: seed % 2 == 0
        ? .standard
        : TLBGeometry(first: [.init(sets: 2, ways: 2)], second: .init(sets: 4, ways: 2), walkEntries: 2))
    mmu.singlePageFlushCeiling = seed % 3 == 0 ? 4 : 33
    spaces = Array(repeating: nil, count: 9)
    models = Array(repeating: [:], count: 10)
    loaded = Array(repeating: -1, count: StaleTranslationTests.cpuCount)
    random = SplitMix64(seed: seed)
    spread = format.basePages(level: 1)
    hasLargePages = seed % 4 != 2
    keepsTables = seed % 4 > 1
    for i in spaces.indices { try open(i) }
  }

  private mutating func open(_ index: Int) throws {
    let table = try PageTable(
      space: nextNumber, kernel: kernel, enforcesWriteXorExecute: false, keepsTables: keepsTables)
    nextNumber += 1
    try mmu.attach(table)
    spaces[index] = table
    models[index] = [:]
  }

  private func table(_ index: Int) -> PageTable { index == spaces.count ? kernel : spaces[index] ?? kernel }

  private func address(_ page: UInt64, _ index: Int) -> VirtualAddress {
    let isKernel = index == spaces.count
    let base = isKernel ? format.position(format.layout.kernel.first) : 0
    return format.address(position: base + page << format.pageShift, kernel: isKernel)
  }

  private mutating func page() -> UInt64 { (random.next() % 3) * spread + random.next() % 8 }
  private mutating func cpu() -> CPUID { CPUID(Int(random.next() % UInt64(cpuCount))) }
  private mutating func index() -> Int { Int(random.next() % UInt64(spaces.count + 1)) }

  private mutating func flags(_ index: Int) -> PageFlags {
    var flags: PageFlags = [.present]
    if index < spaces.count { flags.insert(.user) } else if random.next() % 2 == 0 { flags.insert(.global) }
    flags.insert([.writable, .executable, .present][Int(random.next() % 3)])
    return flags
  }

  /// One random step; the difference to the model, if there is one.
  mutating func step() throws -> String? {
    switch random.next() % 16 {
    case 0...7: return access()
    case 8, 9: try map()
    case 10, 11: try change()
    case 12, 13:
      let cpu = cpu()
      let index = index()
      try mmu.switchSpace(on: cpu, to: table(index))
      loaded[cpu.rawValue] = index == spaces.count ? -1 : index
    case 14:
      switch random.next() % 4 {
      case 0: try mmu.enterLazyMode(on: cpu())
      case 1: try mmu.flush([.single(address(page(), index())), .global, .full][Int(random.next() % 3)])
      case 2: dischargeBatch()
      default:
        // a space ends and another begins: its tables' frames are soon other tables'
        let index = Int(random.next() % UInt64(spaces.count))
        if let old = spaces[index] {
          if batchSpace == index { dischargeBatch() }
          mmu.detach(old)
          for cpu in loaded.indices where loaded[cpu] == index { loaded[cpu] = -1 }
          spaces[index] = nil
          try open(index)
        }
      }
    default: dischargeBatch()
    }
    return nil
  }

  private mutating func map() throws {
    let index = index()
    let first = page()
    let count = random.next() % 4 == 0 ? spread : 1 + random.next() % 4
    let flags = flags(index)
    let frame = (1 + random.next() % 64) * spread + (random.next() % 2 == 0 ? first % spread : random.next() % spread)
    let start = count == spread ? first / spread * spread : first
    let from = count == spread ? frame / spread * spread : frame
    let isFree = (start..<start + count).allSatisfy { models[index][$0] == nil }
    if keepsTables, isFree, count == spread {
      // A larger page fits where no table is in its place: it is given back, or put aside and soon taken for another's.
      let table = table(index)
      if random.next() % 2 == 0 {
        table.freeLeafTable(of: address(start, index)).now(mmu, from: cpu())
      } else {
        table.depositLeafTable(of: address(start, index)).now(mmu, from: cpu())
        table.withdraw()
      }
    }
    do throws(MemoryError) {
      try table(index).map(
        address(start, index), to: FrameRange(start: FrameNumber(from), count: FrameCount(count)), flags: flags,
        sizes: hasLargePages ? .largest : .base)
    } catch {
      precondition(!isFree, "refused without reason: \(error)")
      return
    }
    for i in 0..<count { models[index][start + i] = ModelPage(frame: from + i, flags: flags) }
  }

  /// Unmap, protect, replace or merge, discharged in one of the three ways.
  private mutating func change() throws {
    let index = index()
    let first = page()
    let count = random.next() % 4 == 0 ? spread : 1 + random.next() % 4
    let start = address(first, index)
    let table = table(index)
    let old = models[index]
    let flags = flags(index)
    var obligation: FlushObligation?
    if keepsTables, index < spaces.count, random.next() % 4 == 0 { return try move(index) }
    switch random.next() % 5 {
    case 0, 1:
      let nobodyElse = TableBounds(
        floor: VirtualAddress(0), ceiling: VirtualAddress(.max))
      let bounds = keepsTables && index < spaces.count && random.next() % 2 == 0 ? nobodyElse : nil
      obligation = try table.unmap(PageRange(start, pageCount: count), holes: .skipped, freeingTablesWithin: bounds) {
        _ in
      }
      for i in first..<first + count { models[index][i] = nil }
    case 2:
      if index == spaces.count, flags.contains([.writable, .executable]) { return }
      obligation = try table.protect(
        PageRange(start, pageCount: count), flags: flags, holes: .skipped,
        merging: hasLargePages && random.next() % 2 == 0)
      for i in first..<first + count {
        models[index][i]?.flags.subtract(.permissions)
        models[index][i]?.flags.formUnion(flags.intersection(.permissions))
      }
    case 3:
      if models[index][first] == nil { return }
      let frame = FrameNumber(1 + random.next() % 4096)
      obligation = try table.replace(start, with: frame, flags: flags)
      models[index][first] = ModelPage(frame: frame.rawValue, flags: flags)
    default:
      if !hasLargePages { return }
      obligation = try table.merge(PageRange(start, pageCount: count))
    }
    guard let due = obligation.take() else { return }
    let origin = cpu()
    switch random.next() % 4 {
    case 0: due.deferred(mmu, from: origin)
    case 1:
      if batchSpace != index { dischargeBatch() }
      batchSpace = index
      for i in first..<first + count { if let page = old[i] { allowed[i, default: []].append(page) } }
      if batch.batch == nil { batch.batch = FlushBatch() }
      due.batch(into: &batch.batch!)
    default: due.now(mmu, from: origin)
    }
  }

  /// Moves pages of a space that keeps tables; whole tables at least where larger pages could be cut.
  private mutating func move(_ index: Int) throws {
    let isWhole = hasLargePages || random.next() % 2 == 0
    let from = isWhole ? page() / spread * spread : page()
    let to = isWhole ? page() / spread * spread : page()
    let count = isWhole ? spread : 1 + random.next() % 4
    let apart = from + count <= to || to + count <= from
    if !apart || (to..<to + count).contains(where: { models[index][$0] != nil }) { return }
    let table = table(index)
    // Entries do not go where an empty table is in the place of a larger page.
    if hasLargePages { table.freeLeafTable(of: address(to, index)).now(mmu, from: cpu()) }
    // What waits may still be reached by the way that the move changes.
    if batchSpace == index { dischargeBatch() }
    let obligation = try table.move(
      PageRange(address(from, index), pageCount: count), to: address(to, index), removing: [], cpu: cpu())
    for page in 0..<count { models[index][to + page] = models[index].removeValue(forKey: from + page) }
    if random.next() % 3 == 0 { obligation.deferred(mmu, from: cpu()) } else { obligation.now(mmu, from: cpu()) }
  }

  private mutating func dischargeBatch() {
    if let waiting = batch.batch.take() { waiting.now(mmu, from: cpu()) }
    batchSpace = -1
    allowed = [:]
  }

  private mutating func access() -> String? {
    let cpu = cpu()
    let isKernel = random.next() % 4 == 0
    let index = isKernel ? spaces.count : loaded[cpu.rawValue]
    let page = page()
    let offset = random.next() % (1 << format.pageShift)
    let kind = AccessKind.allCases[Int(random.next() % 3)]
    let user = !isKernel
    let address = VirtualAddress(address(page, isKernel ? spaces.count : 0).rawValue + offset)
    let result = mmu.access(address, kind, user: user, on: cpu)
    if index < 0 {
      if case .fault = result { return nil }
      return "\(address) on \(cpu) without a space: \(result)"
    }
    let right = expected(models[index][page], kind, offset)
    if result.isLike(right) { return nil }
    if batchSpace == index {
      for old in allowed[page] ?? [] where result.isLike(expected(old, kind, offset)) { return nil }
      // a walk may go through a table that the batch still keeps, which is empty
      if case .fault = result, allowed[page] != nil { return nil }
    }
    return "\(kind) of \(address) on \(cpu) in space \(index): \(result) instead of \(right)"
  }

  private func expected(_ page: ModelPage?, _ kind: AccessKind, _ offset: UInt64) -> AccessResult {
    let wants: PageFlags = kind == .read ? .present : kind == .write ? .writable : .executable
    guard let page, page.flags.contains(.present) else { return .fault(TranslationFault(reason: .absent, level: 0)) }
    guard page.flags.contains(wants) else { return .fault(TranslationFault(reason: .permission, level: 0)) }
    return .success(PhysicalAddress(page.frame << format.pageShift + offset))
  }

  /// Ends all spaces: every table frame must be back.
  mutating func finish() throws {
    dischargeBatch()
    for i in spaces.indices {
      if let table = spaces[i] { mmu.detach(table) }
      spaces[i] = nil
    }
    for cpu in 0..<cpuCount {
      let counters = try mmu.counters(of: CPUID(cpu))
      precondition(counters.received == counters.acknowledged)
    }
    precondition(mmu.shootdowns.sent == mmu.shootdowns.acknowledged)
    precondition(memory.inUse.count == kernel.tableCount, "tables were not given back")
  }
}

extension AccessResult {
  /// The same address, or both faults, for the same reason but for the level.
  fileprivate func isLike(_ other: AccessResult) -> Bool {
    switch (self, other) {
    case (.success(let a), .success(let b)): a == b
    case (.fault(let a), .fault(let b)): a.reason == b.reason
    default: false
    }
  }
}
