import MemoryTypes

// The RISC-V Instruction Set Manual, volume II, 12.3 to 12.5 (Sv32, Sv39, Sv48), without Svnapot and Svpbmt; A and D are
// set by the hardware (Svadu).
extension PageFormat {
  /// 39-bit addresses, pages of 4 KiB, 2 MiB and 1 GiB.
  public static let sv39 = PageFormat(supervisor: "sv39", levels: 3, mode: 8)
  /// 48-bit addresses, and pages of 512 GiB as well.
  public static let sv48 = PageFormat(supervisor: "sv48", levels: 4, mode: 9)

  private init(supervisor name: StaticString, levels: Int, mode: UInt64) {
    let bits = UInt64(9 * levels + 12)
    let numbers: UInt64 = 0x003F_FFFF_FFFF_FC00  // PPN
    var permissions = InlineArray<16, UInt64>(repeating: 0)
    for i in 0..<16 {
      let set = UInt64(i)
      permissions[i] = 1 << 1 | (set & 1) << 2 | (set >> 2 & 1) << 3 | (set >> 1 & 1) << 4 | (set >> 3 & 1) << 7
    }
    // a page above level 0 whose PPN has low bits set is misaligned: reserved
    let misaligned: InlineArray<5, UInt64> = [0, 0x1FF << 10, 0x3FFFF << 10, 0x7FF_FFFF << 10, 0]
    var addressMasks = InlineArray<5, UInt64>(repeating: 0)
    var reserved = InlineArray<5, UInt64>(repeating: 0)
    for level in 0..<levels {
      addressMasks[level] = numbers & ~misaligned[level]
      reserved[level] = misaligned[level] | .max << 54
    }
    self.init(
      name: name, architecture: .riscv64, levels: levels, levelNames: ["level 0", "level 1", "level 2", "level 3", ""],
      shifts: [12, 21, 30, 39, 48], indexMasks: .init(repeating: 0x1FF), addressBits: bits,
      canonicalForm: .signExtended, upperBits: .max << bits, ignoredUserBits: 0, physicalBits: 56,
      layout: levels == 3
        ? .halvesOf256GiB : .seed(userLast: 0x7FFF_FFFF_FFFF, kernelFirst: 0xFFFF_8000_0000_0000),
      registers: .satp(mode: mode), asidCount: 65536,
      presentBit: 1, addressShift: 2, tableAddressMask: numbers, leafAddressMasks: addressMasks,
      leafLevels: 1 << UInt64(levels) - 1,
      // any of R, W and X makes a leaf
      leafFlips: .init(repeating: 0), leafMasks: .init(repeating: 0b1110), leafBits: .init(repeating: 1),
      tableBits: .init(repeating: 1), tableUserBits: .init(repeating: 0), tableAccessedBits: .init(repeating: 0),
      // U, A and D have no meaning in a table entry and must be 0
      reservedInLeaf: reserved, reservedInTable: .init(repeating: .max << 54 | 0b1101_0000),
      reservedPatternMask: 0b0110, reservedPattern: 0b0100,
      permissionBits: permissions, permissionMask: 0b1001_1110,
      writableBit: 1 << 2, userBit: 1 << 4,
      executableFlip: 0, executableUserBit: 1 << 3, executableKernelBit: 1 << 3,
      dirtyMask: 1 << 7, dirtyPattern: 1 << 7, dirtySoftwareBit: 0, dirtySets: 1 << 7, dirtyClears: 0,
      accessedBit: 1 << 6, globalBit: 1 << 5, globalFlip: 0,
      attributeBits: .init(repeating: 0), attributeMask: 0,
      softwareBits: [1 << 8, 1 << 9], heldBit: 1 << 5,
      restrictingLevels: 0, deniesFlip: 0, deniesWriteBit: 0, deniesUserBit: 0, deniesUserExecuteBit: 0,
      deniesKernelExecuteBit: 0)
  }
}
