/// An access in a log that valgrind's lackey (`--trace-mem=yes`) wrote: `I  04000a30,3`, ` L 1ffefff8a0,8`, ` S …`, ` M …`.
///
/// A program makes millions of them, hence no strings: numbers are taken from the bytes, eight figures of an address at once.
struct LackeyAccess: Equatable {
  var address: UInt64 = 0
  /// In bytes.
  var size: UInt64 = 0
  var reads = true
  var writes = false

  /// In bytes: no instruction touches more at once (XSAVE's area is below 16 KiB).
  static var largest: UInt64 { 1 << 14 }

  /// The access of the line that begins at `position`, which then is that of the next line; nil where the line is no access, or has no end.
  @inline(__always) init?(_ bytes: RawSpan, at position: inout Int) {
    // The shortest line has 6 bytes and its end: `I  0,1`.
    guard position &+ 7 <= bytes.byteCount else { return nil }
    // SAFETY: four bytes at the position are there, as was just checked.
    switch unsafe UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: position, as: UInt32.self))
      & 0xFF_FFFF
    {
    case 0x20_2049, 0x20_4C20: break
    case 0x20_5320: (reads, writes) = (false, true)
    case 0x20_4D20: writes = true
    default: return nil
    }
    var place = position &+ 3
    while Self.byte(bytes, place) == UInt8(ascii: " ") { place &+= 1 }
    if place &+ 8 <= bytes.byteCount {
      // SAFETY: eight bytes at the place are there, as was just checked.
      let figures = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: place, as: UInt64.self)
      if let value = Self.eightFigures(UInt64(littleEndian: figures)) {
        address = value
        place &+= 8
      }
    }
    while Self.byte(bytes, place) != UInt8(ascii: ",") {
      guard let figure = Self.figure(Self.byte(bytes, place)) else { return nil }
      address = address << 4 | figure
      place &+= 1
    }
    place &+= 1
    while Self.byte(bytes, place) != UInt8(ascii: "\n") {
      let figure = UInt64(Self.byte(bytes, place) &- UInt8(ascii: "0"))
      if figure > 9 { return nil }
      size = size &* 10 &+ figure
      if size > Self.largest { return nil }
      place &+= 1
    }
    position = place &+ 1
  }

  /// 0 behind the end, which is part of no access.
  @inline(__always) private static func byte(_ bytes: RawSpan, _ place: Int) -> UInt8 {
    // SAFETY: the place is looked at before the byte.
    unsafe place < bytes.byteCount ? bytes.unsafeLoad(fromUncheckedByteOffset: place, as: UInt8.self) : 0
  }

  @inline(__always) private static func figure(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x30...0x39: UInt64(byte &- 0x30)
    case 0x61...0x66: UInt64(byte &- 0x57)
    case 0x41...0x46: UInt64(byte &- 0x37)
    default: nil
    }
  }

  /// The value of eight hexadecimal figures, the first in the lowest byte; nil where one of them is none.
  @inline(__always) static func eightFigures(_ text: UInt64) -> UInt64? {
    let ones: UInt64 = 0x0101_0101_0101_0101
    // Letters, of either case, have bit 6, and 1 to 6 in their last four bits.
    let letters = text &>> 6 & ones
    let values = (text & (ones &* 0x0F)) &+ letters &* 9
    // What is no figure comes out otherwise when it is written again.
    let aboveNine = (values &+ ones &* 0x76) &>> 7 & ones
    let written = values &+ ones &* 0x30 &+ aboveNine &* 0x27
    if values & (ones &* 0xF0) != 0 || written != text | letters &* 0x20 { return nil }
    var packed = values.byteSwapped
    packed = (packed | packed &>> 4) & 0x00FF_00FF_00FF_00FF
    packed = (packed | packed &>> 8) & 0x0000_FFFF_0000_FFFF
    return (packed | packed &>> 16) & 0xFFFF_FFFF
  }
}
