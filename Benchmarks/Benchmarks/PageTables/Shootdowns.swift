import Benchmark
import Figures
import MemoryTypes

/// What a page's flush costs more for each other CPU that has the space loaded.
enum Shootdowns {
  private static let count = 20_000
  private static let cpus = 64

  static func register() {
    shootdown("for each CPU that holds the space", lazy: false)
    shootdown("for each lazy CPU", lazy: true)
  }

  private static func shootdown(_ name: String, lazy: Bool) {
    Benchmark("Shootdown, \(name)", configuration: Figure.configuration([Figure.cost, Figure.adds])) {
      benchmark, state in
      let alone = Figure.time(count) { mapUnmapFlush(state.alone, count) }
      let together = Figure.time(count) { mapUnmapFlush(state.together, count) }
      benchmark.record((together - alone) / Double(cpus - 1), unit: Figure.atomicAdd())
    } setup: {
      (alone: Space(cpus: cpus), together: shared(lazy: lazy))
    }
  }

  /// A space that every CPU has loaded.
  private static func shared(lazy: Bool) -> Space {
    let space = Space(cpus: cpus)
    for number in 1..<cpus {
      let cpu = CPUID(number)
      try! space.mmu.switchSpace(on: cpu, to: space.table)
      if lazy { try! space.mmu.enterLazyMode(on: cpu) }
    }
    return space
  }
}
