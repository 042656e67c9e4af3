import Benchmark

/// The figures of the physical memory allocator, a benchmark each.
let benchmarks: @Sendable () -> Void = {
  Pairs.register()
  Scans.register()
  Machines.register()
}
