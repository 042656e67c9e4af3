import MemoryTypes

extension PageTable {
  /// MAIR_EL1 as the AArch64 formats' attribute indices mean it: 0 Normal write-back, 2 Normal non-cacheable, 3
  /// Device-nGnRnE, 4 Device-nGnRE, as Linux numbers them, and 5 Normal write-through.
  static let memoryAttributes: UInt64 = 0x0000_BB04_0044_FFFF

  /// The registers that root the space, as the hardware would hold them with this address-space identifier: `dump_pt root`.
  ///
  /// x86: `cr3` (the identifier is its PCID, which CR4.PCIDE must be set for); RISC-V: `satp`; AArch64: `ttbr0`, `ttbr1`,
  /// `tcr` and `mair`. The kernel's own table has no users' half: its `tcr` disables walks through `ttbr0` (EPD0).
  public func rootRegisters(asid: Int = 0) -> [(name: String, value: UInt64)] {
    let root = rootFrame.rawValue &<< format.pageShift
    switch format.registers {
    case .cr3: return [("cr3", root | UInt64(asid))]
    case .satp(let mode): return [("satp", mode << 60 | UInt64(asid) << 44 | root >> 12)]
    case .ttbr(let tg0, let tg1):
      let size = 64 - format.addressBits  // T0SZ, T1SZ
      let cached: UInt64 = 0b11_0101  // SH inner shareable, ORGN and IRGN write-back, from bit 8 and from bit 24 on
      var tcr = size | cached << 8 | tg0 << 14 | size << 16 | cached << 24 | tg1 << 30
      tcr |= 0b101 << 32  // IPS: 48-bit physical addresses
      tcr |= 1 << 36  // AS: 16-bit identifiers
      tcr |= 1 << 37 | 1 << 39 | 1 << 40  // TBI0, HA, HD
      if isKernel { tcr |= 1 << 7 }
      let upper = (kernel ?? self).rootFrame.rawValue &<< format.pageShift
      return [
        ("ttbr0", (isKernel ? 0 : root) | UInt64(asid) << 48), ("ttbr1", upper), ("tcr", tcr),
        ("mair", Self.memoryAttributes),
      ]
    }
  }
}
