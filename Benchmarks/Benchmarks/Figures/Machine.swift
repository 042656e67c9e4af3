import MemoryTypes
import Topology

extension MachineDescription {
  /// A machine of one node with so many bytes, in one zone.
  public static func measured(bytes: Int, cpus: Int, paging: Paging = .fourLevel) -> MachineDescription {
    let node = NodeID(0)
    // Behind the 16 MiB that would be zone DMA.
    let memory = PhysicalRange(start: PhysicalAddress(16 << 20), size: ByteCount(UInt64(bytes)))
    var settings = Settings()
    settings.paging = paging
    return MachineDescription(
      name: "benchmark", summary: "", architecture: paging.architecture,
      cpus: (0..<cpus).map { CPU(id: CPUID($0), package: 0, die: 0, core: $0, thread: 0, node: node) }, caches: [],
      nodes: [Node(id: node, memory: [memory], kind: .dram)], distances: [[10]], reserved: [], performance: [],
      memoryBlockSize: bytes < 64 << 30 ? .mib(128) : .gib(2), settings: settings)
  }
}
