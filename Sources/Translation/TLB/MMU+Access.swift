public import MemoryTypes

extension MMU {
  /// Translates an access as the CPU's hardware does, sets accessed and dirty bits included. `user`: in user mode.
  ///
  /// Pages of users can be read and written in kernel mode, never executed (SMEP, PXN). Traps for a CPU that is not there.
  @inlinable @inline(__always)
  public func access(
    _ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: CPUID
  ) -> AccessResult {
    precondition(UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: cpuCount), "no such CPU")
    // SAFETY: the CPU's number was just checked.
    let front = unsafe fronts + cpu.rawValue
    let raw = address.rawValue
    if unsafe raw <= lastUserAddress && front.pointee.epoch == shared.pointee.epoch {
      let number = raw &>> pageShift
      let word = unsafe front.pointee.find(number, tag: number << 19 | front.pointee.userTag)
      let demand = Demand(kind, user: user)
      if word == 0 { return accessFurther(address, kind, user: user, on: cpu.rawValue, demand) }
      if demand.isMet(by: word) {
        unsafe front.pointee.hits &+= 1
        let mask: UInt64 = 1 &<< pageShift &- 1
        return .success(PhysicalAddress(word & ~mask | raw & mask))
      }
    }
    return accessInGeneral(address, kind, user: user, on: cpu.rawValue)
  }

  /// An access to the users' half that the first-level cache of base pages does not know, by a CPU that has nothing to make up for: served
  /// by the second level, or by a walk of one entry below a cached table entry to a page like the last, or else in a more general way.
  @usableFromInline @inline(never)
  func accessFurther(
    _ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: Int, _ demand: Demand
  ) -> AccessResult {
    // SAFETY: the CPU's number was checked; a cached entry of level 1 leads to a table of ours, the index is within it.
    let front = unsafe fronts + cpu
    let raw = address.rawValue
    let number = raw &>> pageShift
    let tag = unsafe number << 19 | front.pointee.userTag
    let mask: UInt64 = 1 &<< pageShift &- 1
    let second = unsafe front.pointee.findSecond(number, tag: tag)
    if second == 0 {
      let table = raw &>> tableShift
      let pair = unsafe front.pointee.walks + Int(truncatingIfNeeded: (table & front.pointee.walkMask) &<< 1)
      let way = unsafe pair[1]
      // bit 10: a table of ours; bits 0 to 3: something is denied on the way
      if unsafe pair[0] == table << 19 | front.pointee.userWalkTag && way & 0x40F == 0x400 {
        let entries = unsafe (memory + Int(truncatingIfNeeded: way & ~0xFFF)).assumingMemoryBound(to: UInt64.self)
        let entry = unsafe entries[Int(truncatingIfNeeded: number & entryMask)]
        if unsafe entry == 0 && front.pointee.cachedLevels & ~1 == 0 { return refusedPage(.absent, on: cpu) }
        let word = unsafe (entry & leafMask) &<< addressShift | front.pointee.knownFlags
        if unsafe entry & ~leafMask == front.pointee.knownBits && demand.isMet(by: word) {
          unsafe front.pointee.quickWalks &+= 1
          unsafe front.pointee.insertFirst(number, tag: tag, word: word)
          unsafe front.pointee.insertSecond(number, tag: tag, word: word)
          return .success(PhysicalAddress(word & ~mask | raw & mask))
        }
        if unsafe kind == .write && entry & format.writableBit == 0 && front.pointee.cachedLevels & ~1 == 0
          && format.kind(entry, level: 0) == .leaf
        {
          return refusedPage(.permission, on: cpu)
        }
      }
      if unsafe front.pointee.cachedLevels & ~1 == 0 && front.pointee.context != 0 && hasUsualCaches {
        return walkToPage(address, kind, user: user, on: cpu, demand)
      }
    } else if demand.isMet(by: second) {
      unsafe front.pointee.secondHits &+= 1
      unsafe front.pointee.insertFirst(number, tag: tag, word: second)
      return .success(PhysicalAddress(second & ~mask | raw & mask))
    }
    return accessInGeneral(address, kind, user: user, on: cpu)
  }

  /// A user's write that a CPU repeats once its fault has made `entry` for a base page of which it has cached nothing: as `access` would, by the
  /// shortest way where it walks from a cached table entry to one that is like the last. Traps for a CPU that is not there.
  public func repeatWrite(_ address: VirtualAddress, on cpu: CPUID, entry: UInt64) -> PhysicalAddress {
    precondition(UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: cpuCount), "no such CPU")
    // SAFETY: the CPU's number was just checked.
    let front = unsafe fronts + cpu.rawValue
    let raw = address.rawValue
    let table = raw &>> tableShift
    let pair = unsafe front.pointee.walks + Int(truncatingIfNeeded: (table & front.pointee.walkMask) &<< 1)
    let word = unsafe (entry & leafMask) &<< addressShift | front.pointee.knownFlags
    let demand = Demand(.write, user: true)
    let isCommon = unsafe raw <= lastUserAddress && front.pointee.epoch == shared.pointee.epoch
    guard
      unsafe isCommon && pair[0] == table << 19 | front.pointee.userWalkTag && pair[1] & 0x40F == 0x400
        && entry & ~leafMask == front.pointee.knownBits && demand.isMet(by: word)
    else {
      let mayWalk =
        unsafe isCommon && front.pointee.cachedLevels & ~1 == 0 && front.pointee.context != 0 && hasUsualCaches
      let result =
        mayWalk
        ? walkToPage(address, .write, user: true, on: cpu.rawValue, demand)
        : access(address, .write, user: true, on: cpu)
      guard case .success(let physicalAddress) = result else {
        preconditionFailure("an access that its fault has allowed is refused")
      }
      return physicalAddress
    }
    let number = raw &>> pageShift
    let tag = unsafe number << 19 | front.pointee.userTag
    unsafe front.pointee.quickWalks &+= 1
    unsafe front.pointee.insertFirst(number, tag: tag, word: word)
    unsafe front.pointee.insertSecond(number, tag: tag, word: word)
    let mask: UInt64 = 1 &<< pageShift &- 1
    return PhysicalAddress(word & ~mask | raw & mask)
  }

  /// A walk from a cached entry of level 1 to an entry for a base page that is not there, or does not allow it: what `walk` would count,
  /// and answer.
  private func refusedPage(_ reason: TranslationFault.Reason, on cpu: Int) -> AccessResult {
    // SAFETY: the caller has checked the CPU's number.
    let state = unsafe cpus + cpu
    unsafe state.pointee.isActive = true
    unsafe state.pointee.counters.walks &+= 1
    unsafe state.pointee.counters.shortWalks &+= 1
    unsafe state.pointee.counters.references[0] &+= 1
    return fault(reason, 0, on: cpu)
  }

  /// Every access that is not of the common kind.
  @usableFromInline @inline(never)
  func accessInGeneral(_ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: Int) -> AccessResult {
    guard format.isCanonical(address) else { return fault(.notCanonical, format.rootLevel, on: cpu) }
    // SAFETY: the caller has checked the CPU's number; a loaded context is attached.
    let state = unsafe cpus + cpu
    if unsafe state.pointee.front.pointee.epoch != shared.pointee.epoch { catchUp(cpu) }
    let position = format.position(address)
    if !format.isKernel(address) {
      // without a space loaded there is no users' half
      if unsafe state.pointee.context == 0 { return fault(.absent, format.rootLevel, on: cpu) }
      let stamp = unsafe state.pointee.slots[state.pointee.slot].stamp
      let word = unsafe lookup(position, stamp: stamp, state)
      if word == 0 {
        if position == address.rawValue, hasUsualCaches {
          return walkToPage(address, kind, user: user, on: cpu, Demand(kind, user: user))
        }
      } else if let result = allowed(word, kind, user: user, position) {
        return result
      }
    } else {
      var word = unsafe lookup(position, stamp: state.pointee.globalStamp, state)
      if word == 0 { word = unsafe lookup(position, stamp: state.pointee.kernelStamp, state) }
      if word != 0, let result = allowed(word, kind, user: user, position) { return result }
    }
    return walk(address, kind, user: user, on: cpu)
  }

  /// The word of the page that covers a position, from either level of cache; 0 for none.
  @inline(__always)
  private func lookup(_ position: UInt64, stamp: UInt64, _ state: UnsafeMutablePointer<CPUState>) -> UInt64 {
    let base = position &>> format.pageShift
    // SAFETY: `state` is one of `cpus`.
    let found = unsafe state.pointee.first[0].find(base, tag: CPUState.tag(base, stamp: stamp, level: 0))
    if found != 0 {
      unsafe state.pointee.counters.firstHits[0] &+= 1
      return found
    }
    return unsafe lookupFurther(position, stamp: stamp, state)
  }

  @inline(never)
  private func lookupFurther(_ position: UInt64, stamp: UInt64, _ state: UnsafeMutablePointer<CPUState>) -> UInt64 {
    // SAFETY: `state` is one of `cpus`; levels are below 5.
    let levels = unsafe state.pointee.front.pointee.cachedLevels
    for level in 1..<format.levels where levels &>> UInt64(level) & 1 != 0 {
      let number = position &>> format.shifts[level]
      let found = unsafe state.pointee.first[level].find(number, tag: CPUState.tag(number, stamp: stamp, level: level))
      if found != 0 {
        unsafe state.pointee.counters.firstHits[level] &+= 1
        return withOffset(found, position, level)
      }
    }
    for level in 0..<format.levels where levels &>> UInt64(level) & 1 != 0 {
      let number = position &>> format.shifts[level]
      let tag = CPUState.tag(number, stamp: stamp, level: level)
      let found = unsafe state.pointee.second.find(number, tag: tag)
      if found != 0 {
        unsafe state.pointee.counters.secondHits[level] &+= 1
        unsafe state.pointee.first[level].insert(number, tag: tag, word: found)
        return withOffset(found, position, level)
      }
    }
    return 0
  }

  /// A larger page's word, with the address of the base page that is meant.
  @inline(__always) private func withOffset(_ word: UInt64, _ position: UInt64, _ level: Int) -> UInt64 {
    word | position & (1 &<< format.shifts[level] - 1) & ~(1 &<< format.pageShift - 1)
  }

  /// What an entry says to an access: nil where the tables must be asked again, because the page is not marked dirty
  /// yet or does not allow this (the entry may have become more permissive since).
  @inline(__always)
  private func allowed(_ word: UInt64, _ kind: AccessKind, user: Bool, _ position: UInt64) -> AccessResult? {
    if !Demand(kind, user: user).isMet(by: word) { return nil }
    let mask: UInt64 = 1 &<< format.pageShift - 1
    return .success(PhysicalAddress(word & ~mask | position & mask))
  }

  @inline(__always) func permits(_ flags: PageFlags, _ kind: AccessKind, user: Bool) -> Bool {
    if user, !flags.contains(.user) { return false }
    switch kind {
    case .read: return true
    case .write: return flags.contains(.writable)
    case .execute: return flags.contains(.executable) && (user || !flags.contains(.user))
    }
  }

  func fault(_ reason: TranslationFault.Reason, _ level: Int, on cpu: Int) -> AccessResult {
    // SAFETY: callers have checked the CPU's number.
    unsafe cpus[cpu].counters.faults &+= 1
    return .fault(TranslationFault(reason: reason, level: UInt8(level)))
  }
}
