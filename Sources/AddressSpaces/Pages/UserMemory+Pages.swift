public import MemoryTypes
internal import PhysicalMemory
public import Translation

/// Frames for pages: where they come from, who holds them, and when they go back.
extension UserMemory {
  func address(_ frame: FrameNumber) -> PhysicalAddress { physical.frameSize.address(of: frame) }

  /// A frame as `policy` (nil: the process's, then local) wants it; nil where none is left. Interleaving goes by `index`, that of the page in
  /// what it belongs to (`vma_alloc_folio`), or where that is nil by turns (`alloc_pages`).
  func allocate(
    _ process: Process, _ policy: MemoryPolicy?, index: UInt64?, zeroed: Bool, owner: FrameOwner
  ) -> FrameNumber? {
    guard let policy = policy ?? process.policy else { return allocate(process, from: nil, only: nil, zeroed, owner) }
    switch policy.mode {
    case .default, .local: return allocate(process, from: nil, only: nil, zeroed, owner)
    case .preferred: return allocate(process, from: policy.nodes.first, only: nil, zeroed, owner)
    case .interleave:
      let node = if let index { policy.interleaved(index) } else { takeTurn(process, policy) }
      return allocate(process, interleavedOn: node ?? home(of: process), zeroed, owner)
    case .bind: return allocate(process, from: nil, only: policy.nodes, zeroed, owner)
    case .preferredMany:
      return allocate(process, from: nil, only: policy.nodes, zeroed, owner)
        ?? allocate(process, from: nil, only: nil, zeroed, owner)
    }
  }

  /// `interleave_nodes`.
  private func takeTurn(_ process: Process, _ policy: MemoryPolicy) -> NodeID? {
    guard let node = policy.nodes.next(behind: process.lastInterleaved) else { return nil }
    process.lastInterleaved = node.rawValue
    return node
  }

  /// From `node` (nil: that of the process's CPU) or, as its fallback order goes, another; from those in `mask` alone where there is one.
  func allocate(_ process: Process, from node: NodeID?, only mask: NodeMask?, _ zeroed: Bool, _ owner: FrameOwner)
    -> FrameNumber?
  {
    let mobility: Mobility = owner.kind == .pageTable ? .unmovable : .movable
    var request = FrameRequest(cpu: process.cpu, node: node, mobility: mobility, zeroed: zeroed, owner: owner)
    guard let mask else {
      if let range = try? physical.allocate(request) { return range.start }
      refusedNodes = nil
      return nil
    }
    request.onlyNode = true
    for candidate in fallbackOrder(of: node ?? home(of: process)) where mask.contains(candidate) {
      request.node = candidate
      if let range = try? physical.allocate(request) { return range.start }
    }
    refusedNodes = mask
    return nil
  }

  /// From the node whose turn it is, or another (`alloc_page_interleave`).
  private func allocate(
    _ process: Process, interleavedOn node: NodeID, _ zeroed: Bool, _ owner: FrameOwner
  ) -> FrameNumber? {
    guard let frame = allocate(process, from: node, only: nil, zeroed, owner) else { return nil }
    physical.countInterleaved(frame, on: node)
    return frame
  }

  /// A private page for `address`: the area's policy, else the process's.
  func allocateAnonymous(_ process: Process, _ area: Area, _ address: UInt64, zeroed: Bool) -> FrameNumber? {
    let owner = FrameOwner(.anonymous, id: UInt32(process.pid.rawValue))
    // Mostly nobody has a say in it, and it is there.
    if area.isAnonymous, area.policy == nil, process.policy == nil {
      return takeAnonymous(process, zeroed: zeroed) ?? allocate(process, from: nil, only: nil, zeroed, owner)
    }
    return allocate(
      process, policy(of: area, at: address), index: area.pageIndex(at: address, shift: pageShift), zeroed: zeroed,
      owner: owner)
  }

  /// The same where nobody has a say in where it lies, from the list of the process's CPU; nil, with nothing done, where that has none at hand.
  @inline(__always)
  func takeAnonymous(_ process: Process, zeroed: Bool = true) -> FrameNumber? {
    let owner = FrameOwner(.anonymous, id: UInt32(truncatingIfNeeded: process.pid.rawValue))
    return physical.allocateFromList(
      FrameRequest(cpu: process.cpu, mobility: .movable, zeroed: zeroed, owner: owner))
  }

