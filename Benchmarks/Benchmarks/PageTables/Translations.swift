import Benchmark
import Figures

/// Accesses: what the TLBs have of 1 GiB, and what is walked for.
enum Translations {
  private static let gibibyte = 1 << 18

  static func register() {
    // 32 pages are half of the first level, 1024 half of the second; of more in a row neither has any when it comes again.
    translate("hit", pages: 32)
    translate("hit in the second level", pages: 1024)
    translate("miss and walk, 1 GiB in order", pages: gibibyte)
  }

  private static func translate(_ name: String, pages: Int) {
    let radix = "a walk of a bare tree in C"
    let configuration = Figure.configuration([Figure.cost, Figure.adds, Figure.ratio(to: radix)])
    Benchmark("Translate: \(name)", configuration: configuration) { benchmark, state in
      let cost = Figure.time(gibibyte) { blackHole(readAll(state.space, pages, gibibyte)) }
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: radix, Figure.time(gibibyte) { blackHole(findAll(state.radix, gibibyte)) })
    } setup: {
      mapped(pages)
    }
  }
}
