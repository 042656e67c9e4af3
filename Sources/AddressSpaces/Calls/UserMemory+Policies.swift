internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// mbind, set_mempolicy, get_mempolicy, migrate_pages, move_pages, sched_setaffinity (mm/mempolicy.c, mm/migrate.c).
extension UserMemory {
  /// `get_nodes`: a mask of which `maxNode - 1` bits count.
  private func nodes(_ words: [UInt64]?, maxNode: UInt64) throws(CallError) -> NodeMask {
    let bits = maxNode &- 1
    guard let words, bits != 0 else { return NodeMask() }
    if bits > 4096 * 8 { throw .invalid }
    var kept: [UInt64] = []
    for (index, word) in words.enumerated() {
      let first = UInt64(index) * 64
      if first >= bits { break }
      let mask = bits - first >= 64 ? UInt64.max : 1 << (bits - first) - 1
      if first >= UInt64(NodeMask.capacity), word & mask != 0 { throw .invalid }
      kept.append(word & mask)
    }
    return NodeMask(words: kept)
  }

  public func setPolicy(_ process: Process, mode raw: UInt64, mask: [UInt64]?, maxNode: UInt64) throws(CallError) {
    let (mode, flags) = try MemoryPolicy.parse(raw)
    let asked = try nodes(mask, maxNode: maxNode)
    process.policy = try MemoryPolicy.make(mode, flags, asked: asked, withMemory: nodesWithMemory)
    if process.policy?.mode == .interleave { process.lastInterleaved = NodeMask.capacity - 1 }
  }

  /// The mode, with its flags, and the nodes' words.
  public func policy(_ process: Process, at address: UInt64, flags raw: UInt64) throws(CallError) -> (
    mode: UInt64, nodes: NodeMask
  ) {
    let query = PolicyQuery(rawValue: raw)
    if !query.isSubset(of: [.node, .address, .allowed]) { throw .invalid }
    if query.contains(.allowed) {
      if query != .allowed { throw .invalid }
      return (0, nodesWithMemory)
    }
    var policy = process.policy
    if query.contains(.address) {
      guard let area = process.space.areas.area(at: address) else { throw .badAddress }
      policy = self.policy(of: area, at: address)
    } else if address != 0 {
      throw .invalid
    }
    let nodes = policy?.userNodes ?? policy?.nodes ?? NodeMask()
    if query.contains(.node) {
      if query.contains(.address) {
        let page = process.space.roundedDown(address)
        guard let area = process.space.areas.area(at: address), area.flags.contains(.read),
          case .done = process.space.faultIn(process, area, page, write: false, force: false),
          let entry = process.space.table.entry(at: page)
        else { throw .badAddress }
        return (UInt64(node(of: entry.frame).rawValue), nodes)
      }
      guard let policy, policy.mode == .interleave, let next = policy.nodes.next(behind: process.lastInterleaved) else {
        throw .invalid
      }
      return (UInt64(next.rawValue), nodes)
    }
    return ((policy?.mode.rawValue ?? 0) | (policy?.flags.rawValue ?? 0), nodes)
  }

