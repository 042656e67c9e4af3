public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Reading and writing files page by page through the cache (mm/filemap.c), and their pages' way to the disk.
extension UserMemory {
  /// The page of a file for somebody who has no policy; throws where no frame is left.
  private func cachedPage(_ file: MemoryFile, _ index: UInt64, cpu: CPUID) throws(MemoryError) -> FrameNumber {
    if let frame = file.page(index) { return frame }
    let owner = FrameOwner(.pageCache, id: UInt32(truncatingIfNeeded: file.number))
    let frame = try physical.allocate(FrameRequest(cpu: cpu, mobility: .movable, zeroed: true, owner: owner)).start
    enterCache(file, index, frame)
    return frame
  }

  /// Makes a fresh frame, which reads zero, the page of a file: with what the file's disk has of it.
  func enterCache(_ file: MemoryFile, _ index: UInt64, _ frame: FrameNumber) {
    let isRegular = file.kind == .regular
    begin(frame, PageRecord(mapCount: 0, references: 1, owner: file, index: index, flags: isRegular ? .fileCache : []))
    file.setPage(index, frame)
    enlist(frame, list(for: frame, isActive: false))
    guard isRegular else {
      count(frame) { $0.shared += 1 }
      if file.countsPages { committedPages += 1 }
      return
    }
    reclaimCounts.pagedIn += 1 << (pageShift - 10)
    if let bytes = file.disk[index] { write(bytes, to: frame, at: 0) }
    refault(file, index, frame)
  }

  private func write(_ bytes: [UInt8], to frame: FrameNumber, at offset: UInt64) {
    unsafe bytes.withUnsafeBytes { unsafe physical.bytes.store($0, at: address(frame) + ByteCount(offset)) }
  }

  private func read(_ frame: FrameNumber, at offset: UInt64, count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    unsafe bytes.withUnsafeMutableBytes { unsafe physical.bytes.read(into: $0, at: address(frame) + ByteCount(offset)) }
    return bytes
  }

  /// Calls `body` with each page's part of `size` bytes from `offset` on: its index, where the part begins in it, and how long it is.
  private func forEachPart(
    _ offset: UInt64, _ size: UInt64, _ body: (UInt64, UInt64, UInt64) throws(MemoryError) -> Void
  ) throws(MemoryError) {
    var done: UInt64 = 0
    while done < size {
      let place = offset + done
      let inPage = place & (1 << pageShift - 1)
      let length = min(size - done, 1 << pageShift - inPage)
      try body(place >> pageShift, inPage, length)
      done += length
    }
  }

  /// Reads bytes of a file by way of the cache; those behind its end are left out. `body` gets them part by part, and the place of each.
  ///
  /// - Throws: `outOfMemory` where no frame is left for a page; those read before stay in the cache.
  public func read(
    _ file: MemoryFile, offset: UInt64, size: UInt64, cpu: CPUID, _ body: (UInt64, [UInt8]) -> Void
  ) throws(MemoryError) {
    currentCPU = cpu
    guard offset < file.size else { return }
    try forEachPart(offset, min(size, file.size - offset)) { (index, inPage, length) throws(MemoryError) in
      let frame = try cachedPage(file, index, cpu: cpu)
      markAccessed(frame)
      body(index << pageShift + inPage, read(frame, at: inPage, count: Int(length)))
    }
  }

  /// Writes `size` bytes at `offset`, those of `pattern` again and again, by way of the cache; the file grows where it must.
  ///
  /// - Parameter limits: how many pages may be dirty before the writer writes back, and before the background does.
  /// - Throws: `outOfMemory` where no frame is left for a page, `diskFull` where the disks have no room for it: the file is then as it was.
  public func write(
    _ file: MemoryFile, offset: UInt64, size: UInt64, pattern: [UInt8], cpu: CPUID,
    limits: (limit: Int, background: Int)
  ) throws(MemoryError) {
    currentCPU = cpu
    try checkRoom(file, offset: offset, size: size, pattern: pattern)
    let before = file.size
    // What lies behind the last page of old can be dropped; of what lies before, the bytes are kept.
    let firstNew = (before + 1 << pageShift - 1) >> pageShift
    var undo: [(index: UInt64, offset: UInt64, bytes: [UInt8])] = []
    do throws(MemoryError) {
      try forEachPart(offset, size) { (index, inPage, length) throws(MemoryError) in
        let frame = try cachedPage(file, index, cpu: cpu)
        undo.append((index, inPage, index >= firstNew ? [] : read(frame, at: inPage, count: Int(length))))
        let first = Int((index << pageShift + inPage - offset) % UInt64(pattern.count))
        write(Self.repeated(pattern, from: first, count: Int(length)), to: frame, at: inPage)
        markDirty(frame)
        file.size = max(file.size, index << pageShift + inPage + length)
        balanceDirty(limits)
      }
    } catch {
      // What was written of it is taken back, in the cache or on the disk.
      for part in undo {
        if part.index >= firstNew {
          removeFromCache(file, part.index)
          setDisk(file, part.index, nil)
        } else if let frame = file.page(part.index) {
          write(part.bytes, to: frame, at: part.offset)
          markDirty(frame)
        } else if var bytes = file.disk[part.index] {
          bytes.replaceSubrange(Int(part.offset)..<Int(part.offset) + part.bytes.count, with: part.bytes)
          setDisk(file, part.index, bytes)
        }
      }
      file.size = before
      throw error
    }
  }

