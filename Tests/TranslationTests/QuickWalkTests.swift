import Glibc
import MemoryTypes
import Testing

@testable import Translation

/// Accesses and flushes in the ways that are made for common cases against the general way, for every format: two machines with the same
/// history, of which one has nothing but the general way.
struct QuickWalkTests {
  @Test(arguments: PageFormat.all) func commonWaysLeaveTheTraceOfTheGeneralOne(format: PageFormat) throws {
    for seed in UInt64(1)...4 {
      var machines = try [true, false].map { try WalkMachine(format, seed: seed, isQuick: $0) }
      defer { for machine in machines { machine.finish() } }
      for step in 0..<stepCount(16000) / 4 {
        let results = try [machines[0].step(), machines[1].step()]
        if results[0] != results[1] {
          Issue.record("\(format), seed \(seed), step \(step): \(results[0]) instead of \(results[1])")
          return
        }
        if step % 16 == 0, machines[0].digest != machines[1].digest {
          Issue.record("\(format), seed \(seed), step \(step): another state of the TLBs")
          return
        }
        if step % 64 == 0, !machines[0].hasSameTables(as: machines[1]) {
          Issue.record("\(format), seed \(seed), step \(step): other bytes in the tables")
          return
        }
      }
      // both ways were taken, and to all kinds of ends
      #expect(machines[0].successes > 100)
      #expect(machines[0].reasons.count >= 4, "\(machines[0].reasons)")
    }
  }
}

/// A machine of two CPUs and two spaces, in whose tables bits are overwritten now and then.
private struct WalkMachine {
  let format: PageFormat
  let memory: TestMemory
  let kernel: PageTable
  let spaces: [PageTable]
  let mmu: MMU
  let isQuick: Bool
  var random: SplitMix64
  /// The pages in use, by number.
  let pages: [UInt64]
  /// The tables as they were at first.
  let saved: [UInt64: [UInt64]]
  /// Entries of which bits were overwritten, as they were before.
  var overwritten: [(frame: UInt64, index: Int, entry: UInt64)] = []
  var successes = 0
  var reasons: Set<TranslationFault.Reason> = []

  init(_ format: PageFormat, seed: UInt64, isQuick: Bool) throws {
    self.format = format
    self.isQuick = isQuick
    memory = TestMemory(frameSize: format.frameSize, frames: 1 << 13)
    kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
    mmu = try MMU(cpuCount: 2, kernel: kernel)
    if !isQuick { mmu.hasUsualCaches = false }
    random = SplitMix64(seed: seed)
    // three tables: neighbours, and one that has nothing but the root in common with them
    let inTable = format.basePages(level: 1)
    let far = (format.layout.user.last.rawValue >> format.pageShift) / 2 & ~(inTable - 1)
    pages = [0, inTable, far].flatMap { table in (table..<table + 8).map { $0 } }
    var spaces: [PageTable] = []
    for number in UInt32(1)...2 {
      let space = try PageTable(space: number, kernel: kernel, enforcesWriteXorExecute: false)
      try mmu.attach(space)
      for page in pages where random.next() % 8 != 0 {
        try space.map(
          VirtualAddress(page << format.pageShift),
          to: FrameRange(start: FrameNumber(memory.firstDataFrame + random.next() % 1024), count: FrameCount(1)),
          flags: Self.flags(&random), sizes: .base)
      }
      // a larger page, in some machines: then caches have to be searched for such pages as well
      if seed % 2 == 0, format.hasLeaves(level: 1) {
        let frames = (memory.firstDataFrame + inTable - 1) / inTable * inTable
        try space.map(
          VirtualAddress((inTable * 2) << format.pageShift),
          to: FrameRange(start: FrameNumber(frames), count: FrameCount(inTable)), flags: [.present, .user, .writable],
          sizes: .exactly(level: 1))
      }
      spaces.append(space)
    }
    self.spaces = spaces
    for cpu in 0..<2 { try mmu.switchSpace(on: CPUID(cpu), to: spaces[cpu]) }
    let (count, base) = (Int(format.frameSize.bytes.rawValue) / 8, unsafe memory.base)
    var saved: [UInt64: [UInt64]] = [:]
    for frame in memory.inUse {
      // SAFETY: frames in use lie in the memory.
      let entries = unsafe (base + Int(frame << format.pageShift)).assumingMemoryBound(to: UInt64.self)
      saved[frame] = unsafe Array(UnsafeBufferPointer(start: entries, count: count))
    }
    self.saved = saved
  }

