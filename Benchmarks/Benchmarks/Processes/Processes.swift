import Benchmark

/// The figures of processes and their address spaces, a benchmark each.
let benchmarks: @Sendable () -> Void = {
  Faults.register()
  Forks.register()
  Finds.register()
  Logs.register()
}
