import Benchmark

/// The figures of page tables and TLBs, a benchmark each.
let benchmarks: @Sendable () -> Void = {
  Pages.register()
  Translations.register()
  Shootdowns.register()
}