  static func flags(_ random: inout SplitMix64) -> PageFlags {
    let bits = random.next()
    var flags: PageFlags = bits & 7 == 0 ? [] : .user
    if bits >> 3 & 15 == 0 { return flags }
    flags.insert(.present)
    if bits >> 8 & 1 != 0 { flags.formUnion(bits >> 9 & 1 != 0 ? [.writable, .dirty] : .writable) }
    if bits >> 10 & 1 != 0 { flags.insert(.executable) }
    if bits >> 11 & 1 != 0 { flags.insert(.accessed) }
    return flags
  }

  var digest: UInt64 {
    var digest = StateDigest()
    mmu.addState(to: &digest)
    return digest.value
  }

  /// One random step, and what became of it, in words.
  mutating func step() throws -> String {
    let cpu = CPUID(Int(random.next() % 2))
    let space = spaces[Int(random.next() % 2)]
    let page = random.next() % 16 == 0 ? format.basePages(level: 1) * 2 : pages[Int(random.next() % 24)]
    let address = VirtualAddress(page << format.pageShift | random.next() & (1 << format.pageShift - 1))
    switch random.next() % 32 {
    case 0: return "\(try mmu.flush(.single(address), on: [cpu]))"
    case 1: return "\(try mmu.flush(random.next() % 2 == 0 ? .global : .full, on: [cpu]))"
    case 2, 3: try mmu.switchSpace(on: cpu, to: space)
    case 4: overwriteBit(on: address, of: space)
    case 5: restore()
    case 6, 7, 8, 9: return replace(page, of: space, on: cpu)
    default:
      let kind = AccessKind.allCases[Int(random.next() % 3)]
      let user = random.next() % 8 != 0
      let result =
        isQuick
        ? mmu.access(address, kind, user: user, on: cpu)
        : mmu.accessInGeneral(address, kind, user: user, on: cpu.rawValue)
      switch result {
      case .success: successes += 1
      case .fault(let fault): reasons.insert(fault.reason)
      }
      return "\(kind) of \(address): \(result)"
    }
    return ""
  }

  /// A page gets another frame and other flags, as after a copy-on-write fault.
  private mutating func replace(_ page: UInt64, of space: PageTable, on cpu: CPUID) -> String {
    restore()
    let flags = Self.flags(&random)
    let frame = FrameNumber(memory.firstDataFrame + random.next() % 1024)
    let address = VirtualAddress(page << format.pageShift)
    let isDeferred = random.next() % 4 == 0
    guard pages.contains(page), space.mapping(at: address) != nil else { return "" }
    do throws(MemoryError) {
      let due = try space.replace(address, with: frame, flags: flags)
      if isDeferred {
        due.deferred(mmu, from: cpu)
        return ""
      }
      return "\(due.now(mmu, from: cpu))"
    } catch { return "\(error)" }
  }

  /// Overwrites a bit of an entry on the way to an address.
  private mutating func overwriteBit(on address: VirtualAddress, of space: PageTable) {
    let steps = space.walk(address).steps
    let step = steps[Int(random.next() % UInt64(steps.count))]
    let bit: UInt64 = 1 << (random.next() % 64)
    guard memory.inUse.contains(step.table.rawValue) else { return }
    let entries = unsafe entries(step.table.rawValue)
    overwritten.append((step.table.rawValue, step.index, unsafe entries[step.index]))
    unsafe entries[step.index] ^= bit
  }

  private func entries(_ frame: UInt64) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: frames in use lie in the memory.
    unsafe (memory.base + Int(frame << format.pageShift)).assumingMemoryBound(to: UInt64.self)
  }

  private var entryCount: Int { Int(format.frameSize.bytes.rawValue) / 8 }

  /// Undoes what was overwritten; what CPUs have cached of it meanwhile stays.
  private mutating func restore() {
    while let (frame, index, entry) = overwritten.popLast() { unsafe entries(frame)[index] = entry }
  }

  /// Makes the tables again what they were at first, so that they can be given back.
  func finish() {
    for (frame, words) in saved { for index in words.indices { unsafe entries(frame)[index] = words[index] } }
  }

  func hasSameTables(as other: Self) -> Bool {
    memory.inUse == other.memory.inUse
      && memory.inUse.allSatisfy { unsafe memcmp(entries($0), other.entries($0), entryCount * 8) == 0 }
  }
}
