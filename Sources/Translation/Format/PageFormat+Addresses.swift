public import MemoryTypes

extension PageFormat {
  /// Whether the hardware would walk for this address at all.
  @inlinable @inline(__always) public func isCanonical(_ address: VirtualAddress) -> Bool {
    let value = address.rawValue
    switch canonicalForm {
    case .signExtended:
      let unused = 64 - addressBits
      return UInt64(bitPattern: Int64(bitPattern: value << unused) >> Int64(unused)) == value
    case .twoRoots: return value >= upperBits || value & ~ignoredUserBits < 1 << addressBits
    case .zeroExtended: return value < 1 << addressBits
    }
  }

  /// Whether a canonical address lies in the kernel's half.
  @inlinable @inline(__always) public func isKernel(_ address: VirtualAddress) -> Bool {
    address >= layout.kernel.first
  }

  /// The address without what the hardware ignores of it (AArch64's top byte): what a TLB compares.
  @inlinable @inline(__always) public func untagged(_ address: VirtualAddress) -> VirtualAddress {
    isKernel(address) ? address : VirtualAddress(address.rawValue & ~ignoredUserBits)
  }

  /// An address's place in the space that a root translates.
  @inlinable @inline(__always) func position(_ address: VirtualAddress) -> UInt64 {
    address.rawValue & (1 << addressBits - 1)
  }

  /// The address of a place in the kernel's or the users' half.
  @inlinable @inline(__always) func address(position: UInt64, kernel: Bool) -> VirtualAddress {
    VirtualAddress(kernel ? position | upperBits : position)
  }

  @inlinable @inline(__always) func index(_ position: UInt64, level: Int) -> Int {
    // SAFETY: a level is always below `levels`, at most 5.
    unsafe Int(truncatingIfNeeded: position &>> shifts[unchecked: level] & indexMasks[unchecked: level])
  }
}
