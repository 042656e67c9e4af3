internal import Glibc
internal import MemoryTypes

/// What the memory of processes knows of a frame beyond what the frame allocator does (the part of Linux's `struct page` that faults,
/// forks, reclaim and smaps look at). 56 bytes.
///
/// A huge page has the record of its first frame, its head; what its frames have of their own is `mapCount` and `exclusive`, once entries
/// show them one by one. The others' `references` are 0, as no frame's is that is an ordinary page: by it they are known.
@safe struct PageRecord {
  /// How many page-table entries show the frame by itself.
  var mapCount: UInt32 = 0
  /// Map count, and of a huge page all of its entries, plus one while the page cache holds the page, plus one for each who works on it
  /// (`UserMemory.pin`): a page with more than the first two is neither moved nor reclaimed (`folio_expected_refs`). The frame is given
  /// back at 0.
  var references: UInt32 = 0
  /// The file or group that the page is of (`folio->mapping`); nil before the page is anybody's, and where it left its file.
  /// SAFETY: a file holds its pages; a group lives as long as an area that shows a page of it.
  unowned(unsafe) var owner: PageOwner?
  /// The page's index in its file, or in the linear space of its group (`folio->index`).
  var index: UInt64 = 0
  var flags: Flags = []
  /// Where the frame lies, set with the record: the node's number and the zone's kind.
  var node: UInt16 = 0
  var zone: UInt8 = 0
  /// How many entries show all of the huge page that begins here (`compound_mapcount`).
  var wholeMaps: UInt32 = 0
  /// The list on which the page is, and its neighbours there plus 1; 0: none.
  var list: PageList = .none
  var newer: UInt64 = 0
  var older: UInt64 = 0

  struct Flags: OptionSet {
    var rawValue: UInt32
    /// Private memory of processes; else the page cache's.
    static var anonymous: Self { Self(rawValue: 1) }
    /// No other process can hold the page: a write needs no copy (`PageAnonExclusive`).
    static var exclusive: Self { Self(rawValue: 2) }
    /// Written to since it was read (`PageDirty`); entries have dirty bits of their own.
    static var dirty: Self { Self(rawValue: 4) }
    /// MADV_FREE: to be dropped rather than kept under pressure, unless written again (not `PageSwapBacked`).
    static var lazilyFree: Self { Self(rawValue: 8) }
    /// A page of a file with a disk: can be dropped when it is clean.
    static var fileCache: Self { Self(rawValue: 16) }
    /// Used once since it was last looked at (`PG_referenced`).
    static var referenced: Self { Self(rawValue: 32) }
    /// Was active once (`PG_workingset`).
    static var workingSet: Self { Self(rawValue: 64) }
    /// The head of a transparent huge page, of private or of shared memory.
    static var huge: Self { Self(rawValue: 128) }
    /// The first frame of a page of a pool, in use.
    static var pool: Self { Self(rawValue: 512) }
    /// Entries show, or have shown, frames of this huge page one by one: their records are in use.
    static var hasParts: Self { Self(rawValue: 256) }
  }
}

/// The records of all frames: sparse, a block of 512 at a time, so that a machine of any size costs what is used of it.
@safe struct PageRecords: ~Copyable {
  private static var blockShift: UInt64 { 9 }
  private let blocks: UnsafeMutablePointer<UnsafeMutablePointer<PageRecord>?>
  private let blockCount: Int
  /// A bit a block that there is, so that few of many are found quickly.
  private let present: UnsafeMutablePointer<UInt64>
  /// The blocks that there are, one behind the other, in huge pages of the host: each is made as it is first asked for.
  private let pool: UnsafeMutableRawPointer
  private let poolSize: Int
  /// Where in the pool the next block will be.
  private let next: UnsafeMutablePointer<UnsafeMutablePointer<PageRecord>>

