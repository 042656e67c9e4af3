extension PhysicalSnapshot.ZoneSnapshot {
  /// What lies free in chunks of the buddy system's orders, as a request of one order sees it (`fill_contig_page_info`).
  private func contiguous(_ order: Int) -> (frames: Int, chunks: Int, suitable: Int) {
    var found = (frames: 0, chunks: 0, suitable: 0)
    for (size, count) in freeByOrder.enumerated() {
      found.frames += count << size
      found.chunks += count
      if size >= order { found.suitable += count << (size - order) }
    }
    return found
  }

  /// The share of free memory that a request of 2^`order` frames cannot use, in thousandths (`unusable_free_index`). Order 0 to 10.
  public func unusableIndex(_ order: Int) -> Int {
    let found = contiguous(order)
    return found.frames == 0 ? 1000 : (found.frames - found.suitable << order) * 1000 / found.frames
  }

  /// Why a request of 2^`order` frames fails: towards 0 for want of memory, towards 1000 because it is in pieces; -1000 where it does not
  /// fail (`__fragmentation_index`). Order 0 to 10.
  public func fragmentationIndex(_ order: Int) -> Int {
    let found = contiguous(order)
    if found.chunks == 0 { return 0 }
    if found.suitable > 0 { return -1000 }
    return 1000 - (1000 + (found.frames * 1000) >> order) / found.chunks
  }
}
