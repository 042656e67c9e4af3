import Benchmark

/// Allocators that are nearly full, or that fill and empty.
enum Scans {
  static func register() {
    random("Order 0, one at random, 1 GiB at 95 %", bytes: 1 << 30, order: 0, count: 200_000)
    random("Order 0, one at random, 64 GiB at 95 %", bytes: 64 << 30, order: 0, count: 200_000)
    random("Order 9, one at random, 256 GiB at 95 %", bytes: 256 << 30, order: 9, count: 200_000)
    bulk()
  }

  private final class State<Measured: Subject>: Sendable {
    let subject: Measured
    let held: Held
    nonisolated(unsafe) var random = RandomNumbers()
    init(_ subject: Measured, blocks: Int, order: Int) {
      self.subject = subject
      held = Held(blocks)
      fill(subject, held, order: order)
    }

    func cost(_ count: Int, order: Int) -> Double {
      Figure.time(count) { churn(subject, held, count, order: order, &random) }
    }
  }

  private static func random(_ name: String, bytes: Int, order: Int, count: Int) {
    let blocks = bytes >> (12 + order) * 95 / 100
    // What takes its blocks' own memory for its notes is left out where there is much.
    let others = order == 0 && bytes <= 1 << 30 ? Malloc.all.filter { $0.name != "glibc" } : []
    var metrics = [Figure.cost, Figure.adds] + others.map { Figure.ratio(to: $0.name) }
    if Reference.library != nil { metrics.append(Figure.ratio(to: "the reference")) }
    Benchmark(name, configuration: Figure.configuration(metrics, iterations: 10)) { benchmark, state in
      let cost = state.own.cost(count, order: order)
      benchmark.record(cost, unit: Figure.atomicAdd())
      for other in state.others {
        benchmark.record(cost, against: other.subject.name, other.cost(count, order: order))
      }
      if let reference = state.reference {
        benchmark.record(cost, against: "the reference", reference.cost(count, order: order))
      }
    } setup: {
      (
        own: State(Own(bytes: bytes), blocks: blocks, order: order),
        others: others.map { State($0, blocks: blocks, order: order) },
        reference: Reference(bytes: bytes).map { State($0, blocks: blocks, order: order) }
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
          let start = nanoseconds()
          fill(subject, state.held, order: 9)
          let middle = nanoseconds()
          empty(subject, state.held, order: 9)
          least.allocate = min(least.allocate, middle - start)
          least.free = min(least.free, nanoseconds() - middle)
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
