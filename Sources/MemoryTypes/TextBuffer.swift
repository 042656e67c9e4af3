/// Text under construction: bytes that grow at the end, on memory of their own.
///
/// Every file and every answer is rendered into one. Appending costs a copy of what is appended and no allocation while the capacity
/// lasts, which doubles when it does not.
@safe public struct TextBuffer: ~Copyable {
  private var storage: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  /// The bytes held.
  public private(set) var count = 0

  /// Room for `capacity` bytes, 16 at least, before the first growth.
  public init(capacity: Int = 2048) {
    self.capacity = max(16, capacity)
    unsafe storage = UnsafeMutablePointer<UInt8>.allocate(capacity: self.capacity)
  }

  deinit { unsafe storage.deallocate() }

  /// Drops the contents and keeps the capacity.
  public mutating func removeAll() { count = 0 }

  /// Drops what lies behind the first `length` bytes. Traps where there are fewer.
  public mutating func truncate(to length: Int) {
    precondition(length <= count)
    count = length
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

  private mutating func reserve(_ more: Int) -> UnsafeMutablePointer<UInt8> {
    if count + more > capacity { grow(to: count + more) }
    // SAFETY: the capacity covers `more` bytes behind the count.
    return unsafe storage + count
  }

  @inline(never)
  private mutating func grow(to needed: Int) {
    let larger = max(needed, capacity * 2, 2048)
    let next = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    // SAFETY: the new storage is larger than the count, and the old one is dropped here.
    unsafe next.update(from: storage, count: count)
    unsafe storage.deallocate()
    unsafe storage = next
    capacity = larger
  }

  public mutating func append(_ text: StaticString) {
    let length = text.utf8CodeUnitCount
    // SAFETY: a static string's bytes live for ever, and room was made for them.
    unsafe reserve(length).update(from: text.utf8Start, count: length)
    count += length
  }

  public mutating func append(string text: borrowing String) {
    var copy = copy text
    copy.withUTF8 { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe reserve(bytes.count).update(from: start, count: bytes.count)
      count += bytes.count
    }
  }

  public mutating func append(bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    // SAFETY: room for the bytes was made; the source cannot be the storage, which is private.
    unsafe UnsafeMutableRawPointer(reserve(bytes.count)).copyMemory(from: start, byteCount: bytes.count)
    count += bytes.count
  }

  public mutating func append(byte: UInt8) {
    unsafe reserve(1).pointee = byte
    count += 1
  }

  public mutating func newline() { append(byte: 0x0A) }

  /// `count` copies of `byte`.
  public mutating func append(repeating byte: UInt8, count copies: Int) {
    guard copies > 0 else { return }
    unsafe reserve(copies).update(repeating: byte, count: copies)
    count += copies
  }

  /// In decimal, padded on the left with spaces to `width` columns at least (printf's `%*ld`).
  public mutating func append(decimal value: Int, width: Int = 0) {
    append(magnitude: UInt64(value.magnitude), negative: value < 0, width: width)
  }

  /// In decimal, padded on the left with spaces to `width` columns at least (printf's `%*lu`).
  public mutating func append(decimal value: UInt64, width: Int = 0) {
    append(magnitude: value, negative: false, width: width)
  }

  private mutating func append(magnitude: UInt64, negative: Bool, width: Int) {
    // 20 digits and a sign at most, written from the end of the room that all padding and digits may need.
    let room = max(width, 21)
    let start = unsafe reserve(room)
    var position = room
    var rest = magnitude
    repeat {
      position -= 1
      unsafe start[position] = UInt8(truncatingIfNeeded: 0x30 + rest % 10)
      rest /= 10
    } while rest != 0
    if negative {
      position -= 1
      unsafe start[position] = 0x2D
    }
    while room - position < width {
      position -= 1
      unsafe start[position] = 0x20
    }
    // SAFETY: both lie in the room that was reserved; they may overlap, the digits moving down.
    if position > 0 { unsafe start.update(from: start + position, count: room - position) }
    count += room - position
  }

  /// In hexadecimal without prefix, padded on the left with zeros to `width` digits at least (printf's `%0*lx`).
  public mutating func append(hex value: UInt64, width: Int = 1) {
    let digits = max(width, (64 - value.leadingZeroBitCount + 3) / 4, 1)
    let start = unsafe reserve(digits)
    var rest = value
    for position in stride(from: digits - 1, through: 0, by: -1) {
      let digit = UInt8(truncatingIfNeeded: rest & 15)
      unsafe start[position] = digit < 10 ? 0x30 + digit : 0x57 + digit
      rest >>= 4
    }
    count += digits
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