  /// `__get_vma_policy`: a shared file's own policy, else the area's.
  func policy(of area: Area, at address: UInt64) -> MemoryPolicy? {
    if let file = area.file, file.kind == .sharedMemory {
      return file.policy(of: area.pageIndex(at: address, shift: pageShift))
    }
    return area.policy
  }

  /// Begins the record of a private page that one entry is about to show (`page_add_new_anon_rmap`).
  func beginAnonymous(_ frame: FrameNumber, _ area: Area, index: UInt64) {
    let place = physical.place(of: frame)
    let list = PageList.inactiveAnonymous
    let slot = Int(list.rawValue)
    let link = frame.rawValue + 1
    let node = unsafe lists.place(Int(place.node.rawValue))
    let old = unsafe node.pointee.heads[slot]
    // SAFETY: frames of this machine: those on lists are.
    let record = unsafe records[frame]
    unsafe record.pointee = PageRecord(
      mapCount: 1, references: 1, index: index, flags: [.anonymous, .exclusive],
      node: UInt16(truncatingIfNeeded: place.node.rawValue), zone: place.kind.rawValue, list: list, older: old)
    unsafe record.pointee.owner = area.links.group
    if old != 0 {
      unsafe records[FrameNumber(old &- 1)].pointee.newer = link
    } else {
      unsafe node.pointee.tails[slot] = link
    }
    unsafe node.pointee.heads[slot] = link
    unsafe node.pointee.uses[Int(place.kind.rawValue)].listed[slot] += 1
  }

  /// Keeps a page where it is while somebody works on it and allocates meanwhile; `unpin` ends that.
  func pin(_ frame: FrameNumber) {
    if frame == zeroFrame { return }
    // SAFETY: frames of this machine.
    let record = unsafe records[frame]
    if unsafe record.pointee.references == 0, let head = hugeHead(of: frame) {
      unsafe records[head].pointee.references += 1
    } else {
      unsafe record.pointee.references += 1
    }
  }

  func unpin(_ frame: FrameNumber) {
    if frame != zeroFrame { putPage(frame, cpu: currentCPU) }
  }

  /// Whether an entry shows a page that is counted, moved and dropped like any other (`vm_normal_page`).
  func isOrdinary(_ entry: UserTable.Entry) -> Bool {
    !isZero(entry) && !entry.showsFrames && (entry.level == 0 || poolHead(entry) == nil)
  }

  /// One entry more or less shows a page.
  func countEntry(of frame: FrameNumber, by change: Int) {
    // SAFETY: a frame of this machine.
    let record = unsafe records[frame]
    let old = unsafe record.pointee.mapCount
    let new = UInt32(Int(old) + change)
    unsafe record.pointee.mapCount = new
    if (old == 0) == (new == 0) { return }
    if unsafe !record.pointee.flags.contains(.anonymous) {
      guard let head = hugeHead(of: frame) else { return count(frame) { $0.mapped += change } }
      unsafe records[head].pointee.flags.insert(.hasParts)
      // What an entry shows of it as a whole is mapped as it is.
      if unsafe records[head].pointee.wholeMaps == 0 { count(head) { $0.mapped += change } }
    } else if new == 0, let head = hugeHead(of: frame), unsafe records[head].pointee.wholeMaps == 0 {
      noteUnmapped(head, 1)
    }
  }

  func copyPage(_ source: FrameNumber, to target: FrameNumber) {
    physical.bytes.copy(from: address(source), to: address(target), size: physical.frameSize.bytes)
  }

  /// One holder less, or one who held the page so many times; the frame goes back with the last.
  func putPage(_ frame: FrameNumber, holds: UInt32 = 1, cpu: CPUID) {
    // SAFETY: frames of this machine.
    let record = unsafe records[frame]
    if let head = hugeHead(of: frame) {
      unsafe records[head].pointee.references -= holds
      if unsafe records[head].pointee.references == 0 { freeHuge(head) }
      return
    }
    unsafe record.pointee.references -= holds
    if unsafe record.pointee.references > 0 { return }
    clearDirty(frame)
    if unsafe record.pointee.list == .unevictable { events.unlocked += 1 }
    delist(frame)
    unsafe record.pointee = PageRecord()
    free(frame, cpu: cpu)
  }

