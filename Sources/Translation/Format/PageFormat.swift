public import MemoryTypes

/// The form of an architecture's page tables, as one flat value: everything that a walk, a map or a dump needs to know.
///
/// Levels are counted from the pages up: level 0 maps pages of the machine's frame size, level `levels - 1` is the root.
/// A table is one frame of 8-byte entries (a root may use the first few of them only). Bits and masks are those of a raw entry.
@frozen public struct PageFormat: Sendable {
  /// What `paging=` calls it.
  public internal(set) var name: StaticString
  public internal(set) var architecture: Architecture
  /// 3 to 5.
  public internal(set) var levels: Int
  /// The architecture manual's name of each level's table.
  public internal(set) var levelNames: InlineArray<5, StaticString>

  // Addresses
  /// log2 of the bytes that an entry of each level covers.
  public internal(set) var shifts: InlineArray<5, UInt64>
  /// Entries of a table of each level, less one.
  public internal(set) var indexMasks: InlineArray<5, UInt64>
  /// The virtual address bits that the tables translate (of one half, where each half has its own root).
  public internal(set) var addressBits: UInt64
  public internal(set) var canonicalForm: CanonicalForm
  /// Set in every canonical address of the kernel's half, above `addressBits`.
  public internal(set) var upperBits: UInt64
  /// Bits of a user's address that the hardware ignores (AArch64's top byte, TCR_EL1.TBI0).
  public internal(set) var ignoredUserBits: UInt64
  /// The bits of a physical address that an entry holds.
  public internal(set) var physicalBits: UInt64
  public internal(set) var layout: AddressLayout
  /// What roots a space: how `rootRegisters` writes it down.
  public internal(set) var registers: RootRegisterForm
  /// The address-space identifiers that the TLBs tell apart (x86 PCID, AArch64 and RISC-V ASID): 1 where there is none.
  public internal(set) var asidCount: Int

  // Entries
  public internal(set) var presentBit: UInt64
  /// A physical address is the masked entry shifted left by this: 2 on RISC-V, whose PPN begins at bit 10.
  public internal(set) var addressShift: UInt64
  public internal(set) var tableAddressMask: UInt64
  public internal(set) var leafAddressMasks: InlineArray<5, UInt64>
  /// The levels that may have leaves, as a bit set: bit 0 is always set.
  public internal(set) var leafLevels: UInt64
  /// A present entry is a leaf where `(raw ^ leafFlip) & leafMask` is not 0.
  public internal(set) var leafFlips: InlineArray<5, UInt64>
  public internal(set) var leafMasks: InlineArray<5, UInt64>
  /// What makes a leaf of each level, present bit included.
  public internal(set) var leafBits: InlineArray<5, UInt64>
  /// What makes an entry that leads to a table.
  public internal(set) var tableBits: InlineArray<5, UInt64>
  /// What a table entry needs besides where users can reach something below it (x86's U).
  public internal(set) var tableUserBits: InlineArray<5, UInt64>
  /// What the hardware sets in a table entry that it walks through (x86's A).
  public internal(set) var tableAccessedBits: InlineArray<5, UInt64>
  /// Present entries with any of these bits are reserved: the hardware faults on them.
  public internal(set) var reservedInLeaf: InlineArray<5, UInt64>
  public internal(set) var reservedInTable: InlineArray<5, UInt64>
  /// A present entry with `raw & reservedPatternMask == reservedPattern` is reserved (RISC-V: W without R).
  public internal(set) var reservedPatternMask: UInt64
  public internal(set) var reservedPattern: UInt64

