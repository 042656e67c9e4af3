import MemoryTypes
import Testing

@testable import Translation

/// The operations one at a time: what they refuse, split, merge and give back.
struct PageTableTests {
  let memory: TestMemory
  let kernel: PageTable
  let table: PageTable

  init() throws {
    memory = TestMemory(frameSize: .kib4, frames: 4096)
    kernel = try PageTable(kernelOf: try memory.tableFrames(), format: .x86_64)
    table = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true)
  }

  private func frames(_ start: UInt64, _ count: UInt64) -> FrameRange {
    FrameRange(start: FrameNumber(start), count: FrameCount(count))
  }

  @Test func aPageIsWalkedThroughFourLevels() throws {
    try table.map(VirtualAddress(0x1000), to: frames(0x900, 1), flags: [.present, .writable, .user])
    let walk = table.walk(VirtualAddress(0x1234))
    #expect(walk.steps.map(\.level) == [3, 2, 1, 0])
    #expect(walk.steps.map(\.index) == [0, 0, 0, 1])
    #expect(walk.steps.dropLast().allSatisfy { $0.raw & 0xFFF == 0x7 }, "users pass every table")
    #expect(walk.steps[3].raw == 0x8000_0000_0090_0007)
    #expect(walk.outcome == .mapped(PhysicalAddress(0x90_0234), level: 0, flags: [.present, .writable, .user]))
    #expect(table.translate(VirtualAddress(0x1234)) == PhysicalAddress(0x90_0234))
    #expect(table.walk(VirtualAddress(0x2000)).outcome == .absent(level: 0))
    #expect(table.walk(VirtualAddress(0x8000_0000_0000)).outcome == .notCanonical)
    try table.unmap(PageRange(VirtualAddress(0x1000))).withoutCPUs()
    #expect(memory.inUse.count == 2)
  }

  @Test func hugePagesAreUsedSplitAndMerged() throws {
    let start = VirtualAddress(0x4000_0000)
    try table.map(start, to: frames(0x4_0000, 0x4_0000 + 512 + 1), flags: [.present, .user])
    #expect(table.tableCount == 4)  // root, PDPT with one 1 GiB page, PD with one of 2 MiB, PT with one of 4 KiB
    #expect(table.walk(start).outcome == .mapped(PhysicalAddress(0x4000_0000), level: 2, flags: [.present, .user]))
    let middle = VirtualAddress(0x4000_0000 + 0x30_1000)
    try table.protect(PageRange(middle), flags: [.present, .user, .writable]).withoutCPUs()
    #expect(table.tableCount == 6)
    #expect(
      table.walk(middle).outcome
        == .mapped(PhysicalAddress(0x4030_1000), level: 0, flags: [.present, .user, .writable]))
    #expect(table.walk(start).outcome == .mapped(PhysicalAddress(0x4000_0000), level: 1, flags: [.present, .user]))
    try table.protect(PageRange(middle), flags: [.present, .user]).withoutCPUs()
    #expect(table.tableCount == 4)
    #expect(table.walk(middle).outcome == .mapped(PhysicalAddress(0x4030_1000), level: 2, flags: [.present, .user]))
    try table.unmap(PageRange(start, pageCount: 0x4_0000 + 512 + 1)).withoutCPUs()
    #expect(table.tableCount == 1 && memory.inUse.count == 2)
  }

  @Test func tablesComeAndGoOnTheCPUThatActs() throws {
    let mmu = try MMU(cpuCount: 8, kernel: kernel)
    let space = try PageTable(space: 2, kernel: kernel, enforcesWriteXorExecute: true, cpu: CPUID(7))
    try mmu.attach(space)
    try space.map(
      VirtualAddress(0x4000_0000), to: frames(0x4_0000, 512), flags: [.present, .user], cpu: CPUID(1))
    space.cpu = CPUID(5)
    try space.unmap(PageRange(VirtualAddress(0x4000_0000))).now(mmu, from: CPUID(2))
    #expect(memory.takenOn.suffix(4).map(\.rawValue) == [7, 1, 1, 5], "root, two tables, and that of the split")
    try space.unmap(PageRange(VirtualAddress(0x4000_1000), pageCount: 511)).now(mmu, from: CPUID(3))
    #expect(memory.givenBackOn.map(\.rawValue) == [3, 3, 3])
    try space.map(VirtualAddress(0x1000), to: frames(1, 1), flags: [.present, .user], cpu: CPUID(1))
    var batch = FlushBatch()
    try space.unmap(PageRange(VirtualAddress(0x1000))).batch(into: &batch)
    batch.now(mmu, from: CPUID(4))
    #expect(memory.givenBackOn.map(\.rawValue) == [3, 3, 3, 4, 4, 4])
    mmu.detach(space, from: CPUID(6))
    #expect(space.cpu == CPUID(6), "where the root goes back")
  }

  @Test func whatIsRefusedLeavesNoTrace() throws {
    let user: PageFlags = [.present, .user]
    func refuses(
      _ error: MemoryError, _ address: UInt64, _ range: FrameRange, _ flags: PageFlags, _ sizes: PageSizes = .largest
    ) {
      let tables = memory.inUse
      #expect(throws: error) { try table.map(VirtualAddress(address), to: range, flags: flags, sizes: sizes) }
      #expect(memory.inUse == tables)
    }
    try table.map(VirtualAddress(0x60_5000), to: frames(0x900, 1), flags: user)
    let page = VirtualAddress(0x60_5000)
    refuses(.alreadyMapped(page), 0x60_5000, frames(1, 1), user)
    refuses(.alreadyMapped(page), 0x60_0000, frames(0x200, 512), user)
    refuses(.alreadyMapped(page), 0x20_0000, frames(0x400, 0x1000), user)
    refuses(.notCanonical(VirtualAddress(0x8000_0000_0000)), 0x8000_0000_0000, frames(1, 1), user)
    refuses(.notCanonical(VirtualAddress(0x8000_0000_0000)), 0x7FFF_FFFF_F000, frames(1, 2), user)
    refuses(.misaligned(VirtualAddress(0x1001), .kib(4)), 0x1001, frames(1, 1), user)
    refuses(.misaligned(VirtualAddress(0x1000), .mib(2)), 0x1000, frames(0x200, 512), user, .exactly(level: 1))
    refuses(.misalignedFrame(FrameNumber(1), .mib(2)), 0x20_0000, frames(1, 512), user, .exactly(level: 1))
    refuses(.unsupportedPageSize(.gib(512)), 0, frames(0, 512), user, .exactly(level: 3))
    refuses(
      .writableAndExecutable(VirtualAddress(0x1000)), 0x1000, frames(1, 1), [.present, .user, .writable, .executable])
    refuses(.invalidFlags("a users' page cannot be global"), 0x1000, frames(1, 1), [.present, .user, .global])
    refuses(.invalidFlags("writable or executable, but not present"), 0x1000, frames(1, 1), [.writable])
    refuses(.noSuchFrame(FrameNumber(1 << 40)), 0x1000, frames(1 << 40, 1), user)
    refuses(.invalidSize(.zero), 0x1000, frames(1, 0), user)
    for allowance in 0..<5 {
      memory.allowance = allowance
      refuses(.outOfMemory(count: FrameCount(1)), 0x7F_FFFF_F000, frames(0x201, 0x200), user, .base)
    }
    memory.allowance = .max
    #expect(table.mapping(at: page)?.physical == PhysicalAddress(0x90_0000))
    try table.unmap(PageRange(page)).withoutCPUs()
    #expect(memory.inUse.count == 2)
  }

  @Test func aSplitWithoutMemoryLeavesTheLargePage() throws {
    let start = VirtualAddress(0x4000_0000)
    try table.map(start, to: frames(0x4_0000, 0x4_0000), flags: [.present, .user])
    let before = table.walk(start).steps.map(\.raw)
    // the edges lie in different pages of 2 MiB: one table for the 1 GiB page, one for each of those
    for allowance in 0..<3 {
      memory.allowance = allowance
      let tables = memory.inUse
      #expect(throws: MemoryError.outOfMemory(count: FrameCount(1))) {
        try table.unmap(PageRange(VirtualAddress(0x4010_1000), pageCount: 0x1000)).withoutCPUs()
      }
      #expect(memory.inUse == tables && table.walk(start).steps.map(\.raw) == before)
    }
    memory.allowance = 3
    try table.unmap(PageRange(VirtualAddress(0x4010_1000), pageCount: 0x1000)).withoutCPUs()
    #expect(table.translate(VirtualAddress(0x4010_0FFF)) == PhysicalAddress(0x4010_0FFF))
    #expect(table.translate(VirtualAddress(0x4010_1000)) == nil)
    #expect(table.translate(VirtualAddress(0x4110_0FFF)) == nil)
    #expect(table.translate(VirtualAddress(0x4110_1000)) == PhysicalAddress(0x4110_1000))
  }

  @Test func everySpaceSeesTheKernelsHalf() throws {
    let address = VirtualAddress(0xFFFF_8000_0000_0000)
    try kernel.map(address, to: frames(0, 0x4_0000), flags: [.present, .writable, .global])
    let other = try PageTable(space: 2, kernel: kernel, enforcesWriteXorExecute: true)
    for space in [kernel, table, other] {
      #expect(space.translate(VirtualAddress(0xFFFF_8000_0000_0042)) == PhysicalAddress(0x42))
    }
    try kernel.unmap(PageRange(address, pageCount: 0x4_0000)).withoutCPUs()
    #expect(table.translate(address) == nil && other.translate(address) == nil)
    #expect(throws: MemoryError.self) { try table.map(address, to: frames(0, 1), flags: [.present]) }
  }
}