  func free(_ frame: FrameNumber, cpu: CPUID) {
    do throws(MemoryError) {
      try physical.free(FrameRange(start: frame, count: FrameCount(1)), cpu: cpu)
    } catch { preconditionFailure("a process's page could not be given back: \(error)") }
  }

  // MARK: Page cache

  /// The page of a file, brought into memory if it is not there; nil where no frame is left. `isNew` tells whether it had to be. `area`: that
  /// of the fault which asks for it; shared memory may get a huge page then.
  func cachePage(_ process: Process, _ file: MemoryFile, _ index: UInt64, for area: Area? = nil) -> (
    frame: FrameNumber, isNew: Bool
  )? {
    if let frame = file.page(index) { return (frame, false) }
    if file.kind == .sharedMemory, let area, isSharedHuge(area, file, index: index),
      cacheHugePage(process, area, file, index), let frame = file.page(index)
    {
      return (frame, true)
    }
    let owner = FrameOwner(.pageCache, id: UInt32(truncatingIfNeeded: file.number))
    let frame: FrameNumber?
    if file.kind == .sharedMemory {
      // `shmem_pseudo_vma_init`: interleaving is shifted by the file's number.
      frame = allocate(process, file.policy(of: index), index: index &+ file.number, zeroed: true, owner: owner)
    } else {
      frame = allocate(process, nil, index: nil, zeroed: true, owner: owner)
    }
    guard let frame else { return nil }
    enterCache(file, index, frame)
    return (frame, true)
  }

  func removeFromCache(_ file: MemoryFile, _ index: UInt64) {
    guard let frame = file.page(index) else { return }
    if let head = hugeHead(of: frame) { return removeHuge(file, head) }
    file.setPage(index, nil)
    clearDirty(frame)
    if file.kind == .sharedMemory { count(frame) { $0.shared -= 1 } }
    if file.countsPages { uncommit(pages: 1) }
    // SAFETY: a frame of this machine.
    unsafe records[frame].pointee.owner = nil
    putPage(frame, cpu: currentCPU)
  }

  /// Takes pages out of a file, and out of every process that maps them (`shmem_fallocate`'s hole, `unmap_mapping_range`).
  func punchHole(_ file: MemoryFile, _ range: Range<UInt64>) {
    for area in file.areas {
      let space = area.space!
      let first = max(range.lowerBound, area.pageOffset)
      let end = min(range.upperBound, area.pageOffset + space.pages(area))
      if first < end {
        let start = area.start + (first - area.pageOffset) << pageShift
        space.zap(area, start, start + (end - first) << pageShift)
      }
    }
    splitHugePages(of: file, cutBy: range)
    for index in file.cachedIndices where range.contains(index) {
      if file.kind != .hugePages {
        removeFromCache(file, index)
      } else {
        // The reservation goes with the page.
        file.reservedPages.remove(index)
        removePoolPage(file, index)
      }
    }
  }

  /// MADV_WILLNEED on a file: its first 128 KiB (VM_READAHEAD_PAGES) are read ahead of their use (`force_page_cache_ra`). Memory of shared
  /// files is there already or is to be zeros.
  func readAhead(_ area: Area, _ start: UInt64, _ end: UInt64, for process: Process) {
    guard let file = area.file, file.kind == .regular else { return }
    var index = area.pageIndex(at: start, shift: pageShift)
    let filePages = (file.size + (1 << pageShift) - 1) >> pageShift
    let last = min(area.pageIndex(at: end, shift: pageShift), filePages, index + max(1, (128 << 10) >> pageShift))
    while index < last, cachePage(process, file, index) != nil { index += 1 }
  }
}

/// A process's tables lie where its policy says, as all does that the kernel allocates on its behalf (`alloc_pages`).
extension UserMemory: TablePlacement {
  private func maker(ofTables owner: UInt32) -> Process? {
    forking ?? processes[ProcessID(Int32(truncatingIfNeeded: owner))]
  }

  public func placesTables(of owner: UInt32) -> Bool { maker(ofTables: owner)?.policy != nil }

  public func placeTable(of owner: UInt32, zeroed: Bool) throws(MemoryError) -> FrameNumber {
    let owned = FrameOwner(.pageTable, id: owner)
    guard let maker = maker(ofTables: owner), let frame = allocate(maker, nil, index: nil, zeroed: zeroed, owner: owned)
    else { throw .outOfMemory(count: FrameCount(1)) }
    return frame
  }
}