  /// `do_mbind`.
  public func bind(
    _ process: Process, _ start: UInt64, _ askedLength: UInt64, mode raw: UInt64, mask: [UInt64]?, maxNode: UInt64,
    flags rawFlags: UInt64
  ) throws(CallError) {
    currentCPU = process.cpu
    let space = process.space
    let (mode, modeFlags) = try MemoryPolicy.parse(raw)
    let asked = try nodes(mask, maxNode: maxNode)
    var flags = MoveFlags(rawValue: UInt64(UInt32(truncatingIfNeeded: rawFlags)))
    if !flags.isSubset(of: .all) { throw .invalid }
    if flags.contains(.moveAll), !limits.isPrivileged { throw .notPermitted }
    if !space.isAligned(start) { throw .invalid }
    if mode == .default { flags.remove(.strict) }
    let end = start &+ space.roundedUp(askedLength)
    if end < start { throw .invalid }
    if end == start { return }
    let policy = try MemoryPolicy.make(mode, modeFlags, asked: asked, withMemory: nodesWithMemory)
    let (misplaced, hasUnmovable) = try findMisplaced(space, start, end, asked, flags, allowsHoles: policy == nil)

    var previous: Area?
    var next = space.areas.first(endingAbove: start)
    if let area = next { previous = space.areas.before(area) }
    while let area = next, area.start < end {
      let oldEnd = area.end
      if start > area.start { previous = area }
      if area.policy != policy {
        let (target, _) = try space.isolate(
          area, previous: previous, max(start, area.start), min(end, area.end), flags: area.flags, policy: policy)
        setPolicy(policy, of: target, in: space)
        previous = target
      } else {
        previous = area
      }
      next = space.areas.first(endingAbove: oldEnd)
    }
    var failed = 0
    for (address, frame, owner, pageIndex) in misplaced {
      // SAFETY: a frame of this machine.
      let record = unsafe records[frame].pointee
      // The frame found for a page before this one may have moved this one, or reclaimed it.
      guard unsafe record.owner === owner, record.index == pageIndex,
        let (area, address) = place(of: owner, pageIndex, size(of: record), shownAt: address, in: space, from: start)
      else { continue }
      let index = area.pageIndex(at: address, shift: pageShift)
      if area.flags.contains(.hugeTLB) {
        let nodes = nodesForHugePage(process, area, address, format.pageSize(level: area.pageLevel))
        if !migratePoolPage(frame, area.pageLevel, to: nodes) { failed += 1 }
        continue
      }
      let moved = migrate(frame) { isHuge in
        isHuge
          ? allocateHuge(
            process, area, address, zeroed: false, wakes: true, reclaims: true, owner: self.owner(of: frame))?.start
          : allocate(
            process, self.policy(of: area, at: address), index: index, zeroed: false, owner: self.owner(of: frame))
      }
      if !moved { failed += 1 }
    }
    if hasUnmovable || failed > 0 && flags.contains(.strict) { throw .io }
  }

  /// Where a page that is about to move wants to lie: by the first area from `start` on that has room for a part of it (`new_page`,
  /// `page_address_in_vma`). Of a file's page no entry need be left there; of private memory it is the area at the page's address.
  private func place(
    of owner: PageOwner?, _ index: UInt64, _ size: Int, shownAt address: UInt64, in space: AddressSpace,
    from start: UInt64
  ) -> (Area, UInt64)? {
    guard let file = owner as? MemoryFile, file.kind == .sharedMemory else {
      return space.areas.area(at: max(address, start)).map { ($0, max(address, $0.start)) }
    }
    var next = space.areas.first(endingAbove: start)
    while let area = next {
      let first = max(index, area.pageOffset)
      if area.file === file, first < index + UInt64(size), first - area.pageOffset < space.pages(area) {
        return (area, area.start + (first - area.pageOffset) << pageShift)
      }
      next = space.areas.after(area)
    }
    return nil
  }

  /// `vma_replace_policy`: shared memory keeps its policies with the file.
  private func setPolicy(_ policy: MemoryPolicy?, of area: Area, in space: AddressSpace) {
    if let file = area.file, file.kind == .sharedMemory {
      file.setPolicy(policy, over: area.pageOffset..<area.pageOffset + space.pages(area))
    }
    area.policy = policy
  }

  /// `queue_pages_range`: the pages in the range that do not lie on `mask`'s nodes, each where it was met first and with what it is a page of,
  /// and whether STRICT met one again that is to be moved already, which Linux takes for one that cannot be. EFAULT where there are holes, unless
  /// such a page was met before; EIO where STRICT alone finds a page.
  private func findMisplaced(
    _ space: AddressSpace, _ start: UInt64, _ end: UInt64, _ mask: NodeMask, _ flags: MoveFlags, allowsHoles: Bool
  ) throws(CallError) -> (
    pages: [(address: UInt64, frame: FrameNumber, owner: PageOwner?, index: UInt64)], hasUnmovable: Bool
  ) {
    var result: [(UInt64, FrameNumber, PageOwner?, UInt64)] = []
    var seen: Set<FrameNumber> = []
    var hasUnmovable = false
    guard var area = space.areas.first(overlapping: start, end) else { throw .badAddress }
    if !allowsHoles, start < area.start { throw .badAddress }
    while true {
      let next = space.areas.after(area)
      if !allowsHoles, area.end < end, next?.start != area.end {
        if hasUnmovable { return (result, true) }
        throw .badAddress
      }
      if !flags.isEmpty {
        var strictlyMisplaced = false
        space.table.forEach(max(start, area.start), min(end, area.end)) { address, entry in
          if !isOrdinary(entry) && poolHead(entry) == nil || mask.contains(node(of: entry.frame)) { return }
          if flags.isDisjoint(with: [.move, .moveAll]) {
            strictlyMisplaced = true
            return
          }
          let page = poolHead(entry) ?? head(of: entry.frame)
          guard flags.contains(.moveAll) || mapCount(of: page) == 1 else { return }
          if !seen.insert(page).inserted {
            if flags.contains(.strict) { hasUnmovable = true }
            return
          }
          // SAFETY: a frame of this machine.
          let record = unsafe records[page].pointee
          unsafe result.append((address, page, record.owner, record.index))
        }
        if strictlyMisplaced { throw .io }
      }
      guard let next, next.start < end else { return (result, hasUnmovable) }
      area = next
    }
  }

