import Glibc
import MemoryTypes
import Topology

@testable import PhysicalMemory

/// Sebastiano Vigna's SplitMix64: a test prints the seed, and the same seed gives the same history.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

/// A machine by hand: for each node its ranges in frames, and how many CPUs it has.
func machine(
  _ nodes: [[Range<Int>]], cpus: [Int]? = nil, reserved: [(Range<Int>, String)] = [], distances: [[Int]]? = nil,
  profile: Profile = .veridian
) -> MachineDescription {
  var settings = Settings()
  settings.profile = profile
  var all: [CPU] = []
  for (node, count) in (cpus ?? nodes.map { _ in 2 }).enumerated() {
    for _ in 0..<count {
      all.append(CPU(id: CPUID(all.count), package: node, die: 0, core: all.count, thread: 0, node: NodeID(node)))
    }
  }
  func bytes(_ frames: Range<Int>) -> PhysicalRange {
    PhysicalRange(start: PhysicalAddress(UInt64(frames.lowerBound) << 12), size: ByteCount(UInt64(frames.count) << 12))
  }
  return MachineDescription(
    name: "test", summary: "", architecture: .x86_64, cpus: all, caches: [],
    nodes: nodes.enumerated().map { Node(id: NodeID($0.offset), memory: $0.element.map(bytes), kind: .dram) },
    distances: distances ?? nodes.indices.map { a in nodes.indices.map { $0 == a ? 10 : 20 } },
    reserved: reserved.map { ReservedRegion(range: bytes($0.0), kind: .kernel, description: $0.1) }, performance: [],
    memoryBlockSize: .mib(128), settings: settings)
}

func frames(_ start: Int, _ count: Int) -> FrameRange {
  FrameRange(start: FrameNumber(UInt64(start)), count: FrameCount(UInt64(count)))
}

extension FrameRequest {
  init(_ count: Int, align: Int = 1, cpu: Int = 0, node: Int? = nil, mobility: Mobility = .unmovable) {
    self.init(
      count: FrameCount(UInt64(count)), alignment: FrameCount(UInt64(align)), cpu: CPUID(cpu),
      node: node.map { NodeID($0) },
      mobility: mobility)
  }
}

extension PhysicalSnapshot {
  var free: Int { nodes.reduce(0) { $0 + Int($1.free.rawValue) } }
  var managed: Int { nodes.reduce(0) { $0 + Int($1.managed.rawValue) } }
}

/// A machine whose zones give their last frame to anybody, so that exhaustion can be counted to the frame.
func unguarded(_ description: MachineDescription) throws(MemoryError) -> PhysicalMemory {
  let memory = try PhysicalMemory(description)
  var tunables = memory.tunables
  tunables.minFreeKilobytes = 0
  tunables.lowmemReserveRatio = []
  memory.setTunables(tunables)
  return memory
}

/// Runs `body` on plain threads and waits for them.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Job: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  var threads: [pthread_t] = []
  for index in 0..<count {
    var thread = pthread_t()
    let job = unsafe Unmanaged.passRetained(Job { body(index) })
    let result = unsafe pthread_create(
      &thread, nil,
      { raw in
        unsafe Unmanaged<Job>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, unsafe job.toOpaque())
    precondition(result == 0)
    threads.append(thread)
  }
  for thread in threads { pthread_join(thread, nil) }
}
