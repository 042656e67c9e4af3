/// A byte's place in the emulated machine's physical memory.
@frozen public struct PhysicalAddress: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  /// Traps where the sum passes the end of the 64-bit space.
  @inlinable public static func + (a: Self, b: ByteCount) -> Self { Self(a.rawValue + b.rawValue) }
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// A byte's place in an emulated virtual address space. Any 64-bit value: whether it is canonical is its page format's to say.
@frozen public struct VirtualAddress: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  /// Traps where the sum passes the end of the 64-bit space.
  @inlinable public static func + (a: Self, b: ByteCount) -> Self { Self(a.rawValue + b.rawValue) }
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// A number of bytes.
@frozen public struct ByteCount: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public static func kib(_ n: UInt64) -> Self { Self(n << 10) }
  @inlinable public static func mib(_ n: UInt64) -> Self { Self(n << 20) }
  @inlinable public static func gib(_ n: UInt64) -> Self { Self(n << 30) }
  @inlinable public static func tib(_ n: UInt64) -> Self { Self(n << 40) }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  @inlinable public static func + (a: Self, b: Self) -> Self { Self(a.rawValue + b.rawValue) }
  @inlinable public static func - (a: Self, b: Self) -> Self { Self(a.rawValue - b.rawValue) }
  /// Whole KiB, as meminfo's `kB` counts them.
  @inlinable public var kilobytes: UInt64 { rawValue >> 10 }
  public var description: String { "\(rawValue) bytes" }
}

/// A frame of physical memory: its address divided by the machine's frame size (Linux's pfn).
@frozen public struct FrameNumber: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  @inlinable public static func + (a: Self, b: FrameCount) -> Self { Self(a.rawValue + b.rawValue) }
  /// Traps where `b` lies behind `a`.
  @inlinable public static func - (a: Self, b: Self) -> FrameCount { FrameCount(a.rawValue - b.rawValue) }
  public var description: String { "frame 0x" + String(rawValue, radix: 16) }
}

/// A number of frames.
@frozen public struct FrameCount: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
  /// 2^order frames. Traps above order 63.
  @inlinable public init(order: Int) { self.rawValue = 1 << UInt64(order) }
  @inlinable public static var zero: Self { Self(0) }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  @inlinable public static func + (a: Self, b: Self) -> Self { Self(a.rawValue + b.rawValue) }
  @inlinable public static func - (a: Self, b: Self) -> Self { Self(a.rawValue - b.rawValue) }
  @inlinable public static func += (a: inout Self, b: Self) { a.rawValue += b.rawValue }
  @inlinable public static func -= (a: inout Self, b: Self) { a.rawValue -= b.rawValue }
  public var description: String { rawValue == 1 ? "1 frame" : "\(rawValue) frames" }
}

/// Frames that follow one another: `start` and the `count - 1` after it.
@frozen public struct FrameRange: Hashable, Sendable, CustomStringConvertible {
  public var start: FrameNumber
  public var count: FrameCount
  @inlinable public init(start: FrameNumber, count: FrameCount) {
    self.start = start
    self.count = count
  }
  /// The first frame behind the range.
  @inlinable public var end: FrameNumber { start + count }
  @inlinable public func contains(_ frame: FrameNumber) -> Bool { frame >= start && frame < end }
  @inlinable public func overlaps(_ other: FrameRange) -> Bool { start < other.end && other.start < end }
  public var description: String {
    "frames 0x\(String(start.rawValue, radix: 16))-0x\(String(end.rawValue &- 1, radix: 16))"
  }
}

/// Bytes that follow one another in physical memory.
@frozen public struct PhysicalRange: Hashable, Sendable, CustomStringConvertible {
  public var start: PhysicalAddress
  public var size: ByteCount
  @inlinable public init(start: PhysicalAddress, size: ByteCount) {
    self.start = start
    self.size = size
  }
  /// The first byte behind the range. A range never ends behind 2^64 - 1.
  @inlinable public var end: PhysicalAddress { start + size }
  @inlinable public func contains(_ address: PhysicalAddress) -> Bool { address >= start && address < end }
  @inlinable public func overlaps(_ other: PhysicalRange) -> Bool { start < other.end && other.start < end }
  public var description: String {
    "0x\(String(start.rawValue, radix: 16))-0x\(String(end.rawValue &- 1, radix: 16))"
  }
}

/// The size of a frame, and of a page of the lowest level: 4, 16 or 64 KiB, one for the whole machine.
@frozen public struct FrameSize: Hashable, Sendable {
  /// log2 of the bytes: 12, 14 or 16.
  public let shift: UInt8
  @inlinable public init(shift: UInt8) { self.shift = shift }
  @inlinable public static var kib4: Self { Self(shift: 12) }
  @inlinable public static var kib16: Self { Self(shift: 14) }
  @inlinable public static var kib64: Self { Self(shift: 16) }
  @inlinable public var bytes: ByteCount { ByteCount(1 << UInt64(shift)) }
  /// The frame that holds the byte at `address`.
  @inlinable public func frame(of address: PhysicalAddress) -> FrameNumber {
    FrameNumber(address.rawValue >> UInt64(shift))
  }
  @inlinable public func address(of frame: FrameNumber) -> PhysicalAddress {
    PhysicalAddress(frame.rawValue << UInt64(shift))
  }
  @inlinable public func bytes(_ count: FrameCount) -> ByteCount { ByteCount(count.rawValue << UInt64(shift)) }
  @inlinable public func kilobytes(_ count: FrameCount) -> UInt64 { count.rawValue << UInt64(shift - 10) }
  /// The frames that lie in `range` whole.
  @inlinable public func framesInside(_ range: PhysicalRange) -> FrameRange {
    let mask = (UInt64(1) << UInt64(shift)) - 1
    let first = range.start.rawValue >> UInt64(shift) + (range.start.rawValue & mask == 0 ? 0 : 1)
    let end = max(first, range.end.rawValue >> UInt64(shift))
    return FrameRange(start: FrameNumber(first), count: FrameCount(end - first))
  }
  /// The frames that `range` touches, if only by a byte.
  @inlinable public func framesTouched(_ range: PhysicalRange) -> FrameRange {
    let mask = (UInt64(1) << UInt64(shift)) - 1
    let first = range.start.rawValue >> UInt64(shift)
    let end = range.end.rawValue >> UInt64(shift) + (range.end.rawValue & mask == 0 ? 0 : 1)
    return FrameRange(start: FrameNumber(first), count: FrameCount(end - first))
  }
}
