import Benchmark
import Glibc
import Synchronization

/// What one iteration of a benchmark records: what an operation costs, and that as a ratio to references that were measured in the same
/// iteration. The benchmark tool records integers, hence picoseconds and hundredths.
enum Figure {
  static let cost = custom("picoseconds an operation")
  /// The machine's unit: the targets were set where it is 5 ns.
  static let adds = custom("hundredths of an atomic add")

  static func ratio(to reference: String) -> BenchmarkMetric { custom("hundredths of \(reference)") }

  static func custom(_ name: String, polarity: BenchmarkMetric.Polarity = .prefersSmaller) -> BenchmarkMetric {
    .custom(name, polarity: polarity, useScalingFactor: false)
  }

  static func configuration(_ metrics: [BenchmarkMetric], iterations: Int = 20) -> Benchmark.Configuration {
    .init(
      metrics: metrics, warmupIterations: 1, scalingFactor: .one, maxDuration: .seconds(60), maxIterations: iterations)
  }

  private static let counter = Counter()

  private final class Counter: Sendable {
    let value = Atomic<UInt64>(0)
  }

  /// Nanoseconds of an uncontended atomic add.
  @inline(never)
  static func atomicAdd() -> Double {
    time(200_000) {
      for _ in 0..<200_000 { counter.value.add(1, ordering: .relaxed) }
    }
  }

  /// Nanoseconds of the thread's time a part: the least of five runs, as whatever else the host does only adds.
  static func time(_ parts: Int, _ body: () -> Void) -> Double {
    var least = Double.infinity
    for _ in 0..<5 {
      let start = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
      body()
      least = min(least, nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start)
    }
    return least / Double(parts)
  }
}

extension Benchmark {
  /// Records the cost of an operation in nanoseconds, and its ratio to an atomic add.
  func record(_ cost: Double, unit: Double) {
    measurement(Figure.cost, Int(cost * 1000))
    measurement(Figure.adds, Int(cost / unit * 100))
  }

  func record(_ cost: Double, against reference: String, _ other: Double) {
    measurement(Figure.ratio(to: reference), Int(cost / other * 100))
  }
}
