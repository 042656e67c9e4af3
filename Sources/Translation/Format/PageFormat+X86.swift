import MemoryTypes

// Intel SDM volume 3A, chapter 4 (4.4 PAE, 4.5 4-level and 5-level paging, 4.6 access rights, 4.8 accessed and dirty).
extension PageFormat {
  /// 48-bit addresses, pages of 4 KiB, 2 MiB and 1 GiB.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public static let x86_64 = PageFormat(longMode: "4level", levels: 4)
  /// 57-bit addresses (CR4.LA57).
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public static let x86_64_5level = PageFormat(longMode: "5level", levels: 5)
  /// 32-bit addresses, 52-bit frames, pages of 4 KiB and 2 MiB; the root is a table of four entries.
  public static let pae = PageFormat()

  /// IA-32e paging; also what PAE's lower two levels are like.
  private init(longMode name: StaticString, levels: Int) {
    let bits = UInt64(9 * levels + 12)
    let size: UInt64 = 1 << 7
    let noExecute: UInt64 = 1 << 63
    let frame: UInt64 = 0x000F_FFFF_FFFF_F000
    var permissions = InlineArray<16, UInt64>(repeating: 0)
    for i in 0..<16 {
      let set = UInt64(i)
      permissions[i] = (set & 1) << 1 | (set >> 1 & 1) << 2 | (set >> 2 & 1 == 0 ? noExecute : 0) | (set >> 3 & 1) << 6
    }
    self.init(
      name: name, architecture: .x86_64, levels: levels, levelNames: ["PT", "PD", "PDPT", "PML4", "PML5"],
      shifts: [12, 21, 30, 39, 48], indexMasks: .init(repeating: 0x1FF), addressBits: bits,
      canonicalForm: .signExtended, upperBits: .max << bits, ignoredUserBits: 0, physicalBits: 52,
      layout: levels == 4
        ? .seed(userLast: 0x7FFF_FFFF_FFFF, kernelFirst: 0xFFFF_8000_0000_0000)
        : .seed(userLast: 0xFF_FFFF_FFFF_FFFF, kernelFirst: 0xFF00_0000_0000_0000),
      registers: .cr3, asidCount: 4096,
      presentBit: 1, addressShift: 0, tableAddressMask: frame,
      leafAddressMasks: [frame, 0x000F_FFFF_FFE0_0000, 0x000F_FFFF_C000_0000, 0, 0], leafLevels: 0b111,
      // level 0: whatever is present is a page; above it PS decides, and is reserved where there are no leaves
      leafFlips: .init(repeating: 0), leafMasks: [1, size, size, size, size],
      leafBits: [1, 1 | size, 1 | size, 0, 0], tableBits: .init(repeating: 0b11),
      tableUserBits: .init(repeating: 1 << 2), tableAccessedBits: .init(repeating: 1 << 5),
      // bit 12 of a large page is PAT, the address bits above it that its size leaves over must be 0
      reservedInLeaf: [0, 0x1F_E000, 0x3FFF_E000, 0, 0], reservedInTable: .init(repeating: 0),
      reservedPatternMask: 0, reservedPattern: 1,
      permissionBits: permissions, permissionMask: 1 << 1 | 1 << 2 | 1 << 6 | noExecute,
      writableBit: 1 << 1, userBit: 1 << 2,
      executableFlip: noExecute, executableUserBit: noExecute, executableKernelBit: noExecute,
      dirtyMask: 1 << 6, dirtyPattern: 1 << 6, dirtySoftwareBit: 0, dirtySets: 1 << 6, dirtyClears: 0,
      accessedBit: 1 << 5, globalBit: 1 << 8, globalFlip: 0,
      attributeBits: [0, 1 << 3, 1 << 4, 1 << 3 | 1 << 4], attributeMask: 1 << 3 | 1 << 4,
      softwareBits: [1 << 9, 1 << 10], heldBit: 1 << 8,
      restrictingLevels: 0b11110, deniesFlip: 1 << 1 | 1 << 2, deniesWriteBit: 1 << 1, deniesUserBit: 1 << 2,
      deniesUserExecuteBit: noExecute, deniesKernelExecuteBit: noExecute)
  }

  /// PAE: 4.4.1 and tables 4-8 to 4-11 of the manual.
  private init() {
    self.init(longMode: "pae", levels: 3)
    architecture = .i386
    levelNames = ["PT", "PD", "PDPT", "", ""]
    indexMasks[2] = 3
    addressBits = 32
    canonicalForm = .zeroExtended
    upperBits = 0
    layout = .splitOf4GiB
    asidCount = 1
    leafLevels = 0b011
    leafAddressMasks[2] = 0
    leafBits[2] = 0
    // an entry of the root has no permissions: bits 1, 2, 5 to 8 and 52 to 63 are reserved
    leafMasks[2] = 0
    tableBits[2] = 1
    tableUserBits[2] = 0
    tableAccessedBits[2] = 0
    reservedInTable[2] = 0xFFF0_0000_0000_01E6
    restrictingLevels = 0b010
    // bits 52 to 62 are reserved here, ignored in long mode
    for level in 0...1 {
      reservedInLeaf[level] |= 0x7FF0_0000_0000_0000
      reservedInTable[level] = 0x7FF0_0000_0000_0000
    }
  }
}
