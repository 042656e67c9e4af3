internal import MemoryTypes
internal import Synchronization

/// Which blocks of the machine the host may hold bytes of: those that were handed out or written since they were last given back.
///
/// A 64-way tree like `BitTree`, over absolute block numbers; read without a lock, changed under one. Beside it a bit a block that says that
/// any frame of it may hold data, whatever the frames' entries say.
final class TouchedBlocks: Sendable {
  private let mapping: HostMapping
  private let shape: BitTreeShape
  private let lock = Lock()

  init(frameLimit: Int) throws(MemoryError) {
    shape = BitTreeShape(leaves: max(1, (frameLimit + 511) >> 9))
    mapping = try HostMapping(size: (shape.words + (shape.leaves + 63) >> 6) * 8, access: .readWrite)
  }

  @inline(__always)
  private func load(_ index: Int) -> UInt64 {
    // SAFETY: the index comes from the shape; zeroed memory is a valid Atomic.
    unsafe mapping.base.assumingMemoryBound(to: Atomic<UInt64>.self)[index].load(ordering: .relaxed)
  }

  @inline(__always)
  private func store(_ index: Int, _ value: UInt64) {
    // SAFETY: as in `load`.
    unsafe mapping.base.assumingMemoryBound(to: Atomic<UInt64>.self)[index].store(value, ordering: .relaxed)
  }

  @inline(__always)
  func contains(_ block: Int) -> Bool { load(block >> 6) >> UInt64(block & 63) & 1 != 0 }

  /// Whether any frame of the block may hold data.
  @inline(__always)
  func isWhole(_ block: Int) -> Bool { load(shape.words + block >> 6) >> UInt64(block & 63) & 1 != 0 }

  @inline(__always)
  func insert(_ block: Int) { if !contains(block) { change(block, to: true) } }

  /// Notes that any frame of the block may hold data.
  @inline(__always)
  func insertWhole(_ block: Int) {
    insert(block)
    if !isWhole(block) { changeWhole(block, to: true) }
  }

  func remove(_ block: Int) {
    if contains(block) { change(block, to: false) }
    if isWhole(block) { changeWhole(block, to: false) }
  }

  func removeAll() {
    lock.withLock { mapping.discard(offset: 0, size: mapping.size) }
  }

  @inline(never)
  private func changeWhole(_ block: Int, to present: Bool) {
    lock.withLock {
      let index = shape.words + block >> 6
      let bit = UInt64(1) << UInt64(block & 63)
      store(index, present ? load(index) | bit : load(index) & ~bit)
    }
  }

  @inline(never)
  private func change(_ block: Int, to present: Bool) {
    lock.withLock {
      var position = block
      for level in 0..<shape.levels {
        let index = shape.offsets[level] + position >> 6
        let bit = UInt64(1) << UInt64(position & 63)
        let old = load(index)
        let new = present ? old | bit : old & ~bit
        store(index, new)
        if present ? old != 0 : new != 0 { return }
        position >>= 6
      }
    }
  }

  /// The first touched block from `block` on.
  func next(from block: Int) -> Int? {
    lock.withLock {
      var position = block
      for level in 0..<shape.levels {
        let words = (shape.leaves - 1) >> (6 * (level + 1)) + 1
        if position >> 6 >= words { return nil }
        let word = load(shape.offsets[level] + position >> 6) & (~0 << UInt64(position & 63))
        if word != 0 {
          position = position & ~63 | word.trailingZeroBitCount
          for below in stride(from: level - 1, through: 0, by: -1) {
            position = position << 6 | load(shape.offsets[below] + position).trailingZeroBitCount
          }
          return position
        }
        position = position >> 6 + 1
      }
      return nil
    }
  }
}
