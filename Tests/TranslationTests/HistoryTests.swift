import MemoryTypes
import Testing

@testable import Translation

/// Random histories against a dictionary, for every format and both halves.
struct HistoryTests {
  @Test(arguments: PageFormat.all) func historiesAgreeWithADictionary(format: PageFormat) throws {
    for seed in UInt64(1)...2 {
      for inKernel in [false, true] {
        let memory = TestMemory(frameSize: format.frameSize, frames: 1 << 14)
        let kernel = try PageTable(kernelOf: try memory.tableFrames(), format: format)
        let space = try PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true)
        var history = RandomHistory(inKernel ? kernel : space, seed: seed)
        let label = Comment(rawValue: "\(format), seed \(seed), \(inKernel ? "kernel" : "user")")
        for step in 0..<stepCount(90) {
          // now and then there are no frames for tables: all or nothing then, too
          let before = memory.inUse.count
          if step % 7 == 6 { memory.allowance = Int(history.random.next() % 3) }
          let isShort = memory.allowance != .max
          let model = history.model
          let obligation = history.step(frameBase: 0, frameCount: 1 << 24)
          if isShort {
            memory.allowance = .max
          } else {
            #expect(history.agrees, label)
          }
          if let obligation {
            obligation.withoutCPUs()
          } else if history.model == model {
            #expect(memory.inUse.count == before, label)
          }
          if step % 16 == 0 {
            let difference = history.difference()
            #expect(difference == nil, label)
            if difference != nil { return }
          }
        }
        #expect(history.difference() == nil, label)
        let tables = kernel.tableCount + space.tableCount
        #expect(memory.inUse.count == tables, label)
        let half = inKernel ? format.layout.kernel : format.layout.user
        let count = (half.last.rawValue - half.first.rawValue) >> format.pageShift + 1
        try history.table.unmap(PageRange(half.first, pageCount: count), holes: .skipped).withoutCPUs()
        #expect(memory.inUse.count == 2, label)
      }
    }
  }
}
