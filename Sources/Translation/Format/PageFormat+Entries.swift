public import MemoryTypes

/// What an entry is to the hardware, and to us.
@frozen public enum EntryKind: UInt8, Sendable {
  /// 0.
  case absent
  /// Not present for the hardware; a frame is kept in it (`PageFlags` without `present`).
  case held
  case table
  case leaf
  /// Present, with an encoding that the architecture reserves: the hardware faults on it.
  case reserved
}

extension PageFormat {
  @inlinable @inline(__always) public func kind(_ raw: UInt64, level: Int) -> EntryKind {
    // SAFETY: a level is always below `levels`, at most 5.
    if raw & presentBit == 0 { return raw == 0 ? .absent : .held }
    if unsafe (raw ^ leafFlips[unchecked: level]) & leafMasks[unchecked: level] != 0 {
      let refused =
        unsafe leafLevels &>> UInt64(level) & 1 == 0 || raw & reservedInLeaf[unchecked: level] != 0
        || raw & reservedPatternMask == reservedPattern
      return refused ? .reserved : .leaf
    }
    return unsafe level == 0 || raw & reservedInTable[unchecked: level] != 0 ? .reserved : .table
  }

  /// The entry that maps a page of `level` at `address`, which is aligned to that page's size and within `physicalBits`.
  @inlinable @inline(__always) public func leaf(_ address: PhysicalAddress, flags: PageFlags, level: Int) -> UInt64 {
    // SAFETY: a level is below 5, four bits index 16 elements, two bits 4.
    let bits = UInt64(flags.rawValue)
    var raw = unsafe address.rawValue &>> addressShift | leafBits[unchecked: level]
    raw |= unsafe permissionBits[unchecked: Int(truncatingIfNeeded: bits >> 1 & 15)]
    raw |= unsafe attributeBits[unchecked: Int(truncatingIfNeeded: bits >> 7 & 3)]
    raw |= (bits >> 5 & 1) &* accessedBit
    raw |= ((bits >> 6 & 1) &* globalBit) ^ globalFlip
    raw |= (bits >> 9 & 1) &* softwareBits[0] | (bits >> 10 & 1) &* softwareBits[1]
    if flags.contains(.present) { return raw }
    return raw & ~(presentBit | globalBit) | heldBit
  }

  /// The flags of a leaf or held entry.
  @inlinable @inline(__always) public func flags(_ raw: UInt64) -> PageFlags {
    var flags: PageFlags = []
    if raw & presentBit != 0 {
      flags.insert(.present)
      if (raw ^ globalFlip) & globalBit != 0 { flags.insert(.global) }
    }
    if raw & writableBit != 0 { flags.insert(.writable) }
    let user = raw & userBit != 0
    if user { flags.insert(.user) }
    if (raw ^ executableFlip) & (user ? executableUserBit : executableKernelBit) != 0 { flags.insert(.executable) }
    if raw & dirtyMask == dirtyPattern || raw & dirtySoftwareBit != 0 { flags.insert(.dirty) }
    if raw & accessedBit != 0 { flags.insert(.accessed) }
    if attributeMask != 0 {
      for i in 1..<4 where raw & attributeMask == attributeBits[i] {
        flags.formUnion(PageFlags(rawValue: UInt16(i) << 7))
      }
    }
    if raw & softwareBits[0] != 0 { flags.insert(.software0) }
    if raw & softwareBits[1] != 0 { flags.insert(.software1) }
    return flags
  }

  /// What an entry that leads to a table leaves of the flags of the pages below it.
  @inlinable @inline(__always) public func restrict(_ flags: PageFlags, by table: UInt64, level: Int) -> PageFlags {
    if restrictingLevels &>> UInt64(level) & 1 == 0 { return flags }
    var rest = flags
    let denied = table ^ deniesFlip
    if denied & deniesWriteBit != 0 { rest.remove(.writable) }
    if denied & (flags.contains(.user) ? deniesUserExecuteBit : deniesKernelExecuteBit) != 0 {
      rest.remove(.executable)
    }
    if denied & deniesUserBit != 0 { rest.remove(.user) }
    return rest
  }

  /// Where a leaf or held entry leads.
  @inlinable @inline(__always) public func leafAddress(_ raw: UInt64, level: Int) -> PhysicalAddress {
    // SAFETY: a level is always below `levels`, at most 5.
    unsafe PhysicalAddress((raw & leafAddressMasks[unchecked: level]) &<< addressShift)
  }

  @inlinable @inline(__always) public func tableAddress(_ raw: UInt64) -> PhysicalAddress {
    PhysicalAddress((raw & tableAddressMask) &<< addressShift)
  }

  /// Whether the users' pages may lie below this table entry.
  @inlinable @inline(__always) func admitsUsers(_ raw: UInt64, level: Int) -> Bool {
    // SAFETY: a level is always below `levels`, at most 5.
    unsafe raw & tableUserBits[unchecked: level] == tableUserBits[unchecked: level]
  }
}
