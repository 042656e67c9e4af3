import Benchmark
import Figures
import Glibc

/// Allocators that are nearly full, or that fill and empty.
enum Scans {
  static func register() {
    random("Order 0, one at random, 1 GiB at 95 %", bytes: 1 << 30, Single.self, count: 200_000)
    random("Order 0, one at random, 64 GiB at 95 %", bytes: 64 << 30, Single.self, count: 200_000)
    random("Order 9, one at random, 256 GiB at 95 %", bytes: 256 << 30, Huge.self, count: 200_000)
    bulk()
  }

  private final class State<Measured: Subject, Size: Order>: Sendable {
    let subject: Measured
    let held: Held
    nonisolated(unsafe) var random = RandomNumbers()
    init(_ subject: Measured, _ size: Size.Type, blocks: Int) {
      self.subject = subject
      held = Held(blocks)
      fill(subject, size, held)
    }

    func cost(_ count: Int) -> Double {
      Figure.time(count) { churn(subject, Size.self, held, count, &random) }
    }
  }

  private static func random<Size: Order>(_ name: String, bytes: Int, _ size: Size.Type, count: Int) {
    let blocks = bytes >> (12 + size.order) * 95 / 100
    // What takes its blocks' own memory for its notes is left out where there is much.
    let others = size.order == 0 && bytes <= 1 << 30 ? Malloc.all.filter { $0.name != "glibc" } : []
    var metrics = [Figure.cost, Figure.adds] + others.map { Figure.ratio(to: $0.name) }
    if Reference.library != nil { metrics.append(Figure.ratio(to: "the reference")) }
    Benchmark(name, configuration: Figure.configuration(metrics, iterations: 10)) { benchmark, state in
      let cost = state.own.cost(count)
      benchmark.record(cost, unit: Figure.atomicAdd())
      for other in state.others {
        benchmark.record(cost, against: other.subject.name, other.cost(count))
      }
      if let reference = state.reference {
        benchmark.record(cost, against: "the reference", reference.cost(count))
      }
    } setup: {
      (
        own: State(Own(bytes: bytes), size, blocks: blocks),
        others: others.map { State($0, size, blocks: blocks) },
        reference: Reference(bytes: bytes).map { State($0, size, blocks: blocks) }
      )
    }
  }

  /// All of 256 GiB in blocks of 2 MiB, but for what the watermarks keep, and back.
  private static func bulk() {
    let bytes = 256 << 30
    let blocks = bytes >> 21 * 99 / 100
    let allocation = Figure.custom("of that allocating, hundredths of an atomic add")
    var metrics = [Figure.cost, Figure.adds, allocation]
    if Reference.library != nil { metrics.append(Figure.ratio(to: "the reference")) }
    Benchmark("Order 9, all of 256 GiB and back", configuration: Figure.configuration(metrics, iterations: 10)) {
      benchmark, state in
      func cost(_ subject: some Subject) -> (allocate: Double, free: Double) {
        var least = (allocate: Double.infinity, free: Double.infinity)
        for _ in 0..<3 {
          let start = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
          fill(subject, Huge.self, state.held)
          let middle = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
          empty(subject, Huge.self, state.held)
          least.allocate = min(least.allocate, middle - start)
          least.free = min(least.free, nanoseconds(CLOCK_THREAD_CPUTIME_ID) - middle)
        }
        return (least.allocate / Double(blocks), least.free / Double(blocks))
      }
      let own = cost(state.own)
      let unit = Figure.atomicAdd()
      benchmark.record(own.allocate + own.free, unit: unit)
      benchmark.measurement(allocation, Int(own.allocate / unit * 100))
      if let reference = state.reference {
        let other = cost(reference)
        benchmark.record(own.allocate + own.free, against: "the reference", other.allocate + other.free)
      }
    } setup: {
      (own: Own(bytes: bytes), reference: Reference(bytes: bytes), held: Held(blocks))
    }
  }
}
