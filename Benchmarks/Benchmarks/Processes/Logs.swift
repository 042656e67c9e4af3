import Benchmark
import Commands
import Figures
import MemoryTypes

/// The accesses that valgrind's lackey has recorded: a loop's instructions, with a load in every third and a store in every sixth, which go
/// through 256 KiB in turn and to a place at random now and then.
enum Logs {
  private static let count = 1_000_000

  static func register() {
    let rate = Figure.custom("millions of accesses a second", polarity: .prefersLarger)
    let metrics = [Figure.cost, Figure.adds, rate]
    Benchmark("Replay of lackey's log", configuration: Figure.configuration(metrics)) { benchmark, state in
      var replay = Replay(state.subject.machine)
      let cost = Figure.time(count) {
        precondition(replay.takeAccesses(state.log.span.bytes) == state.log.count)
      }
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.measurement(rate, Int(1000 / cost))
    } setup: {
      (subject: Subject(bytes: 1 << 30), log: log())
    }
  }

  private static func log() -> [UInt8] {
    var random = RandomNumbers()
    var text = ""
    var lines = 0
    func add(_ kind: String, _ address: UInt64, _ size: Int) {
      if lines == count { return }
      text += "\(kind) \(String(address, radix: 16)),\(size)\n"
      lines += 1
    }
    var step: UInt64 = 0
    while lines < count {
      add("I ", 0x400_0a30 + step % 200 * 4, 4)
      let place = step % 17 == 0 ? UInt64(random.below(1 << 22)) : step * 8 % (256 << 10)
      if step % 3 == 0 { add(" L", 0x1fe_ff00_0000 + place & ~7, 8) }
      if step % 6 == 0 { add(" S", 0x1fe_ff00_0000 + place & ~7, 8) }
      step += 1
    }
    return Array(text.utf8)
  }
}