  private static func repeated(_ pattern: [UInt8], from first: Int, count: Int) -> [UInt8] {
    if pattern.count == 1 { return [UInt8](repeating: pattern[0], count: count) }
    var bytes = Array(pattern[first...])
    while bytes.count < count { bytes += pattern }
    return Array(bytes.prefix(count))
  }

  // MARK: The disks

  /// The most that one reading or writing transfers, in bytes (read(2), write(2): MAX_RW_COUNT).
  public static var largestTransfer: UInt64 { 0x7FFF_F000 }

  /// Throws `diskFull` where the disks have no room for what a write would make them hold.
  private func checkRoom(_ file: MemoryFile, offset: UInt64, size: UInt64, pattern: [UInt8]) throws(MemoryError) {
    guard size > 0, pattern.contains(where: { $0 != 0 }) else { return }
    func lacks() -> Bool {
      var fresh = lists.indices.reduce(0) { $0 + pageUse(of: NodeID($1)).dirty }
      for index in offset >> pageShift...(offset + size - 1) >> pageShift where file.disk[index] == nil { fresh += 1 }
      return UInt64(diskPages + fresh) << pageShift > diskCapacity
    }
    guard lacks() else { return }
    // Dirty pages may have their place already: known once they are written.
    for file in regularFiles { sync(file) }
    if lacks() { throw .diskFull(ByteCount(size), capacity: ByteCount(diskCapacity)) }
  }

  /// What a disk has of a page; nothing where that is all zeros.
  private func setDisk(_ file: MemoryFile, _ index: UInt64, _ bytes: [UInt8]?) {
    if let bytes, bytes.contains(where: { $0 != 0 }) {
      if file.disk.updateValue(bytes, forKey: index) == nil { diskPages += 1 }
    } else if file.disk.removeValue(forKey: index) != nil {
      diskPages -= 1
    }
  }

  // MARK: Writeback

  /// Pages of a file that were written, in the cache or through a mapping.
  private func dirtyIndices(_ file: MemoryFile) -> [UInt64] {
    file.cachedIndices.filter { index in
      guard let frame = file.page(index) else { return false }
      collectDirt(frame)
      // SAFETY: a frame of this machine.
      return unsafe records[frame].pointee.flags.contains(.dirty)
    }
  }

  /// Takes over what entries know of writes.
  private func collectDirt(_ frame: FrameNumber) {
    for mapping in areasShowing(frame) where mapping.entry.flags.contains(.dirty) { markDirty(frame) }
  }

  /// Writes a page to its file's disk: it is clean then, and a process that writes to it takes a fault (`folio_clear_dirty_for_io`).
  func writeBack(_ file: MemoryFile, _ index: UInt64) {
    guard file.kind == .regular, let frame = file.page(index) else { return }
    for mapping in areasShowing(frame) {
      mapping.space.table.change(
        mapping.address, mapping.address + 1 << pageShift, removing: [.dirty, .writable], inserting: [])
    }
    setDisk(file, index, read(frame, at: 0, count: 1 << Int(pageShift)))
    clearDirty(frame)
    note(frame) { $0.written += 1 }
    reclaimCounts.pagedOut += 1 << (pageShift - 10)
  }

  /// Writes what a file's disk lacks of some of its pages; how many (fsync(2), `vfs_fsync_range`).
  @discardableResult
  public func sync(_ file: MemoryFile, pages: Range<UInt64> = 0..<UInt64.max) -> Int {
    if file.kind != .regular { return 0 }
    let dirty = dirtyIndices(file).filter { pages.contains($0) }
    for index in dirty { writeBack(file, index) }
    return dirty.count
  }

  /// A writer beyond the limit writes pages back until what is dirty is less than half between both limits (`balance_dirty_pages`).
  private func balanceDirty(_ limits: (limit: Int, background: Int)) {
    let dirty = lists.indices.reduce(0) { $0 + pageUse(of: NodeID($1)).dirty }
    if dirty > limits.limit { writeBackDirty(downTo: (limits.limit + limits.background) / 2) }
  }

  /// Writes pages back, those of the oldest files and of each those written to the longest ago, until no more than that many are dirty.
  private func writeBackDirty(downTo limit: Int) {
    var dirty = lists.indices.reduce(0) { $0 + pageUse(of: NodeID($1)).dirty }
    for file in regularFiles where dirty > limit {
      while dirty > limit, let index = file.takeOldestWritten() {
        guard let frame = file.page(index) else { continue }
        // SAFETY: a frame of this machine.
        guard unsafe records[frame].pointee.flags.contains(.dirty) else { continue }
        writeBack(file, index)
        dirty -= 1
      }
    }
  }

  /// Behind a line: what is dirty beyond the background limit goes to the disks (`wb_over_bg_thresh`).
  public func flushInBackground(beyond limit: Int) {
    if !regularFiles.isEmpty { writeBackDirty(downTo: limit) }
  }
}
