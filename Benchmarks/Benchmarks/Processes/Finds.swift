import Benchmark
import Figures
import MemoryTypes

/// The area at an address, one at random among all of a process's: found, not looked into.
enum Finds {
  private static let count = 1_000_000

  static func register() {
    let few = Figure.custom("among 64, hundredths of a nanosecond")
    let many = Figure.custom("among a million, hundredths of a nanosecond")
    let ratio = Figure.custom("among a million, hundredths of among 64")
    Benchmark("Find an area", configuration: Figure.configuration([few, many, ratio], iterations: 10)) {
      benchmark, state in
      let small = Figure.time(count) { blackHole(findAll(state.few, 64)) }
      let large = Figure.time(count) { blackHole(findAll(state.many, 1_000_000)) }
      benchmark.measurement(few, Int(small * 100))
      benchmark.measurement(many, Int(large * 100))
      benchmark.measurement(ratio, Int(large / small * 100))
    } setup: {
      (few: Subject(bytes: 1 << 30, areas: 64 + 2), many: Subject(bytes: 1 << 30, areas: 1_000_000 + 2))
    }
  }

  @inline(never)
  private static func findAll(_ subject: Subject, _ areas: Int) -> UInt64 {
    let space = subject.process.space
    var random = RandomNumbers()
    var sum: UInt64 = 0
    for _ in 0..<count {
      let address = Subject.start / 2 + UInt64(random.below(areas)) * 2 * Subject.page
      space.withArea(at: VirtualAddress(address)) { sum &+= UInt64(UInt(bitPattern: ObjectIdentifier($0))) }
    }
    return sum
  }
}
