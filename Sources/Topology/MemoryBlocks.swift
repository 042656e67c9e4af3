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
