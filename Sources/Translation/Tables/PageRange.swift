public import MemoryTypes

/// Pages of the base size that follow one another. The last may end with the 64-bit space.
@frozen public struct PageRange: Hashable, Sendable {
  public var start: VirtualAddress
  public var pageCount: UInt64
  @inlinable public init(_ start: VirtualAddress, pageCount: UInt64 = 1) {
    self.start = start
    self.pageCount = pageCount
  }
}

/// Which page sizes a mapping may be made of.
@frozen public enum PageSizes: Hashable, Sendable {
  /// The largest that alignment allows, everywhere.
  case largest
  /// The largest up to this level.
  case upTo(level: Int)
  /// Pages of this level only: address, frame and length must be aligned to them.
  case exactly(level: Int)
  @inlinable public static var base: Self { .exactly(level: 0) }
}

/// What an operation does about pages of its range that are not mapped.
@frozen public enum Holes: Sendable {
  /// `notMapped`, and nothing is changed.
  case refused
  /// They are left out.
  case skipped
}

/// A page as its entry has it.
@frozen public struct Mapping: Hashable, Sendable {
  public var address: VirtualAddress
  public var physical: PhysicalAddress
  /// The page's size is the format's at this level.
  public var level: Int
  public var raw: UInt64
  /// The entry's own: what the tables above leave of them is in `Walk`.
  public var flags: PageFlags
  @inlinable public init(address: VirtualAddress, physical: PhysicalAddress, level: Int, raw: UInt64, flags: PageFlags)
  {
    self.address = address
    self.physical = physical
    self.level = level
    self.raw = raw
    self.flags = flags
  }
}