  // MARK: Moving pages

  /// The process that a call names: 0 is the caller.
  private func named(_ pid: UInt64, by caller: Process) throws(CallError) -> Process {
    let pid = Int32(truncatingIfNeeded: pid)
    guard let process = pid == 0 ? caller : process(ProcessID(pid)) else { throw .noSuchProcess }
    return process
  }

  /// Moves a process's pages from nodes to nodes (`do_migrate_pages`); how many could not be moved. `pid`: 0 is the caller.
  public func migratePages(_ caller: Process, of pid: UInt64, maxNode: UInt64, from old: [UInt64]?, to new: [UInt64]?)
    throws(CallError) -> UInt64
  {
    currentCPU = caller.cpu
    let from = try nodes(old, maxNode: maxNode)
    let asked = try nodes(new, maxNode: maxNode)
    let process = try named(pid, by: caller)
    let to = asked.intersection(nodesWithMemory)
    if to.isEmpty { throw .invalid }
    var left = from
    var busy: UInt64 = 0
    while !left.isEmpty {
      var pair: (source: NodeID, target: NodeID)?
      for source in left.nodes {
        if from.count != to.count, to.contains(source) { continue }
        let target = remap(source, from, to)
        if target == source { continue }
        pair = (source, target)
        if !left.contains(target) { break }
      }
      guard let pair else { break }
      left.remove(pair.source)
      busy += moveAll(of: process, from: pair.source, to: pair.target)
    }
    return busy
  }

  /// `node_remap`: the node at the same place of the other mask.
  private func remap(_ node: NodeID, _ old: NodeMask, _ new: NodeMask) -> NodeID {
    guard let place = old.nodes.firstIndex(of: node), !new.isEmpty else { return node }
    return new.nodes[place % new.count]
  }

  /// A frame of the node's, or the first of a huge page's (`alloc_migration_target`).
  private func allocate(_ process: Process, on node: NodeID, isHuge: Bool, _ owner: FrameOwner) -> FrameNumber? {
    let mask = NodeMask([node])
    if !isHuge { return allocate(process, from: node, only: mask, false, owner) }
    return allocateHuge(process, from: node, only: mask, false, owner, wakes: true, reclaims: true)?.start
  }

  private func moveAll(of process: Process, from source: NodeID, to target: NodeID) -> UInt64 {
    let table = process.space.table
    var found: [UInt64] = []
    process.space.areas.forEach { area in
      table.forEach(area.start, area.end) { address, entry in
        if isOrdinary(entry) || poolHead(entry) != nil, node(of: entry.frame) == source { found.append(address) }
      }
    }
    var failed: UInt64 = 0
    for address in found {
      guard let entry = table.entry(at: address), node(of: entry.frame) == source else { continue }
      let frame = entry.frame
      if poolHead(entry) != nil {
        if !migratePoolPage(frame, entry.level, to: [target]) { failed += 1 }
        continue
      }
      let moved = migrate(frame) { allocate(process, on: target, isHuge: $0, owner(of: frame)) }
      if !moved { failed += 1 }
    }
    return failed
  }