  /// Room for frames 0 to `frames - 1`, on memory the host commits on first use. Throws `hostRefusedMapping`.
  init(frames: UInt64) throws(MemoryError) {
    blockCount = Int(frames >> Self.blockShift) + 1
    let hugePage = 2 << 20
    poolSize = blockCount << Int(Self.blockShift) * MemoryLayout<PageRecord>.stride + hugePage
    // SAFETY: no fixed address is asked for, so that nothing that is mapped already can be replaced.
    let address = unsafe mmap(
      nil, poolSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .hostRefusedMapping(ByteCount(UInt64(poolSize)), errno: errno)
    }
    unsafe madvise(address, poolSize, MADV_HUGEPAGE)
    unsafe pool = address
    // SAFETY: zero, which fresh memory is, is a record of nobody's; the pool has a huge page more than the blocks need.
    let first = unsafe address.alignedUp(toMultipleOf: hugePage).bindMemory(
      to: PageRecord.self, capacity: blockCount << Int(Self.blockShift))
    unsafe next = .allocate(capacity: 1)
    unsafe next.initialize(to: first)
    // SAFETY: calloc's memory is zero, which is what a row of nil pointers is; it is freed in deinit alone.
    unsafe blocks = calloc(blockCount, MemoryLayout<UnsafeMutablePointer<PageRecord>?>.stride)
      .bindMemory(to: UnsafeMutablePointer<PageRecord>?.self, capacity: blockCount)
    let words = (blockCount + 63) / 64
    // SAFETY: as above.
    unsafe present = calloc(words, 8).bindMemory(to: UInt64.self, capacity: words)
  }

  deinit {
    // SAFETY: what init has made.
    unsafe munmap(pool, poolSize)
    unsafe next.deallocate()
    unsafe free(blocks)
    unsafe free(present)
  }

  /// The record of `frame`; traps above the frames given at birth.
  @inline(__always) subscript(_ frame: FrameNumber) -> UnsafeMutablePointer<PageRecord> {
    let block = Int(truncatingIfNeeded: frame.rawValue >> Self.blockShift)
    precondition(UInt(bitPattern: block) < UInt(bitPattern: blockCount), "a frame behind the machine's memory")
    let offset = Int(truncatingIfNeeded: frame.rawValue & (1 << Self.blockShift - 1))
    // SAFETY: `block` is inside the row, `offset` inside a block's 512 records.
    if let records = unsafe blocks[block] { return unsafe records + offset }
    return unsafe Self.make(block, blocks, present, next) + offset
  }

  /// Static, as the whole of the struct would be put in memory at every look for a method's sake.
  @inline(never) private static func make(
    _ block: Int, _ blocks: UnsafeMutablePointer<UnsafeMutablePointer<PageRecord>?>,
    _ present: UnsafeMutablePointer<UInt64>, _ next: UnsafeMutablePointer<UnsafeMutablePointer<PageRecord>>
  ) -> UnsafeMutablePointer<PageRecord> {
    // SAFETY: the pool has room for as many blocks as the row.
    let fresh = unsafe next.pointee
    unsafe next.pointee = fresh + 1 << Int(blockShift)
    unsafe blocks[block] = fresh
    // SAFETY: a bit for each block.
    unsafe present[block >> 6] |= 1 << UInt64(block & 63)
    return unsafe fresh
  }

  private func forEachBlock(_ body: (Int) -> Void) {
    for word in 0..<(blockCount + 63) / 64 {
      // SAFETY: a bit for each block.
      var bits = unsafe present[word]
      while bits != 0 {
        body(word << 6 + bits.trailingZeroBitCount)
        bits &= bits - 1
      }
    }
  }

  /// Calls `body` for every record that says that somebody holds or shows its frame, ascending.
  func forEachInUse(_ body: (UInt64, PageRecord) -> Void) {
    forEachBlock { block in
      // SAFETY: inside the row; offsets inside a block's 512 records.
      guard let records = unsafe blocks[block] else { return }
      for offset in 0..<1 << Int(Self.blockShift) {
        let record = unsafe records[offset]
        if record.references > 0 || record.mapCount > 0 {
          body(UInt64(block) << Self.blockShift + UInt64(offset), record)
        }
      }
    }
  }

  /// The first frame of the range that an entry shows. Frames behind those given at birth are shown by none.
  func firstMapped(in range: FrameRange) -> FrameNumber? {
    var frame = range.start.rawValue
    while frame < range.end.rawValue {
      let block = Int(frame >> Self.blockShift)
      if block >= blockCount { return nil }
      let end = min(range.end.rawValue, UInt64(block + 1) << Self.blockShift)
      // SAFETY: `block` is inside the row, offsets inside a block's 512 records.
      if let records = unsafe blocks[block] {
        while frame < end {
          if unsafe records[Int(frame & (1 << Self.blockShift - 1))].mapCount > 0 { return FrameNumber(frame) }
          frame += 1
        }
      }
      frame = end
    }
    return nil
  }
}
