import MemoryTypes

/// Where memory goes for which only a size is given: one amount after the other from the architecture's first address on, around the
/// window below 4 GiB that x86 keeps for devices.
struct MemoryLayout {
  /// Where the next amount begins.
  private(set) var next: UInt64
  private let hole: Range<UInt64>?

  /// The first address of RAM, as real machines and QEMU have it (`hw/arm/virt.c`, `hw/riscv/virt.c`).
  static func base(of architecture: Architecture) -> UInt64 {
    switch architecture {
    case .x86_64, .i386: 0
    case .aarch64: 0x4000_0000
    case .riscv64: 0x8000_0000
    }
  }

  /// - Parameter lowEnd: where x86's window for devices begins (it ends at 4 GiB): 3 GiB on QEMU's `pc` and most clients, 2 GiB on many servers.
  init(architecture: Architecture, lowEnd: UInt64 = 0xC000_0000) {
    next = Self.base(of: architecture)
    hole =
      switch architecture {
      case .x86_64, .i386: lowEnd..<0x1_0000_0000
      case .aarch64, .riscv64: nil
      }
  }

  /// Continues behind memory that was placed by hand.
  mutating func skip(past end: UInt64) { next = max(next, end) }

  /// The ranges of the next `size` bytes; `nil` where they would pass `limit`.
  mutating func place(_ size: UInt64, limit: UInt64) -> [PhysicalRange]? {
    var ranges: [PhysicalRange] = []
    var left = size
    while left > 0 {
      if let hole, hole.contains(next) { next = hole.upperBound }
      guard next < limit else { return nil }
      let room = if let hole, next < hole.lowerBound { hole.lowerBound - next } else { limit - next }
      let part = min(left, room)
      ranges.append(PhysicalRange(start: PhysicalAddress(next), size: ByteCount(part)))
      next += part
      left -= part
    }
    return ranges
  }
}
