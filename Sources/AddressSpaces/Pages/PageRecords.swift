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
  /// Map count, and of a huge page all of its entries, plus one while the page cache holds the frame, plus one for each who works on it
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
    /// The head of a huge page of private memory.
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

  /// Room for frames 0 to `frames - 1`. One pointer per 512 frames, on memory the host commits on first use.
  init(frames: UInt64) {
    blockCount = Int(frames >> Self.blockShift) + 1
    // SAFETY: calloc's memory is zero, which is what a row of nil pointers is; it is freed in deinit alone.
    unsafe blocks = calloc(blockCount, MemoryLayout<UnsafeMutablePointer<PageRecord>?>.stride)
      .bindMemory(to: UnsafeMutablePointer<PageRecord>?.self, capacity: blockCount)
    let words = (blockCount + 63) / 64
    // SAFETY: as above.
    unsafe present = calloc(words, 8).bindMemory(to: UInt64.self, capacity: words)
  }

  deinit {
    forEachBlock { index in
      // SAFETY: inside the row; each block was allocated below.
      unsafe blocks[index]?.deallocate()
    }
    // SAFETY: allocated by calloc in init.
    unsafe free(blocks)
    unsafe free(present)
  }

  /// The record of `frame`; traps above the frames given at birth.
  @inline(__always) subscript(_ frame: FrameNumber) -> UnsafeMutablePointer<PageRecord> {
    let block = Int(frame.rawValue >> Self.blockShift)
    precondition(block < blockCount, "a frame behind the machine's memory")
    let offset = Int(frame.rawValue & (1 << Self.blockShift - 1))
    // SAFETY: `block` is inside the row, `offset` inside a block's 512 records.
    if let records = unsafe blocks[block] { return unsafe records + offset }
    let fresh = UnsafeMutablePointer<PageRecord>.allocate(capacity: 1 << Int(Self.blockShift))
    // SAFETY: as many records as were allocated.
    unsafe fresh.initialize(repeating: PageRecord(), count: 1 << Int(Self.blockShift))
    unsafe blocks[block] = fresh
    // SAFETY: a bit for each block.
    unsafe present[block >> 6] |= 1 << UInt64(block & 63)
    return unsafe fresh + offset
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
