public import MemoryTypes

extension MMU {
  /// Translates an access as the CPU's hardware does, sets accessed and dirty bits included. `user`: in user mode.
  ///
  /// Pages of users can be read and written in kernel mode, never executed (SMEP, PXN). Traps for a CPU that is not there.
  public func access(
    _ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: CPUID
  ) -> AccessResult {
    precondition(cpu.rawValue >= 0 && cpu.rawValue < cpuCount, "no such CPU")
    guard format.isCanonical(address) else { return fault(.notCanonical, format.rootLevel, on: cpu.rawValue) }
    // SAFETY: the CPU's number was just checked; a loaded context is attached.
    let state = unsafe cpus + cpu.rawValue
    catchUp(cpu.rawValue)
    let position = format.position(address)
    if !format.isKernel(address) {
      // without a space loaded there is no users' half
      if unsafe state.pointee.context == 0 { return fault(.absent, format.rootLevel, on: cpu.rawValue) }
      let stamp = unsafe state.pointee.slots[state.pointee.slot].stamp
      let word = unsafe lookup(position, stamp: stamp, state)
      if word != 0, let result = allowed(word, kind, user: user, position) { return result }
    } else {
      var word = unsafe lookup(position, stamp: state.pointee.globalStamp, state)
      if word == 0 { word = unsafe lookup(position, stamp: state.pointee.kernelStamp, state) }
      if word != 0, let result = allowed(word, kind, user: user, position) { return result }
    }
    return walk(address, kind, user: user, on: cpu.rawValue)
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
    let levels = unsafe state.pointee.cachedLevels
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
    let flags = PageFlags(rawValue: UInt16(truncatingIfNeeded: word & 0x7FF))
    guard permits(flags, kind, user: user), kind != .write || flags.contains(.dirty) else { return nil }
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
