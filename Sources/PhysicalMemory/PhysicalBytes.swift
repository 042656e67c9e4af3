internal import Glibc
public import MemoryTypes

/// The bytes of the emulated memory: a host mapping in which a byte's place is its physical address.
///
/// Committed by the host page by page on first write. Where there is no memory nothing is mapped: the unchecked accesses below must not
/// go there; `read`, `write`, `nextData` and `nextHole` may. A copy of the value keeps the mapping alive.
@frozen @safe public struct PhysicalBytes: @unchecked Sendable {
  /// The host address of physical address 0.
  public let base: UnsafeMutableRawPointer
  /// The end of what may ever be memory: tables over all frames need no room for more.
  public let reach: ByteCount
  @usableFromInline let store: ByteStore

  init(_ store: ByteStore) {
    unsafe base = store.mapping.base
    reach = ByteCount(UInt64(store.mapping.size))
    self.store = store
  }

  /// The end of memory: the first address behind its last byte. Grows when memory is added.
  public var size: ByteCount { ByteCount(UInt64(store.end)) }

  /// The 8 bytes at `address`, little-endian: a multiple of 8 where there is memory, unchecked.
  @inlinable @inline(__always)
  public func load64(_ address: PhysicalAddress) -> UInt64 {
    // SAFETY: the caller names memory that it holds.
    unsafe UInt64(littleEndian: base.load(fromByteOffset: Int(address.rawValue), as: UInt64.self))
  }

  @inlinable @inline(__always)
  public func store64(_ value: UInt64, at address: PhysicalAddress) {
    // SAFETY: the caller names memory that it holds.
    unsafe base.storeBytes(of: value.littleEndian, toByteOffset: Int(address.rawValue), as: UInt64.self)
  }

  /// The 4 bytes at `address`, little-endian: a multiple of 4 where there is memory, unchecked.
  @inlinable @inline(__always)
  public func load32(_ address: PhysicalAddress) -> UInt32 {
    // SAFETY: the caller names memory that it holds.
    unsafe UInt32(littleEndian: base.load(fromByteOffset: Int(address.rawValue), as: UInt32.self))
  }

  @inlinable @inline(__always)
  public func store32(_ value: UInt32, at address: PhysicalAddress) {
    // SAFETY: the caller names memory that it holds.
    unsafe base.storeBytes(of: value.littleEndian, toByteOffset: Int(address.rawValue), as: UInt32.self)
  }

  /// Fills `buffer` from `address` on: zeros where there is no memory, and where it was never touched (which stays so).
  public func read(into buffer: UnsafeMutableRawBufferPointer, at address: PhysicalAddress) {
    unsafe store.read(into: buffer, at: address.rawValue)
  }

  /// Writes `bytes` from `address` on, whether or not the frames are allocated.
  /// - Throws: `noMemoryAt` the first address where there is none; then nothing was written.
  public func write(_ bytes: UnsafeRawBufferPointer, at address: PhysicalAddress) throws(MemoryError) {
    try unsafe store.write(bytes, at: address.rawValue)
  }

  /// Writes bytes to frames that are allocated, and marked when they are given back: others around them stay known to be zero.
  @inlinable @inline(__always)
  public func store(_ bytes: UnsafeRawBufferPointer, at address: PhysicalAddress) {
    // SAFETY: the caller names memory that it holds.
    let target = unsafe UnsafeMutableRawBufferPointer(start: base + Int(address.rawValue), count: bytes.count)
    unsafe target.copyMemory(from: bytes)
  }

  /// Sets bytes that the caller holds to zero; whole host pages of ranges from 64 KiB on are given back instead.
  public func zero(_ range: PhysicalRange) {
    store.zero(Int(range.start.rawValue), Int(range.size.rawValue))
  }

  /// Copies `size` bytes between ranges that the caller holds; they may overlap.
  @inlinable @inline(__always)
  public func copy(from source: PhysicalAddress, to destination: PhysicalAddress, size: ByteCount) {
    // SAFETY: both ranges are memory that the caller holds.
    unsafe (base + Int(destination.rawValue)).copyMemory(
      from: base + Int(source.rawValue), byteCount: Int(size.rawValue))
  }

  /// The first address from `address` on whose page the host holds; nil where there is none (SEEK_DATA).
  ///
  /// - Complexity: a system call a touched block that turns out to hold nothing.
  public func nextData(from address: PhysicalAddress) -> PhysicalAddress? {
    store.nextData(from: address.rawValue).map { PhysicalAddress($0) }
  }

  /// The first address from `address` on whose page the host does not hold: the end of memory at the latest (SEEK_HOLE).
  public func nextHole(from address: PhysicalAddress) -> PhysicalAddress {
    PhysicalAddress(store.nextHole(from: address.rawValue))
  }
}
