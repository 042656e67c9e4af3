public import MemoryTypes

extension MachineDescription {
  /// The size of hot-plug blocks for memory that ends at `end`: 128 MiB (AArch64 with 64 KiB frames: 512 MiB, `SECTION_SIZE_BITS`),
  /// and on x86-64 from 64 GiB on the largest power of two up to 2 GiB that divides `end`, so that the last block is whole
  /// (Linux's `probe_memory_block_size` in `arch/x86/mm/init_64.c`, as in a guest).
  public static func probeMemoryBlockSize(end: PhysicalAddress, paging: Paging) -> ByteCount {
    switch paging {
    case .granule64K: return .mib(512)
    case .fourLevel, .fiveLevel: break
    default: return .mib(128)
    }
    guard end.rawValue >= 64 << 30 else { return .mib(128) }
    return [.gib(2), .gib(1), .mib(512), .mib(256)].first { end.rawValue % $0.rawValue == 0 } ?? .mib(128)
  }

  /// The size of hot-plug blocks for these nodes: Linux's for where their memory ends, halved until no two nodes share a block, but not
  /// below the smallest.
  /// - Complexity: O(n log n) in the number of ranges.
  static func memoryBlockSize(nodes: [Node], paging: Paging) -> ByteCount {
    let ranges = nodes.flatMap { node in node.memory.map { (node: node.id, range: $0) } }
      .filter {
        $0.range.size.rawValue > 0 && !$0.range.start.rawValue.addingReportingOverflow($0.range.size.rawValue).overflow
      }
      .sorted { $0.range.start < $1.range.start }
    let end = ranges.map(\.range.end).max() ?? PhysicalAddress(0)
    var size = probeMemoryBlockSize(end: end, paging: paging).rawValue
    let least = probeMemoryBlockSize(end: PhysicalAddress(0), paging: paging).rawValue
    let neighbours = zip(ranges, ranges.dropFirst()).filter { $0.node != $1.node }
    while size > least,
      neighbours.contains(where: { ($0.range.end.rawValue - 1) / size == $1.range.start.rawValue / size })
    {
      size >>= 1
    }
    return ByteCount(size)
  }

  /// The end of memory: the first address behind the highest range of any node; 0 where there is none.
  public var memoryEnd: PhysicalAddress { nodes.lazy.flatMap(\.memory).map(\.end).max() ?? PhysicalAddress(0) }

  /// The blocks that hold memory, ascending: `memoryN`'s numbers, addresses divided by the block size. - Complexity: O(blocks).
  public var memoryBlocks: [Int] {
    let size = memoryBlockSize.rawValue
    var blocks: [Int] = []
    let ranges = nodes.flatMap(\.memory).filter { $0.size.rawValue > 0 }.sorted { $0.start < $1.start }
    for range in ranges {
      let first = Int(range.start.rawValue / size)
      let last = Int((range.end.rawValue - 1) / size)
      blocks += Swift.max(first, (blocks.last ?? -1) + 1)..<(last + 1)
    }
    return blocks
  }
}
