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
  func insertWhole(_ block: Int) { insertWhole(block..<block + 1) }

  /// Notes that any frame of the blocks may hold data.
  @inline(__always)
  func insertWhole(_ blocks: Range<Int>) {
    if !blocks.allSatisfy({ isWhole($0) && contains($0) }) { change(blocks, to: true) }
  }

  func remove(_ blocks: Range<Int>) { change(blocks, to: false) }

  func removeAll() {
    lock.withLock { mapping.discard(offset: 0, size: mapping.size) }
  }

  /// Makes all of the blocks whole, or none of them touched: 64 at a time.
  @inline(never)
  private func change(_ blocks: Range<Int>, to present: Bool) {
    lock.withLock {
      var block = blocks.lowerBound
      while block < blocks.upperBound {
        let next = min(blocks.upperBound, (block >> 6 + 1) << 6)
        let bits: UInt64 = (~0 >> UInt64(64 - (next - block))) << UInt64(block & 63)
        let whole = shape.words + block >> 6
        store(whole, present ? load(whole) | bits : load(whole) & ~bits)
        change(word: block >> 6, bits, to: present)
        block = next
      }
    }
  }

  @inline(never)
  private func change(_ block: Int, to present: Bool) {
    lock.withLock { change(word: block >> 6, 1 << UInt64(block & 63), to: present) }
  }

  /// Changes blocks of one word of the lowest level, and what lies above it. The lock is held.
  @inline(__always)
  private func change(word: Int, _ bits: UInt64, to present: Bool) {
    var word = word
    var bits = bits
    for level in 0..<shape.levels {
      let index = shape.offsets[level] + word
      let old = load(index)
      let new = present ? old | bits : old & ~bits
      store(index, new)
      // Above it says only whether there is any.
      if (old == 0) == (new == 0) { return }
      bits = 1 << UInt64(word & 63)
      word >>= 6
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
