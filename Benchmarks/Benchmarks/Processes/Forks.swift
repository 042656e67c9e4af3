import AddressSpaces
import Benchmark
import Figures

/// fork(2) and exit(2) of a process with 1 GiB in memory.
enum Forks {
  private static let pages = 1 << 18

  static func register() {
    let fork = Figure.custom("fork, microseconds")
    let exit = Figure.custom("exit, microseconds")
    Benchmark("A process with 1 GiB", configuration: Figure.configuration([fork, exit])) { benchmark, subject in
      var child: AddressSpaces.Process?
      let made = Figure.time(1, before: { if let child { subject.memory.exit(child) } }) {
        child = try! subject.memory.fork(subject.process)
      }
      let ended = Figure.time(
        1,
        before: { if child == nil { child = try! subject.memory.fork(subject.process) } }
      ) {
        subject.memory.exit(child!)
        child = nil
      }
      benchmark.measurement(fork, Int(made / 1000))
      benchmark.measurement(exit, Int(ended / 1000))
    } setup: {
      Self.subject()
    }
  }

  private static func subject() -> Subject {
    let subject = Subject(bytes: 4 << 30)
    subject.map(pages: pages)
    touchAll(subject.memory, subject.process, pages: pages)
    return subject
  }
}
