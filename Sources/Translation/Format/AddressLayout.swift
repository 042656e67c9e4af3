public import MemoryTypes

/// Virtual addresses from `first` to `last`, both included, so that a span may end with the 64-bit space.
@frozen public struct AddressSpan: Hashable, Sendable {
  public var first: VirtualAddress
  public var last: VirtualAddress
  @inlinable public init(_ first: UInt64, _ last: UInt64) {
    self.first = VirtualAddress(first)
    self.last = VirtualAddress(last)
  }
  @inlinable public func contains(_ address: VirtualAddress) -> Bool { address >= first && address <= last }
  /// Traps where the span is the whole 64-bit space.
  @inlinable public var size: ByteCount { ByteCount(last.rawValue - first.rawValue + 1) }
}

/// Where a space keeps what: the seed's table on x86-64, the same proportions where the halves have another size.
@frozen public struct AddressLayout: Hashable, Sendable {
  /// What users may map, the null page included.
  public var user: AddressSpan
  /// The lowest address of a program's heap, of its mappings, and the top of its stack.
  public var heapBase: VirtualAddress
  public var mmapBase: VirtualAddress
  public var stackTop: VirtualAddress
  /// The kernel's half.
  public var kernel: AddressSpan
  /// Physical memory from address 0 on; where it is smaller than memory, the rest is High memory.
  public var physicalMap: AddressSpan
  public var kernelHeap: AddressSpan
  /// Handed out from the top down, a guard page below each.
  public var kernelStacks: AddressSpan
  public var mmio: AddressSpan

  /// Halves of 128 TiB and more: the seed's table as it stands.
  static func seed(
    userLast: UInt64, heap: UInt64 = 0x2000_0000_0000, mmap: UInt64 = 0x4000_0000_0000,
    stackTop: UInt64 = 0x7FFF_FFFF_0000, kernelFirst: UInt64
  ) -> AddressLayout {
    AddressLayout(
      user: AddressSpan(0, userLast), heapBase: VirtualAddress(heap), mmapBase: VirtualAddress(mmap),
      stackTop: VirtualAddress(stackTop), kernel: AddressSpan(kernelFirst, .max),
      physicalMap: AddressSpan(0xFFFF_8000_0000_0000, 0xFFFF_8FFF_FFFF_FFFF),
      kernelHeap: AddressSpan(0xFFFF_C000_0000_0000, 0xFFFF_CFFF_FFFF_FFFF),
      kernelStacks: AddressSpan(0xFFFF_E000_0000_0000, 0xFFFF_EFFF_FFFF_FFFF),
      mmio: AddressSpan(0xFFFF_F000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF))
  }

  /// 256 GiB a half (Sv39).
  static let halvesOf256GiB = AddressLayout(
    user: AddressSpan(0, 0x3F_FFFF_FFFF), heapBase: VirtualAddress(0x10_0000_0000),
    mmapBase: VirtualAddress(0x20_0000_0000), stackTop: VirtualAddress(0x3F_FFFF_0000),
    kernel: AddressSpan(0xFFFF_FFC0_0000_0000, .max),
    physicalMap: AddressSpan(0xFFFF_FFC0_0000_0000, 0xFFFF_FFDF_FFFF_FFFF),
    kernelHeap: AddressSpan(0xFFFF_FFE0_0000_0000, 0xFFFF_FFE7_FFFF_FFFF),
    kernelStacks: AddressSpan(0xFFFF_FFF0_0000_0000, 0xFFFF_FFF7_FFFF_FFFF),
    mmio: AddressSpan(0xFFFF_FFF8_0000_0000, 0xFFFF_FFFF_FFFF_FFFF))

  /// 3 GiB for users and 1 GiB for the kernel, as 32-bit Linux splits them by default.
  static let splitOf4GiB = AddressLayout(
    user: AddressSpan(0, 0xBFFF_FFFF), heapBase: VirtualAddress(0x2000_0000), mmapBase: VirtualAddress(0x4000_0000),
    stackTop: VirtualAddress(0xBFFF_0000), kernel: AddressSpan(0xC000_0000, 0xFFFF_FFFF),
    physicalMap: AddressSpan(0xC000_0000, 0xEFFF_FFFF), kernelHeap: AddressSpan(0xF000_0000, 0xF7FF_FFFF),
    kernelStacks: AddressSpan(0xF800_0000, 0xFBFF_FFFF), mmio: AddressSpan(0xFC00_0000, 0xFFFF_FFFF))
}
