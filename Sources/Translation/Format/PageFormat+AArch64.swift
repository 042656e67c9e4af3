import MemoryTypes

// Arm Architecture Reference Manual (DDI 0487), D8.3 (VMSAv8-64 descriptors), D8.4 (permissions), D8.5 (access flag and
// dirty state by hardware: TCR_EL1.HA and HD are set), D8.2 (granules, TTBRs, top-byte-ignore).
extension PageFormat {
  /// 4 KiB granule, 48-bit addresses, four levels; blocks of 2 MiB and 1 GiB.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public static let aarch64_4k = PageFormat(
    granule: "4k", pageShift: 12, shifts: [12, 21, 30, 39, 0], masks: [0x1FF, 0x1FF, 0x1FF, 0x1FF, 0],
    levelNames: ["level 3", "level 2", "level 1", "level 0", ""], leafLevels: 0b111, tg0: 0b00, tg1: 0b10)
  /// 16 KiB granule, 48-bit addresses, four levels, of which the root has two entries; blocks of 32 MiB.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public static let aarch64_16k = PageFormat(
    granule: "16k", pageShift: 14, shifts: [14, 25, 36, 47, 0], masks: [0x7FF, 0x7FF, 0x7FF, 1, 0],
    levelNames: ["level 3", "level 2", "level 1", "level 0", ""], leafLevels: 0b011, tg0: 0b10, tg1: 0b01)
  /// 64 KiB granule, 48-bit addresses, three levels, of which the root has 64 entries; blocks of 512 MiB.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public static let aarch64_64k = PageFormat(
    granule: "64k", pageShift: 16, shifts: [16, 29, 42, 0, 0], masks: [0x1FFF, 0x1FFF, 0x3F, 0, 0],
    levelNames: ["level 3", "level 2", "level 1", "", ""], leafLevels: 0b011, tg0: 0b01, tg1: 0b11)

  private init(
    granule name: StaticString, pageShift: UInt64, shifts: InlineArray<5, UInt64>, masks: InlineArray<5, UInt64>,
    levelNames: InlineArray<5, StaticString>, leafLevels: UInt64, tg0: UInt64, tg1: UInt64
  ) {
    let levels = masks[3] == 0 ? 3 : 4
    let user: UInt64 = 1 << 6  // AP[1]
    let readOnly: UInt64 = 1 << 7  // AP[2]
    let notGlobal: UInt64 = 1 << 11
    let dirtyModifier: UInt64 = 1 << 51  // DBM: with AP[2] set, writable and clean
    let kernelNever: UInt64 = 1 << 53  // PXN
    let userNever: UInt64 = 1 << 54  // UXN
    let softwareDirty: UInt64 = 1 << 55  // Linux's PTE_DIRTY: for dirty pages that can no longer be written
    let shareable: UInt64 = 3 << 8  // SH: inner
    var permissions = InlineArray<16, UInt64>(repeating: 0)
    for i in 0..<16 {
      let writable = i & 1 != 0
      let dirty = i & 8 != 0
      var bits = writable ? dirtyModifier | (dirty ? 0 : readOnly) : readOnly | (dirty ? softwareDirty : 0)
      bits |= i & 2 != 0 ? user : 0
      // users never execute the kernel's pages, nor the kernel the users'
      bits |= i & 4 == 0 ? kernelNever | userNever : i & 2 != 0 ? kernelNever : userNever
      permissions[i] = bits
    }
    let high: UInt64 = 0x0000_FFFF_FFFF_FFFF
    var addressMasks = InlineArray<5, UInt64>(repeating: 0)
    var reserved = InlineArray<5, UInt64>(repeating: 0)
    var leaves = InlineArray<5, UInt64>(repeating: 0)
    for level in 0..<levels where leafLevels &>> UInt64(level) & 1 != 0 {
      addressMasks[level] = high & (.max << shifts[level])
      // the address bits that a page or block leaves over are RES0
      reserved[level] = high & ~(high & (.max << shifts[level])) & (.max << 12)
      leaves[level] = level == 0 ? 0b11 : 0b01
    }
    self.init(
      name: name, architecture: .aarch64, levels: levels, levelNames: levelNames, shifts: shifts, indexMasks: masks,
      addressBits: 48, canonicalForm: .twoRoots, upperBits: 0xFFFF_0000_0000_0000,
      ignoredUserBits: 0xFF00_0000_0000_0000,
      physicalBits: 48,
      layout: .seed(
        userLast: 0xFFFF_FFFF_FFFF, heap: 0x4000_0000_0000, mmap: 0x8000_0000_0000, stackTop: 0xFFFF_FFFF_0000,
        kernelFirst: 0xFFFF_0000_0000_0000),
      registers: .ttbr(tg0: tg0, tg1: tg1), asidCount: 65536,
      presentBit: 1, addressShift: 0, tableAddressMask: high & (.max << pageShift), leafAddressMasks: addressMasks,
      leafLevels: leafLevels,
      // bit 1: a page at the lowest level, where its absence is reserved; a table above, where its absence is a block
      leafFlips: [0, 2, 2, 2, 2], leafMasks: .init(repeating: 2), leafBits: leaves,
      tableBits: .init(repeating: 0b11), tableUserBits: .init(repeating: 0), tableAccessedBits: .init(repeating: 0),
      reservedInLeaf: reserved, reservedInTable: .init(repeating: high & ~(high & (.max << pageShift)) & (.max << 12)),
      reservedPatternMask: 0, reservedPattern: 1,
      permissionBits: permissions,
      permissionMask: user | readOnly | dirtyModifier | kernelNever | userNever | softwareDirty,
      writableBit: dirtyModifier, userBit: user,
      executableFlip: kernelNever | userNever, executableUserBit: userNever, executableKernelBit: kernelNever,
      dirtyMask: dirtyModifier | readOnly, dirtyPattern: dirtyModifier, dirtySoftwareBit: softwareDirty,
      dirtySets: 0, dirtyClears: readOnly,
      accessedBit: 1 << 10, globalBit: notGlobal, globalFlip: notGlobal,
      // AttrIndx into `mair`: Normal write-back and write-through, Normal non-cacheable, Device-nGnRnE
      attributeBits: [shareable, 5 << 2 | shareable, 2 << 2 | shareable, 3 << 2 | shareable],
      attributeMask: 7 << 2 | shareable,
      softwareBits: [1 << 56, 1 << 57], heldBit: 1 << 58,
      // the hierarchical controls of a table descriptor: APTable, UXNTable, PXNTable
      restrictingLevels: 0b11110, deniesFlip: 0, deniesWriteBit: 1 << 62, deniesUserBit: 1 << 61,
      deniesUserExecuteBit: 1 << 60, deniesKernelExecuteBit: 1 << 59)
  }
}
