import AddressSpaces
import Benchmark
import Figures
import Glibc
import RadixTree
import Synchronization

/// Faults on private memory, the access that takes them included. What a page costs that is cleared or copied is measured on the host's own
/// pages, an atomic add behind each: as in a fault, the next page cannot begin before all of this one is written.
enum Faults {
  private static let count = 50_000
  /// Large enough for the machine to keep what is given back, as a busy one does: no page is the host's to clear.
  private static let bytes = 32 << 30

  static func register() {
    untouched()
    zeroed()
    copied()
  }

  private static func untouched() {
    let radix = "a map in a bare tree in C"
    let metrics = [Figure.cost, Figure.adds, Figure.ratio(to: radix)]
    Benchmark("Demand fault, among 64 areas, content untouched", configuration: Figure.configuration(metrics)) {
      benchmark in
      var subject: Subject?
      let prepare = {
        subject = Subject(bytes: 1 << 30, areas: 64)
        subject!.map(pages: count)
      }
      let cost = Figure.time(count, before: prepare) {
        touchAll(subject!.memory, subject!.process, pages: count)
      }
      var tree = radix_tree_create()
      let other = Figure.time(
        count,
        before: {
          radix_tree_destroy(tree)
          tree = radix_tree_create()
        }
      ) { for page in 0..<UInt64(count) { radix_tree_map(tree, Subject.start + page << 12, page << 12 | 1) } }
      radix_tree_destroy(tree)
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: radix, other)
    }
  }

  private static func zeroed() {
    let memset = "a page that is cleared"
    let metrics = [Figure.cost, Figure.adds, Figure.ratio(to: memset)]
    Benchmark("Demand fault, page cleared", configuration: Figure.configuration(metrics)) { benchmark, state in
      let (subject, host) = state
      let prepare = {
        subject.fill(pages: count)
        subject.discard(pages: count)
      }
      let cost = Figure.time(count, before: prepare) { touchAll(subject.memory, subject.process, pages: count) }
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: memset, clearAll(host.base))
    } setup: {
      (Self.subject(isFilled: false), HostPages(count))
    }
  }

  private static func copied() {
    let memcpy = "a page that is copied"
    let over = Figure.custom("hundredths of a nanosecond over a copy")
    let metrics = [Figure.cost, Figure.adds, Figure.ratio(to: memcpy), over]
    Benchmark("Copy-on-write fault", configuration: Figure.configuration(metrics)) { benchmark, state in
      let (subject, from, to) = state
      var child: AddressSpaces.Process?
      let prepare = {
        if let child { subject.memory.exit(child) }
        child = try! subject.memory.fork(subject.process)
      }
      let cost = Figure.time(count, before: prepare) { touchAll(subject.memory, child!, pages: count) }
      subject.memory.exit(child!)
      let other = copyAll(from.base, to.base)
      benchmark.record(cost, unit: Figure.atomicAdd())
      benchmark.record(cost, against: memcpy, other)
      benchmark.measurement(over, Int((cost - other) * 100))
    } setup: {
      (Self.subject(isFilled: true), HostPages(count), HostPages(count))
    }
  }

  private static func subject(isFilled: Bool) -> Subject {
    let subject = Subject(bytes: bytes, areas: 64)
    subject.map(pages: count)
    if isFilled { subject.fill(pages: count) }
    return subject
  }

  private static let fence = Fence()
  private final class Fence: Sendable { let value = Atomic<UInt64>(0) }

  private static func clearAll(_ pages: UnsafeMutableRawPointer) -> Double {
    Figure.time(count) {
      for page in 0..<count {
        memset(pages + page << 12, 0, 4096)
        fence.value.add(1, ordering: .relaxed)
      }
    }
  }

  private static func copyAll(_ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer) -> Double {
    Figure.time(count) {
      for page in 0..<count {
        memcpy(to + page << 12, from + page << 12, 4096)
        fence.value.add(1, ordering: .relaxed)
      }
    }
  }
}
