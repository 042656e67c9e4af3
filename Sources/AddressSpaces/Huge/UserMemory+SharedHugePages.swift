internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Huge pages of shared memory (mm/shmem.c, mm/huge_memory.c, mm/rmap.c).
///
/// The file has each frame of one as the page of its own index; that they belong together the records say. Any space may show the page as a
/// whole where its area is aligned to the file's huge pages and has room for it, others show its frames one by one.
extension UserMemory {
  /// Whether shared memory is to get a huge page for an area's fault on page `index` of its file (`shmem_is_huge`). `forced`: whatever the
  /// settings say, but for `deny`.
  func isSharedHuge(_ area: Area, _ file: MemoryFile, index: UInt64, forced: Bool = false) -> Bool {
    if area.flags.contains(.noHugePage) { return false }
    switch transparent.shared {
    case .deny: return false
    case .always, .force: return true
    case .withinSize:
      let pages = (file.size + (1 << pageShift) - 1) >> pageShift
      let end = (index & ~(hugeFrames - 1)) &+ hugeFrames
      return forced || end <= pages || area.flags.contains(.hugePage)
    case .advise: return forced || area.flags.contains(.hugePage)
    case .never: return forced
    }
  }

  /// Brings the huge page around page `index` into a file where nothing of it is there yet (`shmem_alloc_hugefolio`). False where that cannot
  /// be: a base page will have to do.
  func cacheHugePage(_ process: Process, _ area: Area, _ file: MemoryFile, _ index: UInt64) -> Bool {
    let first = index & ~(hugeFrames - 1)
    if file.hasPage(in: first..<first + hugeFrames) { return false }
    if file.countsPages, !mayCommit(pages: hugeFrames, by: process.space) { return false }
    let owner = FrameOwner(.pageCache, id: UInt32(truncatingIfNeeded: file.number))
    let (wakes, reclaims) = effort(for: area)
    // `shmem_pseudo_vma_init`: interleaving is shifted by the file's number, in base pages.
    guard
      let frames = allocateHuge(
        process, file.policy(of: first) ?? process.policy, index: (first &+ file.number) / hugeFrames, zeroed: true,
        owner, wakes: wakes, reclaims: reclaims)
    else {
      hugeEvents.fileFallbacks += 1
      return false
    }
    hugeEvents.fileAllocations += 1
    enterHuge(file, first, frames.start, isDirty: false)
    if (file.size + (1 << pageShift) - 1) >> pageShift < first + hugeFrames - 1,
      !filesWithTails.contains(where: { $0 === file })
    {
      filesWithTails.append(file)
    }
    return true
  }

  /// Makes frames the huge page of a file from `index` on.
  func enterHuge(_ file: MemoryFile, _ index: UInt64, _ head: FrameNumber, isDirty: Bool) {
    begin(head, PageRecord(references: 1, owner: file, index: index, flags: isDirty ? [.huge, .dirty] : .huge))
    setPages(of: file, from: index, to: head)
    enlist(head, .inactiveAnonymous)
    count(head) {
      $0.shared += Int(hugeFrames)
      $0.sharedHuge += Int(hugeFrames)
    }
    if file.countsPages { committedPages += hugeFrames }
  }

  /// Leads a file to the frames of a huge page; nil: to none.
  func setPages(of file: MemoryFile, from index: UInt64, to head: FrameNumber?) {
    for part in 0..<hugeFrames { file.setPage(index + part, head.map { FrameNumber($0.rawValue + part) }) }
  }

  /// Takes a huge page that no entry shows out of its file.
  func removeHuge(_ file: MemoryFile, _ head: FrameNumber) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[head]
    unsafe setPages(of: file, from: record.pointee.index, to: nil)
    count(head) {
      $0.shared -= Int(hugeFrames)
      $0.sharedHuge -= Int(hugeFrames)
    }
    if file.countsPages { uncommit(pages: hugeFrames) }
    unsafe record.pointee.owner = nil
    putPage(head, cpu: currentCPU)
  }

  /// How many frames of a huge page no entry shows by itself.
  func framesWithoutEntry(_ head: FrameNumber) -> Int {
    // SAFETY: frames of this machine.
    if unsafe !records[head].pointee.flags.contains(.hasParts) { return Int(hugeFrames) }
    return (0..<hugeFrames).count { unsafe records[FrameNumber(head.rawValue + $0)].pointee.mapCount == 0 }
  }

  // MARK: Splitting

  /// Takes a huge page of shared memory apart: no entry shows it any more, and faults bring its frames back one by one. Those behind the file's
  /// end are free (`unmap_folio`, `__split_huge_page`).
  func splitShared(_ head: FrameNumber, _ file: MemoryFile, _ mappings: [PageMapping]) {
    for mapping in mappings { unmap(mapping) }
    // SAFETY: frames of this machine.
    let whole = unsafe records[head].pointee
    delist(head)
    count(head) { $0.sharedHuge -= Int(hugeFrames) }
    physical.split(FrameRange(start: head, count: FrameCount(hugeFrames)))
    let filePages = (file.size + (1 << pageShift) - 1) >> pageShift
    let flags = whole.flags.subtracting([.huge, .hasParts])
    for part in 0..<hugeFrames {
      let (frame, index) = (FrameNumber(head.rawValue + part), whole.index + part)
      begin(frame, PageRecord(references: 1, owner: file, index: index, flags: flags))
      if part > 0, index >= filePages { removeFromCache(file, index) } else { enlist(frame, whole.list) }
    }
    hugeEvents.splits += 1
  }

  /// Takes an entry that shows a page out of its table, which a fault can fill again (`try_to_unmap_one`).
  func unmap(_ mapping: PageMapping) {
    if mapping.entry.level > 0 { return mapping.space.splitEntry(at: mapping.address) }
    mapping.space.takeOut(mapping.area, mapping.address, mapping.address + 1 << pageShift, notesUse: false)
  }

  /// How many files of shared memory may end within a huge page of theirs (`shmem_unused_huge_count`).
  public var sharedTails: Int { filesWithTails.count }

  /// Splits the last huge pages of up to that many files, where the files end within them; how many frames came free
  /// (`shmem_unused_huge_shrink`).
  public func splitTails(_ files: Int) -> Int {
    var freed = 0
    for file in filesWithTails.prefix(files) {
      let index = file.size >> pageShift & ~(hugeFrames - 1)
      let pages = (file.size + (1 << pageShift) - 1) >> pageShift
      if pages & (hugeFrames - 1) != 0, let frame = file.page(index), let head = hugeHead(of: frame) {
        if !splitPage(head) { continue }
        freed += Int(index + hugeFrames - pages)
      }
      filesWithTails.removeAll { $0 === file }
    }
    return freed
  }

  // MARK: Holes

  /// Zeroes what a hole has of the huge pages that it cuts, and splits these (`truncate_inode_partial_folio`).
  func splitHugePages(of file: MemoryFile, cutBy range: Range<UInt64>) {
    for edge in [range.lowerBound, range.upperBound] where edge & (hugeFrames - 1) != 0 {
      guard let frame = file.page(edge), let head = hugeHead(of: frame) else { continue }
      // SAFETY: a frame of this machine.
      let first = unsafe records[head].pointee.index
      let start = max(range.lowerBound, first)
      let count = min(range.upperBound, first + hugeFrames) - start
      zero(FrameRange(start: FrameNumber(head.rawValue + start - first), count: FrameCount(count)))
      markDirty(head)
      splitPage(head)
    }
  }
}
