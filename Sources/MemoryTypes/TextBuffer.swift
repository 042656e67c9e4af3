/// Text under construction: bytes that grow at the end, on memory of their own.
///
/// Every file and every answer is rendered into one. Appending costs a copy of what is appended and no allocation while the capacity
/// lasts, which doubles when it does not.
@frozen @safe public struct TextBuffer: ~Copyable {
  @usableFromInline var storage: UnsafeMutablePointer<UInt8>
  @usableFromInline var capacity: Int
  @usableFromInline var length = 0
  /// The bytes held.
  @inlinable public var count: Int { length }

  /// Room for `capacity` bytes, 16 at least, before the first growth.
  public init(capacity: Int = 2048) {
    self.capacity = max(16, capacity)
    unsafe storage = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
  }

  deinit { unsafe storage.deallocate() }

  /// The bytes that it has room for before it grows.
  public var room: Int { capacity }

  /// Drops the contents and keeps the capacity.
  public mutating func removeAll() { length = 0 }

  /// Drops what lies behind the first `length` bytes. Traps where there are fewer.
  public mutating func truncate(to length: Int) {
    precondition(length <= count)
    self.length = length
  }

  public var isEmpty: Bool { count == 0 }

  /// The bytes, for as long as `body` runs.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    // SAFETY: storage holds `count` initialised bytes, and self outlives the call.
    unsafe try body(UnsafeRawBufferPointer(start: storage, count: count))
  }

  /// Copies what lies at `offset` into `target`; how many bytes that was, 0 at the end and behind it.
  public func copy(from offset: Int, into target: UnsafeMutableRawBufferPointer) -> Int {
    guard offset >= 0, offset < count, let base = target.baseAddress else { return 0 }
    let length = min(count - offset, target.count)
    // SAFETY: both ranges were bounded just now, and the storage is the buffer's own.
    unsafe base.copyMemory(from: storage + offset, byteCount: length)
    return length
  }

  /// The contents as a String, ill-formed UTF-8 repaired.
  public var string: String {
    unsafe String(decoding: UnsafeBufferPointer(start: storage, count: count), as: UTF8.self)
  }

  /// Where the next `more` bytes go, of which the caller writes some.
  @inlinable @inline(__always)
  mutating func reserve(_ more: Int) -> UnsafeMutablePointer<UInt8> {
    if length &+ more > capacity { grow(to: length + more) }
    // SAFETY: the capacity covers `more` bytes behind the count.
    return unsafe storage + length
  }

  @usableFromInline @inline(never)
  mutating func grow(to needed: Int) {
    let larger = max(needed, capacity * 2, 2048)
    let next = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    // SAFETY: the new storage is larger than the count, and the old one is dropped here.
    unsafe next.update(from: storage, count: length)
    unsafe storage.deallocate()
    unsafe storage = next
    capacity = larger
  }

  @inlinable @inline(__always)
  public mutating func append(_ text: StaticString) {
    let size = text.utf8CodeUnitCount
    // SAFETY: a static string's bytes live for ever, and room was made for them.
    unsafe reserve(size).update(from: text.utf8Start, count: size)
    length &+= size
  }

  /// What another buffer holds.
  @inlinable @inline(__always)
  public mutating func append(_ other: borrowing TextBuffer) {
    // SAFETY: the other buffer's bytes, and room for them; exclusivity keeps the two apart.
    unsafe reserve(other.length).update(from: other.storage, count: other.length)
    length &+= other.length
  }

  public mutating func append(string text: borrowing String) {
    var copy = copy text
    copy.withUTF8 { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe reserve(bytes.count).update(from: start, count: bytes.count)
      length += bytes.count
    }
  }

  public mutating func append(bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    // SAFETY: room for the bytes was made; the source cannot be the storage, which is private.
    unsafe UnsafeMutableRawPointer(reserve(bytes.count)).copyMemory(from: start, byteCount: bytes.count)
    length += bytes.count
  }

  @inlinable @inline(__always)
  public mutating func append(byte: UInt8) {
    unsafe reserve(1).pointee = byte
    length &+= 1
  }

  @inlinable @inline(__always)
  public mutating func newline() { append(byte: 0x0A) }

  /// `count` copies of `byte`.
  public mutating func append(repeating byte: UInt8, count copies: Int) {
    guard copies > 0 else { return }
    unsafe reserve(copies).update(repeating: byte, count: copies)
    length += copies
  }

  /// In decimal, padded on the left with spaces to `width` columns at least (printf's `%*ld`).
  public mutating func append(decimal value: Int, width: Int = 0) {
    append(magnitude: UInt64(value.magnitude), negative: value < 0, width: width)
  }

  /// In decimal, padded on the left with spaces to `width` columns at least (printf's `%*lu`).
  public mutating func append(decimal value: UInt64, width: Int = 0) {
    append(magnitude: value, negative: false, width: width)
  }

  private mutating func append(magnitude value: UInt64, negative: Bool, width: Int) {
    var digits = 1
    var bound: UInt64 = 10
    // 10^19, the largest bound, has 20 digits, and so has what is not below it.
    while digits < 20, value >= bound {
      digits &+= 1
      bound &*= 10
    }
    let size = max(width, digits &+ (negative ? 1 : 0))
    // SAFETY: all positions are below `size`, which is reserved, but for the spaces, which are laid eight at a time, and for which there is
    // room.
    let start = unsafe reserve(size &+ 8)
    var position = 0
    while position < size &- digits {
      unsafe UnsafeMutableRawPointer(start + position).storeBytes(of: 0x2020_2020_2020_2020, as: UInt64.self)
      position &+= 8
    }
    if negative { unsafe start[size &- digits &- 1] = 0x2D }
    var rest = value
    position = size
    repeat {
      position &-= 1
      unsafe start[position] = UInt8(truncatingIfNeeded: 0x30 &+ rest % 10)
      rest /= 10
    } while rest != 0
    length &+= size
  }

  /// In hexadecimal without prefix, padded on the left with zeros to `width` digits at least (printf's `%0*lx`).
  public mutating func append(hex value: UInt64, width: Int = 1) {
    let digits = max(width, (64 &- value.leadingZeroBitCount &+ 3) / 4, 1)
    let start = unsafe reserve(digits)
    var rest = value
    var position = digits
    while position > 0 {
      position &-= 1
      let digit = UInt8(truncatingIfNeeded: rest & 15)
      unsafe start[position] = digit &+ (digit < 10 ? 0x30 : 0x57)
      rest >>= 4
    }
    length &+= digits
  }

  /// `text` and spaces behind it up to `width` columns at least (printf's `%-*s`); one column a byte.
  public mutating func append(string text: borrowing String, leftAlignedIn width: Int) {
    let before = count
    append(string: text)
    append(repeating: 0x20, count: width - (count - before))
  }

  /// `text` behind spaces up to `width` columns at least (printf's `%*s`); one column a byte.
  public mutating func append(string text: borrowing String, rightAlignedIn width: Int) {
    append(repeating: 0x20, count: width - text.utf8.count)
    append(string: text)
  }
}
