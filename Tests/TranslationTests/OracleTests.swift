import Glibc
import MemoryTypes
import Testing

@testable import Translation

/// Our tables against QEMU's MMU: memory images after random histories, read by an independent walker.
///
/// `MMU_ORACLE` names the program that asks QEMU (its arguments: the architecture, `--memory FILE`, `--set REGISTER=VALUE`,
/// and `--map` or addresses); `ORACLE_HISTORIES` how many histories a format has, 20 unless set.
@Suite(.serialized, .enabled(if: Oracle.isThere, "MMU_ORACLE names no program: QEMU's MMU is not asked"))
struct OracleTests {
  @Test(arguments: PageFormat.all) func theHardwareTranslatesAsWeDo(format: PageFormat) throws {
    for seed in 1...UInt64(Oracle.histories) {
      let file = Oracle.temporaryFile()
      defer { unsafe unlink(file) }
      let memory = TestMemory(frameSize: format.frameSize, frames: (256 << 20) >> format.pageShift, file: file)
      let kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
      let space = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true)
      var histories = [RandomHistory(kernel, seed: seed), RandomHistory(space, seed: seed &* 7919)]
      for _ in 0..<40 {
        for i in histories.indices {
          // frames beyond the image as well, as a machine's devices would be
          if let due = histories[i].step(frameBase: 0, frameCount: 1 << 20) { due.withoutCPUs() }
        }
      }
      var expected: [UInt64: UInt64?] = [:]
      for history in histories { sample(history, into: &expected) }
      try addLargestPages(space, seed: seed, into: &expected)
      let label = "\(format), seed \(seed)"
      let registers = space.rootRegisters()
      let asked = expected.keys.sorted()
      let answers = try Oracle.translations(format, file: file, registers: registers, addresses: asked)
      #expect(answers.count == asked.count, Comment(rawValue: label))
      for address in asked where expected[address] != answers[address] {
        let (ours, theirs) = (expected[address] ?? nil, answers[address] ?? nil)
        Issue.record("\(label): 0x\(String(address, radix: 16)): ours \(ours ?? 0), theirs \(theirs ?? 0)")
      }
      if Oracle.listsPermissions(format) {
        let theirs = try Oracle.runs(format, file: file, registers: registers)
        let ours = try runs(of: space, like: format)
        let different = zip(ours, theirs).first { $0 != $1 }
        #expect(different == nil, Comment(rawValue: label))
        #expect(ours.count == theirs.count, Comment(rawValue: label))
      }
    }
  }

  /// Pages that are mapped or held, and neighbours of them that are not, at some byte inside.
  private func sample(_ history: RandomHistory, into expected: inout [UInt64: UInt64?]) {
    var random = history.random
    let format = history.format
    var pages = Array(history.model.keys.sorted().shuffled(using: &random).prefix(300))
    for page in pages.prefix(60) { pages += [page &- 1, page + 1, page + 512] }
    let half = history.table.isKernel ? format.layout.kernel : format.layout.user
    // a page behind the half's last would have another's address
    let last = format.position(half.last) >> format.pageShift
    for page in pages where page <= last && half.contains(history.address(page)) {
      let offset = random.next() % (1 << format.pageShift)
      let model = history.model[page].flatMap { $0.flags.contains(.present) ? $0 : nil }
      expected[history.address(page).rawValue + offset] = .some(model.map { $0.frame << format.pageShift + offset })
    }
  }

  /// A page of each size that the format has, in a place of its own, with a small one cut out of its middle.
  private func addLargestPages(_ space: PageTable, seed: UInt64, into expected: inout [UInt64: UInt64?]) throws {
    let format = space.format
    for level in 1..<format.levels where format.hasLeaves(level: level) {
      let size = format.pageSize(level: level).rawValue
      let start = VirtualAddress((format.layout.user.last.rawValue + 1) / 2 + UInt64(level) * 4 * size)
      if start.rawValue + size > format.layout.user.last.rawValue / 4 * 3, format.levels == 3, level == 2 { continue }
      guard space.mapping(at: start) == nil else { continue }
      let pages = format.basePages(level: level)
      let frame = (1 + seed % 3) * pages
      try space.map(
        start, to: FrameRange(start: FrameNumber(frame), count: FrameCount(pages)),
        flags: [.present, .user, .writable],
        sizes: .exactly(level: level))
      let physical = frame << format.pageShift
      let hole = size / 2 + 3 << format.pageShift
      let isCut = seed % 2 == 0
      if isCut {
        try space.unmap(PageRange(VirtualAddress(start.rawValue + hole))).withoutCPUs()
      }
      for offset in [0, 5, size / 3, hole - 1, hole, hole + 1 << format.pageShift, size - 1] {
        let isInside = isCut && offset == hole
        expected[start.rawValue + offset] = .some(isInside ? nil : physical + offset)
      }
    }
  }

  /// What `Oracle.runs` should say: on x86 an entry is a run, on RISC-V they are joined.
  private func runs(of space: PageTable, like format: PageFormat) throws -> [Oracle.Run] {
    var runs: [Oracle.Run] = []
    let mask: UInt64 = 1 << format.addressBits - 1
    for table in [space, space.kernel ?? space] {
      let half = table.isKernel ? format.layout.kernel : format.layout.user
      let count = (half.last.rawValue - half.first.rawValue) >> format.pageShift + 1
      try table.forEachMapping(in: PageRange(half.first, pageCount: count)) { mapping, effective in
        guard effective.contains(.present) else { return true }
        let isRISCV = format.architecture == .riscv64
        let largeOrNot: UInt64 = mapping.level > 0 ? 1 : 0
        let run = Oracle.Run(
          start: mapping.address.rawValue & mask, physical: mapping.physical.rawValue,
          size: isRISCV ? format.pageSize(level: mapping.level).rawValue : largeOrNot,
          permissions: Oracle.permissions(effective))
        if isRISCV { Oracle.Run.append(run, to: &runs) } else { runs.append(run) }
        return true
      }
    }
    return runs
  }
}
