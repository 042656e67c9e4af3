import Benchmark
import Figures
import MemoryTypes
import PhysicalMemory

/// An allocation and its freeing, through the list of a CPU.
enum Pairs {
  private static let count = 100_000

  static func register() {
    pair("Order 0, allocate and free", Single.self)
    pair("Order 9, allocate and free", Huge.self)
    twoThreads()
    batches()
  }

  private struct State {
    let own = Own(bytes: 1 << 30)
    let reference = Reference(bytes: 1 << 30)
  }

  private static func pair<Size: Order>(_ name: String, _ size: Size.Type) {
    // Blocks of 2 MiB are nothing that the general allocators are made for.
    let others = size.order == 0 ? Malloc.all : []
    var metrics = [Figure.cost, Figure.adds] + others.map { Figure.ratio(to: $0.name) }
    if Reference.library != nil { metrics.append(Figure.ratio(to: "the reference")) }
    Benchmark(name, configuration: Figure.configuration(metrics)) { benchmark, state in
      let cost = Figure.time(count) { pairs(state.own, size, count) }
      benchmark.record(cost, unit: Figure.atomicAdd())
      for other in others {
        benchmark.record(cost, against: other.name, Figure.time(count) { pairs(other, size, count) })
      }
      if let reference = state.reference {
        benchmark.record(
          cost, against: "the reference", Figure.time(count) { pairs(reference, size, count) })
      }
    } setup: {
      State()
    }
  }

  /// Each thread as a CPU of its own: how many times the throughput of one.
  private static func twoThreads() {
    let speedup = Figure.custom("hundredths of one thread's throughput", polarity: .prefersLarger)
    let bound = Figure.custom("the same of threads that share nothing", polarity: .prefersLarger)
    Benchmark("Order 0, two threads", configuration: Figure.configuration([speedup, bound])) { benchmark, state in
      let own = state.own
      func throughput(_ body: @escaping @Sendable (Int) -> Void) -> Double {
        let one = (0..<5).map { _ in onThreads(1, body) }.min()!
        let two = (0..<5).map { _ in onThreads(2, body) }.min()!
        return 2 * one / two
      }
      benchmark.measurement(speedup, Int(throughput { pairs(own, Single.self, 2_000_000, cpu: $0) } * 100))
      // What the host's two processors give to a program that runs in its registers alone.
      benchmark.measurement(
        bound,
        Int(
          throughput { _ in
            var random = RandomNumbers()
            for _ in 0..<8_000_000 { blackHole(random.below(8)) }
          } * 100))
    } setup: {
      State()
    }
  }

  private static func batches() {
    let ratio = Figure.ratio(to: "as many single calls")
    for size in [16, 256] {
      Benchmark("Batch of \(size)", configuration: Figure.configuration([Figure.cost, Figure.adds, ratio])) {
        benchmark, state in
        let memory = state.own.memory
        let buffer = UnsafeMutableBufferPointer<FrameNumber>.allocate(capacity: size)
        defer { buffer.deallocate() }
        let rounds = count / size
        let request = FrameRequest(mobility: .movable)
        let batch = Figure.time(rounds * size) {
          for _ in 0..<rounds {
            let taken = try! memory.allocateBatch(into: buffer, request)
            precondition(taken == size)
            try! memory.freeBatch(UnsafeBufferPointer(buffer), cpu: CPUID(0))
          }
        }
        let held = Held(size)
        let single = Figure.time(rounds * size) {
          for _ in 0..<rounds {
            fill(state.own, Single.self, held)
            empty(state.own, Single.self, held)
          }
        }
        benchmark.record(batch, unit: Figure.atomicAdd())
        benchmark.record(batch, against: "as many single calls", single)
      } setup: {
        State()
      }
    }
  }
}
