internal import Glibc
internal import MemoryTypes
internal import Synchronization

/// What stands behind `PhysicalBytes`: the mapping, where there is memory, and which blocks of it were touched.
@usableFromInline final class ByteStore: @unchecked Sendable {
  let mapping: HostMapping
  /// Bytes from address 0 to the end of memory.
  var end: Int { currentEnd.load(ordering: .relaxed) }
  private let currentEnd: Atomic<Int>
  /// log2 of the bytes of a block.
  let blockShift: Int
  let touched: TouchedBlocks
  /// What was memory at first, in bytes, ascending.
  private let initialRanges: [Range<UInt64>]
  /// What is memory, in bytes, ascending. Guarded by `lock`.
  private var ranges: [Range<UInt64>]
  private let lock = Lock()

  /// - Parameter reach: bytes from address 0 to the end of what may ever be memory.
  init(ranges: [Range<UInt64>], reach: Int, frameSize: FrameSize) throws(MemoryError) {
    blockShift = Int(frameSize.shift) + 9
    touched = try TouchedBlocks(frameLimit: reach >> Int(frameSize.shift))
    mapping = try HostMapping(size: reach, access: .none)
    initialRanges = ranges
    self.ranges = ranges
    currentEnd = Atomic(Int(ranges.last?.upperBound ?? 0))
    for range in ranges { try mapping.open(offset: Int(range.lowerBound), size: range.count) }
  }

  /// Makes a range memory that is none. - Throws: `hostRefusedMapping`.
  func add(_ range: Range<UInt64>) throws(MemoryError) {
    try mapping.open(offset: Int(range.lowerBound), size: range.count)
    lock.withLock {
      ranges = (ranges + [range]).sorted { $0.lowerBound < $1.lowerBound }
      currentEnd.store(Int(ranges.last?.upperBound ?? 0), ordering: .relaxed)
    }
  }

  /// Takes a range away that was added; false, and nothing done, where it was not.
  func remove(_ range: Range<UInt64>) -> Bool {
    let found = lock.withLock {
      guard let index = ranges.firstIndex(of: range), !initialRanges.contains(range) else { return false }
      ranges.remove(at: index)
      currentEnd.store(Int(ranges.last?.upperBound ?? 0), ordering: .relaxed)
      return true
    }
    if found { mapping.close(offset: Int(range.lowerBound), size: range.count) }
    return found
  }

  /// Calls `body` with each part of `range` that is memory, ascending.
  private func forEachPart(of range: Range<UInt64>, _ body: (Range<UInt64>) -> Void) {
    for part in lock.withLock({ ranges }) where part.overlaps(range) { body(part.clamped(to: range)) }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at address: UInt64) {
    guard let target = buffer.baseAddress else { return }
    // SAFETY: inside the buffer; the parts lie inside [address, address + count).
    unsafe memset(target, 0, buffer.count)
    let (upper, overflow) = address.addingReportingOverflow(UInt64(buffer.count))
    forEachPart(of: address..<(overflow ? .max : upper)) { part in
      var position = part.lowerBound
      while position < part.upperBound {
        let next = min(part.upperBound, (position >> UInt64(blockShift) + 1) << UInt64(blockShift))
        if touched.contains(Int(position >> UInt64(blockShift))) {
          unsafe memcpy(target + Int(position - address), mapping.base + Int(position), Int(next - position))
        }
        position = next
      }
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at address: UInt64) throws(MemoryError) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    let (upper, overflow) = address.addingReportingOverflow(UInt64(bytes.count))
    var covered = address
    if !overflow {
      forEachPart(of: address..<upper) { part in if part.lowerBound == covered { covered = part.upperBound } }
    }
    guard !overflow, covered == upper else { throw .noMemoryAt(PhysicalAddress(covered)) }
    for block in Int(address) >> blockShift...Int(upper - 1) >> blockShift { touched.insertWhole(block) }
    // SAFETY: the whole range is memory.
    unsafe memcpy(mapping.base + Int(address), source, bytes.count)
  }

  /// Ranges from this many bytes on are given back rather than overwritten.
  private static let discardThreshold = 1 << 16

  func zero(_ start: Int, _ size: Int) {
    let page = HostMapping.page
    let first = (start + page - 1) & ~(page - 1)
    let last = (start + size) & ~(page - 1)
    // SAFETY: the range is memory that the caller holds.
    guard size >= Self.discardThreshold, first < last else {
      unsafe memset(mapping.base + start, 0, size)
      return
    }
    unsafe memset(mapping.base + start, 0, first - start)
    mapping.discard(offset: first, size: last - first)
    unsafe memset(mapping.base + last, 0, start + size - last)
  }

  /// Gives back what the host holds of blocks that nobody holds; they read zero from then on.
  func discard(blocks: Range<Int>) {
    mapping.discard(offset: blocks.lowerBound << blockShift, size: blocks.count << blockShift)
    touched.remove(blocks)
  }

  /// Gives everything back, and takes away what was added.
  func reset() {
    let added = lock.withLock {
      let added = ranges.filter { !initialRanges.contains($0) }
      ranges = initialRanges
      currentEnd.store(Int(ranges.last?.upperBound ?? 0), ordering: .relaxed)
      return added
    }
    for range in initialRanges { mapping.discard(offset: Int(range.lowerBound), size: range.count) }
    for range in added { mapping.close(offset: Int(range.lowerBound), size: range.count) }
    touched.removeAll()
  }
}
