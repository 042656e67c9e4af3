import Benchmark
import Figures
import Topology

/// Pages that are mapped and unmapped one by one.
enum Pages {
  private static let count = 100_000
  private static let gibibyte = 1 << 18

  static func register() {
    for paging in Paging.allCases { pair(paging) }
    sequence()
  }

  private static func pair(_ paging: Paging) {
    let radix = "a bare tree in C"
    let first = "x86-64 with four levels"
    var metrics = [Figure.cost, Figure.adds, Figure.ratio(to: radix)]
    if paging != .fourLevel { metrics.append(Figure.ratio(to: first)) }
    Benchmark(
      "Map, unmap and flush, \(paging.architecture) \(paging)", configuration: Figure.configuration(metrics)
    ) { benchmark, state in
      let cost = Figure.time(count) { mapUnmapFlush(state.space, count) }
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: radix, Figure.time(count) { mapUnmap(state.radix, count) })
      if paging != .fourLevel {
        benchmark.record(cost, against: first, Figure.time(count) { mapUnmapFlush(state.first, count) })
      }
    } setup: {
      (space: Space(paging), first: Space(), radix: Radix())
    }
  }

  private static func sequence() {
    let radix = "a bare tree in C"
    let configuration = Figure.configuration([Figure.cost, Figure.adds, Figure.ratio(to: radix)])
    Benchmark("Map in sequence, 1 GiB", configuration: configuration) { benchmark, state in
      let cost = Figure.time(gibibyte, before: { unmapAll(state.space, gibibyte) }) { mapAll(state.space, gibibyte) }
      let other = Figure.time(gibibyte, before: { unmapAll(state.radix, gibibyte) }) { mapAll(state.radix, gibibyte) }
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: radix, other)
    } setup: {
      mapped(gibibyte)
    }
    Benchmark("Unmap in sequence, 1 GiB", configuration: configuration) { benchmark, state in
      unmapAll(state.space, gibibyte)
      unmapAll(state.radix, gibibyte)
      let cost = Figure.time(gibibyte, before: { mapAll(state.space, gibibyte) }) { unmapAll(state.space, gibibyte) }
      let other = Figure.time(gibibyte, before: { mapAll(state.radix, gibibyte) }) { unmapAll(state.radix, gibibyte) }
      mapAll(state.space, gibibyte)
      mapAll(state.radix, gibibyte)
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: radix, other)
    } setup: {
      mapped(gibibyte)
    }
  }
}
