import Benchmark
import Glibc
import Synchronization

/// What one iteration of a benchmark records: what an operation costs, and that as a ratio to references that were measured in the same
/// iteration. The benchmark tool records integers, hence hundredths.
public enum Figure {
  public static let cost = custom("hundredths of a nanosecond")
  /// The machine's unit: the targets were set where it is 5 ns.
  public static let adds = custom("hundredths of an atomic add")

  public static func ratio(to reference: String) -> BenchmarkMetric { custom("hundredths of \(reference)") }

  public static func custom(_ name: String, polarity: BenchmarkMetric.Polarity = .prefersSmaller) -> BenchmarkMetric {
    .custom(name, polarity: polarity, useScalingFactor: false)
  }

  public static func configuration(_ metrics: [BenchmarkMetric], iterations: Int = 20) -> Benchmark.Configuration {
    .init(
      metrics: metrics, warmupIterations: 1, scalingFactor: .one, maxDuration: .seconds(60), maxIterations: iterations)
  }

  private static let counter = Counter()

  private final class Counter: Sendable {
    let value = Atomic<UInt64>(0)
  }

  /// Nanoseconds of an uncontended atomic add.
  @inline(never)
  public static func atomicAdd() -> Double {
    time(200_000) {
      for _ in 0..<200_000 { counter.value.add(1, ordering: .relaxed) }
    }
  }

  /// Nanoseconds of the thread's time a part: the least of five runs, as whatever else the host does only adds. `before` is run before each
  /// of them and does not count.
  public static func time(_ parts: Int, before: () -> Void = {}, _ body: () -> Void) -> Double {
    var least = Double.infinity
    for _ in 0..<5 {
      before()
      let start = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
      body()
      least = min(least, nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start)
    }
    return least / Double(parts)
  }
}

extension Benchmark {
  /// Records the cost of an operation in nanoseconds, and its ratio to an atomic add.
  public func record(_ cost: Double, unit: Double) {
    measurement(Figure.cost, Int(cost * 100))
    measurement(Figure.adds, Int(cost / unit * 100))
  }

  public func record(_ cost: Double, against reference: String, _ other: Double) {
    measurement(Figure.ratio(to: reference), Int(cost / other * 100))
  }
}

/// The host's monotonic clock, or what the calling thread has had of a processor: what counts where others use the host as well.
public func nanoseconds(_ clock: clockid_t = CLOCK_MONOTONIC) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}
