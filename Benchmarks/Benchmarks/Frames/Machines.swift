import Benchmark
import Figures
import Glibc
import MemoryTypes
import PhysicalMemory
import Topology

/// What a machine costs when it is made, what its notes take, and what is left of its whole blocks.
enum Machines {
  static func register() {
    making()
    notes()
    fragmentation()
  }

  /// Bytes of the host's memory that this process has.
  private static func resident() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return 0 }
    let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
      separator: " ")
    return (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))
  }

  private static func making() {
    let one = Figure.custom("1 TiB, microseconds")
    let sixteen = Figure.custom("16 TiB, microseconds")
    let ratio = Figure.custom("16 TiB, hundredths of 1 TiB")
    let growth = Figure.custom("16 TiB, KiB resident")
    Benchmark("Making a machine", configuration: Figure.configuration([one, sixteen, ratio, growth])) { benchmark in
      func time(_ bytes: Int) -> Double {
        let description = MachineDescription.measured(bytes: bytes, cpus: 2)
        var made: PhysicalMemory?
        return Figure.time(1, before: { made = nil }) {
          made = try! PhysicalMemory(description)
          blackHole(made)
        }
      }
      let small = time(1 << 40)
      let large = time(1 << 44)
      benchmark.measurement(one, Int(small / 1000))
      benchmark.measurement(sixteen, Int(large / 1000))
      benchmark.measurement(ratio, Int(large / small * 100))
      let before = resident()
      let own = Own(bytes: 1 << 44)
      // Ready: it serves.
      pairs(own, Single.self, 1)
      benchmark.measurement(growth, (resident() - before) >> 10)
    }
  }

  /// Resident growth for 64 GiB: of a machine that gave out and got back its memory in blocks of 2 MiB, and of one whose frames are all
  /// out singly.
  private static func notes() {
    let free = Figure.custom("free, thousandths of a byte a frame")
    let allocated = Figure.custom("allocated, thousandths of a byte a frame")
    Benchmark("Notes on memory", configuration: Figure.configuration([free, allocated], iterations: 3)) { benchmark in
      let bytes = 64 << 30
      let blocks = Held(bytes >> 21 * 99 / 100)
      let singles = Held(bytes >> 12 * 95 / 100)
      for held in [blocks, singles] { for index in held.blocks.indices { held.blocks[index] = 0 } }
      let before = resident()
      let own = Own(bytes: bytes)
      fill(own, Huge.self, blocks)
      empty(own, Huge.self, blocks)
      own.memory.drainLists()
      benchmark.measurement(free, (resident() - before) * 1000 / (bytes >> 12))
      let middle = resident()
      fill(own, Single.self, singles)
      benchmark.measurement(allocated, (resident() - middle) * 1000 / singles.blocks.count)
    }
  }

  private static func fragmentation() {
    let share = Figure.custom("whole free blocks, per mille of free frames / 512", polarity: .prefersLarger)
    let other = Figure.custom("the reference, likewise", polarity: .prefersLarger)
    let metrics = Reference.library == nil ? [share] : [share, other]
    Benchmark("Fragmentation, 1 GiB", configuration: Figure.configuration(metrics, iterations: 3)) { benchmark in
      let frames = 1 << 18
      let own = Own(bytes: 1 << 30)
      let held = fragment(own, frames: frames)
      own.memory.drainLists()
      let zone = own.memory.snapshot().nodes[0].zones[0]
      let whole = zone.freeByOrder[9] + zone.freeByOrder[10] * 2
      benchmark.measurement(share, whole * 512 * 1000 / Int(zone.free.rawValue))
      blackHole(held)
      if let reference = Reference(bytes: 1 << 30) {
        blackHole(fragment(reference, frames: frames))
        benchmark.measurement(other, reference.wholeBlocks * 512 * 1000 / (frames - frames / 2))
      }
    }
  }
}
