public import MemoryTypes
internal import Translation

extension UserMemory {
  /// Adds all that processes, files and their pages are and have counted, TLBs included; what lies in frames is physical memory's to add.
  ///
  /// - Complexity: O(processes, areas, pages of files, and blocks of 512 frames of which a process or file ever held one).
  public func addState(to digest: inout StateDigest) {
    settle()
    var owners = Owners()
    for file in files.sorted(by: { ($0.number, $0.path) < ($1.number, $1.path) }) { add(file, &owners, to: &digest) }
    for pid in pids { if let process = process(pid) { add(process, &owners, to: &digest) } }
    addPages(owners, to: &digest)
    digest.add([UInt64(lastPID), processesEver, UInt64(pidLimit), threadLimit])
    digest.add([committedPages, totalPages, faultAroundBytes, random.state, UInt64(diskPages), diskCapacity])
    digest.add([
      events.faults, events.majorFaults, events.demandZero, events.copyOnWrite, events.reusedOnWrite,
      events.stackGrowth, events.invalid, events.migrated, events.migrationsFailed, events.outOfMemoryKills,
      events.locked,
      events.unlocked, events.lockedMoved,
    ])
    let counts = reclaimCounts
    digest.add([
      counts.scannedByKswapd, counts.scannedDirectly, counts.stolenByKswapd, counts.stolenDirectly, counts.refilled,
      counts.activated, counts.deactivated, counts.rotated, counts.lazilyFreed, counts.markedLazilyFree, counts.pagedIn,
      counts.pagedOut,
    ])
    digest.add(counts.skipped)
    add(limits, to: &digest)
    addHugePages(to: &digest)
    mmu.addState(to: &digest)
  }

  private func addHugePages(to digest: inout StateDigest) {
    // Settings and counts, in the order of their declaration.
    digest.add("\(transparent) \(hugeEvents) \(hugePoolEvents)")
    digest.add([hugeZero?.start.rawValue ?? 0, UInt64(hugeZeroUsers), collapseCursor.address])
    digest.add(Int(collapseCursor.pid.rawValue))
    for (head, parts) in unmappedParts.sorted(by: { $0.key < $1.key }) { digest.add([head.rawValue, UInt64(parts)]) }
    digest.add(splitQueue.map(\.rawValue))
    digest.add(filesWithTails.map(\.number))
    hugePools.addState(to: &digest)
  }

  /// Numbers for what pages belong to, in the order in which the walk comes to them.
  private struct Owners {
    var numbers: [ObjectIdentifier: Int] = [:]
    mutating func number(_ owner: PageOwner) -> Int {
      let next = numbers.count + 1
      if let known = numbers[ObjectIdentifier(owner)] { return known }
      numbers[ObjectIdentifier(owner)] = next
      return next
    }
  }

  private func add(_ process: Process, _ owners: inout Owners, to digest: inout StateDigest) {
    digest.add(process.name)
    digest.add([
      Int(process.pid.rawValue), Int(process.parent.rawValue), process.cpu.rawValue, process.lastInterleaved,
      process.oomScoreAdjustment,
    ])
    digest.add(process.allowedCPUs.map(\.rawValue))
    digest.add([process.minorFaults, process.majorFaults, process.kernelStack.rawValue])
    add(process.policy, to: &digest)
    let space = process.space
    digest.add([
      space.breakEnd, space.layout.heapStart, space.layout.mapBase, space.layout.stackTop, space.layout.stackLimit,
      space.defaultFlags.rawValue, space.pageTable.rootFrame.rawValue,
    ])
    let counts = space.counts
    digest.add([
      counts.total, counts.data, counts.executable, counts.stack, counts.locked, counts.anonymousResident,
      counts.fileResident, counts.sharedResident, counts.hugeTLB, counts.highestTotal, counts.highestResident,
    ])
    digest.add([space.hugeEntries, space.holdsHugeZero ? 1 : 0])
    space.forEachArea { area in
      digest.add([area.start, area.end, area.flags.rawValue, area.pageOffset, area.file?.number ?? 0])
      add(area.policy, to: &digest)
      digest.add([area.pageLevel, area.hasLostPages ? 1 : 0])
      digest.add(area.reserves?.used.sorted() ?? [])
      for group in area.links.chain { digest.add([owners.number(group), group.activeAreas, group.children]) }
      digest.add(area.links.group.map { owners.number($0) } ?? 0)
    }
  }

  private func add(_ policy: MemoryPolicy?, to digest: inout StateDigest) {
    guard let policy else { return digest.add(0) }
    digest.add([policy.mode.rawValue + 1, policy.flags.rawValue])
    digest.add(policy.nodes.words)
    digest.add(policy.userNodes?.words ?? [])
  }

  private func add(_ file: MemoryFile, _ owners: inout Owners, to digest: inout StateDigest) {
    digest.add(file.path)
    digest.add([file.number, file.size, UInt64(file.users), UInt64(owners.number(file))])
    digest.add(file.reservedPages.sorted())
    for index in file.cachedIndices { digest.add([index, file.page(index)?.rawValue ?? 0]) }
    for (index, bytes) in file.disk.sorted(by: { $0.key < $1.key }) {
      digest.add(index)
      for byte in bytes { digest.add(UInt64(byte)) }
    }
    for (index, shadow) in file.shadows.sorted(by: { $0.key < $1.key }) {
      digest.add([index, UInt64(shadow.node), shadow.age, shadow.wasWorking ? 1 : 0])
    }
    for (pages, policy) in file.policies {
      digest.add([pages.lowerBound, pages.upperBound])
      add(policy, to: &digest)
    }
  }

  /// The files that somebody holds: those with disks, and what areas show.
  private var files: [MemoryFile] {
    var found: [ObjectIdentifier: MemoryFile] = [:]
    for file in regularFiles { found[ObjectIdentifier(file)] = file }
    for pid in pids {
      process(pid)?.space.forEachArea { area in if let file = area.file { found[ObjectIdentifier(file)] = file } }
    }
    return Array(found.values)
  }

  private func addPages(_ owners: Owners, to digest: inout StateDigest) {
    records.forEachInUse { frame, record in
      let owner = unsafe record.owner.map { owners.numbers[ObjectIdentifier($0)] ?? 0 } ?? -1
      digest.add([
        frame, UInt64(record.mapCount), UInt64(record.references), UInt64(record.wholeMaps), record.index,
        UInt64(record.flags.rawValue),
        UInt64(record.list.rawValue), record.newer, record.older,
      ])
      digest.add(owner)
    }
    for index in lists.indices {
      let node = lists[index]
      for list in 0..<6 { digest.add([node.heads[list], node.tails[list]]) }
      let events = node.events
      digest.add([
        node.age, events.refaults, events.refaultsActivated, events.refaultsRestored, events.dirtied, events.written,
        events.writtenByReclaim,
      ])
    }
  }

  private func add(_ limits: Limits, to digest: inout StateDigest) {
    digest.add([
      UInt64(limits.mapCount), limits.lowestAddress, UInt64(limits.overcommit.rawValue),
      UInt64(bitPattern: Int64(limits.overcommitRatio)), limits.overcommitKilobytes, limits.adminReserveKilobytes,
      limits.userReserveKilobytes, limits.addressSpace, limits.data, limits.lockedMemory, limits.stackGuardGap,
      limits.isPrivileged ? 1 : 0,
    ])
  }
}