  /// move_pages(2) with a node for each page; nil asks where they are. Each page's status: its node or a negative errno. `pid`: 0 is the caller.
  public func movePages(
    _ caller: Process, of pid: UInt64, at addresses: [UInt64], to nodes: [Int]?, flags rawFlags: UInt64
  ) throws(CallError) -> [Int32] {
    currentCPU = caller.cpu
    let flags = MoveFlags(rawValue: UInt64(UInt32(truncatingIfNeeded: rawFlags)))
    if !flags.isSubset(of: [.move, .moveAll]) { throw .invalid }
    if flags.contains(.moveAll), !limits.isPrivileged { throw .notPermitted }
    let process = try named(pid, by: caller)
    let space = process.space
    var status: [Int32] = []
    // Pages are moved when one that does not move, or moves elsewhere, ends their row (`move_pages_and_store_status`): until then each can be
    // met once.
    var row: [(address: UInt64, page: FrameNumber)] = []
    var target = 0
    func moveRow() throws(CallError) {
      defer { row = [] }
      for (address, page) in row {
        // Those before it may have moved it, or reclaimed it.
        guard let entry = space.table.entry(at: address), poolHead(entry) ?? head(of: entry.frame) == page else {
          continue
        }
        if poolHead(entry) != nil {
          if !migratePoolPage(page, entry.level, to: [NodeID(target)]) { throw .outOfMemory }
          continue
        }
        let isMoved = migrate(page) { allocate(process, on: NodeID(target), isHuge: $0, owner(of: page)) }
        if !isMoved { throw .outOfMemory }
      }
    }
    for (index, rawAddress) in addresses.enumerated() {
      let address = space.roundedDown(rawAddress)
      let node = nodes?[index]
      if let node {
        guard node >= 0, node < NodeMask.capacity, nodesWithMemory.contains(NodeID(node)) else {
          // What is to be moved before it is (`out_flush`).
          try moveRow()
          throw .noDevice
        }
        if node != target { try moveRow() }
        target = node
      }
      do throws(CallError) {
        let frame = try frameToMove(process, rawAddress)
        let current = self.node(of: frame)
        guard let node, NodeID(node) != current else {
          status.append(Int32(current.rawValue))
          try moveRow()
          continue
        }
        if mapCount(of: frame) > 1, !flags.contains(.moveAll) { throw .accessDenied }
        // A page of a pool is moved by its first part alone (`add_page_for_migration`).
        if let entry = space.table.entry(at: address), let head = poolHead(entry), head != entry.frame {
          throw .accessDenied
        }
        if row.contains(where: { $0.page == head(of: frame) }) { throw .busy }
        row.append((address, head(of: frame)))
        status.append(Int32(node))
      } catch {
        if error == .outOfMemory { throw error }
        status.append(-error.rawValue)
        try moveRow()
      }
    }
    try moveRow()
    return status
  }

  /// The frame that an address shows, if it is a page that can be moved. FOLL_DUMP: no page where there could be one, and zeros, are bad
  /// addresses; a page that a file may have is absent, and so is one that the process may not see (`no_page_table`, `follow_page_pte`).
  private func frameToMove(_ process: Process, _ address: UInt64) throws(CallError) -> FrameNumber {
    let space = process.space
    guard let area = space.areas.area(at: address) else { throw .badAddress }
    guard let entry = space.table.entry(at: space.roundedDown(address)) else {
      throw area.isAnonymous ? .badAddress : .noEntry
    }
    guard entry.flags.contains(.present) else { throw .noEntry }
    if let head = poolHead(entry) {
      // Other parts than the first are met, and cannot be moved.
      return head
    }
    guard isOrdinary(entry) else { throw .badAddress }
    return entry.frame
  }

  /// sched_setaffinity(2): the process stays where it is if it may, else goes to the first CPU it may run on.
  /// `pid`: 0 is the caller.
  public func setAffinity(_ caller: Process, of pid: UInt64, mask: [UInt64]?, length: UInt64) throws(CallError) {
    guard let mask else { throw .badAddress }
    let process = try named(pid, by: caller)
    let length = UInt64(UInt32(truncatingIfNeeded: length))
    var allowed: [CPUID] = []
    for cpu in homeNodes.keys.sorted() {
      let word = cpu.rawValue / 64
      guard word < mask.count, UInt64(cpu.rawValue / 8) < length else { continue }
      if mask[word] >> UInt64(cpu.rawValue % 64) & 1 != 0 { allowed.append(cpu) }
    }
    guard let first = allowed.first else { throw .invalid }
    process.allowedCPUs = allowed
    if !allowed.contains(process.cpu) { process.cpu = first }
  }
}