  // Flags
  /// A leaf's bits for each set of writable (1), user (2), executable (4) and dirty (8).
  public internal(set) var permissionBits: InlineArray<16, UInt64>
  /// All bits of `permissionBits`.
  public internal(set) var permissionMask: UInt64
  public internal(set) var writableBit: UInt64
  public internal(set) var userBit: UInt64
  /// A leaf is executable where `(raw ^ executableFlip) & mask` is not 0, with the mask for user or kernel pages.
  public internal(set) var executableFlip: UInt64
  public internal(set) var executableUserBit: UInt64
  public internal(set) var executableKernelBit: UInt64
  /// A leaf is dirty where `raw & dirtyMask == dirtyPattern`, or `raw & dirtySoftwareBit` is not 0.
  public internal(set) var dirtyMask: UInt64
  public internal(set) var dirtyPattern: UInt64
  public internal(set) var dirtySoftwareBit: UInt64
  /// What the hardware does to a leaf that is written: `(raw | dirtySets) & ~dirtyClears`.
  public internal(set) var dirtySets: UInt64
  public internal(set) var dirtyClears: UInt64
  public internal(set) var accessedBit: UInt64
  /// A leaf is global where `(raw ^ globalFlip) & globalBit` is not 0.
  public internal(set) var globalBit: UInt64
  public internal(set) var globalFlip: UInt64
  /// A leaf's bits for each set of writeThrough (1) and cacheDisable (2).
  public internal(set) var attributeBits: InlineArray<4, UInt64>
  public internal(set) var attributeMask: UInt64
  public internal(set) var softwareBits: InlineArray<2, UInt64>
  /// Marks an entry that keeps a frame without being present, as Linux's `_PAGE_PROTNONE` and its kin do.
  public internal(set) var heldBit: UInt64
  /// The levels whose table entries restrict what lies below them, as a bit set.
  public internal(set) var restrictingLevels: UInt64
  /// A table entry denies writing, users, or executing where `(raw ^ deniesFlip)` has the bit.
  public internal(set) var deniesFlip: UInt64
  public internal(set) var deniesWriteBit: UInt64
  public internal(set) var deniesUserBit: UInt64
  public internal(set) var deniesUserExecuteBit: UInt64
  public internal(set) var deniesKernelExecuteBit: UInt64

  /// What the bits above `addressBits` must be.
  @frozen public enum CanonicalForm: Sendable {
    /// All equal to the highest translated bit (x86-64, RISC-V).
    case signExtended
    /// All 0 or all 1, each half with a root of its own (AArch64).
    case twoRoots
    /// All 0: there is one space for kernel and users (PAE).
    case zeroExtended
  }

  @frozen public enum RootRegisterForm: Sendable {
    case cr3
    /// TTBR0_EL1, TTBR1_EL1 and their TCR_EL1 granule codes (TG0, TG1).
    case ttbr(tg0: UInt64, tg1: UInt64)
    /// satp's MODE field.
    case satp(mode: UInt64)
  }
}

extension PageFormat {
  /// log2 of the page size of level 0, which is the machine's frame size.
  @inlinable @inline(__always) public var pageShift: UInt64 { shifts[0] }
  @inlinable @inline(__always) public var frameSize: FrameSize { FrameSize(shift: UInt8(shifts[0])) }
  @inlinable @inline(__always) public var rootLevel: Int { levels - 1 }
  /// The size of a page that is a leaf of `level`.
  @inlinable @inline(__always) public func pageSize(level: Int) -> ByteCount { ByteCount(1 << shifts[level]) }
  /// Base pages in a page of `level`.
  @inlinable @inline(__always) public func basePages(level: Int) -> UInt64 { 1 << (shifts[level] - shifts[0]) }
  @inlinable @inline(__always) public func hasLeaves(level: Int) -> Bool {
    level < levels && leafLevels &>> UInt64(level) & 1 != 0
  }
  /// The level whose leaves have this size: nil where the format has none.
  public func level(ofPageSize size: ByteCount) -> Int? {
    (0..<levels).first { hasLeaves(level: $0) && pageSize(level: $0) == size }
  }
  /// The sizes that a page can have, ascending.
  public var pageSizes: [ByteCount] { (0..<levels).filter(hasLeaves).map(pageSize) }
  /// Linux's name of a level: pte, pmd, pud, p4d, pgd; levels that are folded into the root bear its name.
  public func linuxName(level: Int) -> String {
    if level == rootLevel { return "pgd" }
    return ["pte", "pmd", "pud", "p4d"][level]
  }
}

/// A page format at a fixed address, for as long as the kernel's table: hot paths read fields in place. The value itself is
/// larger than what is worth copying at each step of a walk.
@safe @frozen @usableFromInline struct FormatReference {
  /// SAFETY: freed by the kernel's table, which all that walk it hold; never written after init.
  @usableFromInline let pointer: UnsafePointer<PageFormat>

  @usableFromInline init(_ format: PageFormat) {
    let place = UnsafeMutablePointer<PageFormat>.allocate(capacity: 1)
    unsafe place.initialize(to: format)
    unsafe pointer = UnsafePointer(place)
  }

  func free() { unsafe pointer.deallocate() }
}

extension PageFormat: Equatable, CustomStringConvertible {
  public static func == (a: Self, b: Self) -> Bool {
    a.architecture == b.architecture && a.name.description == b.name.description
  }
  /// `x86_64 4level`.
  public var description: String { "\(architecture) \(name)" }
}
