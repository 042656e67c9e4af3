import MemoryTypes

extension MMU {
  /// Walks the tables for an access that no cache has served, from the lowest table entry that is cached.
  @inline(never)
  func walk(_ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: Int) -> AccessResult {
    // SAFETY: callers have checked the CPU's number; a loaded context is attached; every table followed here lies below the
    // end of memory; levels are below 5.
    let state = unsafe cpus + cpu
    let isKernel = format.isKernel(address)
    let position = format.position(address)
    let context = unsafe state.pointee.context
    let slot = unsafe state.pointee.slot
    let walkStamp = unsafe isKernel ? state.pointee.kernelWalkStamp : state.pointee.front.pointee.userWalkTag >> 3
    unsafe state.pointee.isActive = true
    unsafe state.pointee.counters.walks &+= 1
    var level = format.rootLevel
    var table: UInt64 = 0
    // what table entries on the way deny, as bits of `PageFormat.denies...`
    var denied: UInt64 = 0
    var found = false
    for upper in 1..<format.levels {
      let number = position &>> format.shifts[upper]
      let word = unsafe state.pointee.walks[upper].find(
        number, tag: CPUState.tag(number, stamp: walkStamp, level: upper))
      if word != 0 {
        level = upper - 1
        table = (word & Self.walkFrameMask) &>> format.pageShift
        denied = unpackDenied(word)
        unsafe state.pointee.counters.shortWalks &+= 1
        found = true
        break
      }
    }
    if !found {
      table = unsafe contexts[context].table?._withUnsafeGuaranteedRef { $0.root(of: address) } ?? 0
    }
    while true {
      let index = format.index(position, level: level)
      let raw = frames.load(table, index)
      unsafe state.pointee.counters.references[level] &+= 1
      switch format.kind(raw, level: level) {
      case .absent: return fault(.absent, level, on: cpu)
      case .held: return fault(.held, level, on: cpu)
      case .reserved: return fault(.reserved, level, on: cpu)
      case .table:
        let next = format.tableAddress(raw)
        guard next.rawValue < frames.size.rawValue else { return fault(.noMemory, level, on: cpu) }
        if format.restrictingLevels &>> UInt64(level) & 1 != 0 { denied |= raw ^ format.deniesFlip }
        let used = raw | format.tableAccessedBits[level]
        if used != raw { mark(table, index, used) }
        let number = position &>> format.shifts[level]
        let ours: UInt64 = frames.isTable(next.rawValue &>> format.pageShift) ? 1 << 10 : 0
        unsafe state.pointee.walks[level].put(
          number, tag: CPUState.tag(number, stamp: walkStamp, level: level),
          word: next.rawValue & Self.walkFrameMask | ours | packDenied(denied))
        table = next.rawValue &>> format.pageShift
        level -= 1
      case .leaf:
        var flags = format.flags(raw)
        let own = flags
        let executeBit = flags.contains(.user) ? format.deniesUserExecuteBit : format.deniesKernelExecuteBit
        if denied & format.deniesWriteBit != 0 { flags.remove(.writable) }
        if denied & executeBit != 0 { flags.remove(.executable) }
        if denied & format.deniesUserBit != 0 { flags.remove(.user) }
        let isUnrestricted = flags == own
        guard permits(flags, kind, user: user) else {
          if found, denied != 0 {
            // What was cached of the way may have come to allow more since: a fault drops it (Intel SDM vol. 3, 4.10.4.1).
            unsafe forgetWay(position: position, stamp: walkStamp, state)
            return walk(address, kind, user: user, on: cpu)
          }
          return fault(.permission, level, on: cpu)
        }
        var used = raw | format.accessedBit
        flags.insert(.accessed)
        if kind == .write {
          used = (used | format.dirtySets) & ~format.dirtyClears
          flags.insert(.dirty)
        }
        if used != raw {
          mark(table, index, used)
          if level == format.rootLevel, isKernel { kernelRootUsed(address, used, in: table) }
        }
        let start = format.leafAddress(raw, level: level).rawValue
        let stamp: UInt64
        if isKernel {
          stamp = unsafe flags.contains(.global) ? state.pointee.globalStamp : state.pointee.kernelStamp
        } else {
          stamp = unsafe state.pointee.slots[slot].stamp
        }
        let number = position &>> format.shifts[level]
        let tag = CPUState.tag(number, stamp: stamp, level: level)
        let word = start | UInt64(flags.rawValue)
        unsafe state.pointee.first[level].put(number, tag: tag, word: word)
        unsafe state.pointee.second.put(number, tag: tag, word: word)
        if level == 0, isUnrestricted {
          unsafe state.pointee.front.pointee.knownBits = used & ~format.leafAddressMasks[0]
          unsafe state.pointee.front.pointee.knownFlags = UInt64(flags.rawValue)
        }
        unsafe state.pointee.front.pointee.cachedLevels |= 1 << UInt64(level)
        return .success(PhysicalAddress(start | position & (1 &<< format.shifts[level] - 1)))
      }
    }
  }

  /// Drops the table entries that are cached of the way to a position.
  func forgetWay(position: UInt64, stamp: UInt64, _ state: UnsafeMutablePointer<CPUState>) {
    for upper in 1..<format.levels {
      let number = position &>> format.shifts[upper]
      // SAFETY: `state` is one of `cpus`; levels are below 5.
      unsafe state.pointee.walks[upper].remove(number, tag: CPUState.tag(number, stamp: stamp, level: upper))
    }
  }

  /// Writes accessed and dirty bits back. What is no table of ours is left as it is: nobody would know whose data it were.
  @inline(__always) private func mark(_ table: UInt64, _ index: Int, _ raw: UInt64) {
    // SAFETY: a table of ours is memory, and an index is below its entries.
    if frames.isTable(table) { unsafe frames.entries(table)[index] = raw }
  }

  /// A large page in a root entry was used through a copy of it: the kernel's own entry, from which copies are made,
  /// learns of it.
  private func kernelRootUsed(_ address: VirtualAddress, _ raw: UInt64, in table: UInt64) {
    let own = kernel.rootFrame.rawValue
    if table == own { return }
    // SAFETY: the kernel's root is a table of ours, the index within it.
    unsafe frames.entries(own)[format.index(format.position(address), level: format.rootLevel)] = raw
  }

  // A cached table entry: the table's address, bit 11 always, bit 10 where the table is ours, and in bits 0 to 3 what is denied on the way to it.
  static var walkFrameMask: UInt64 { ~0xFFF }

  @inline(__always) private func packDenied(_ denied: UInt64) -> UInt64 {
    var bits: UInt64 = 1 << 11
    if denied & format.deniesWriteBit != 0 { bits |= 1 }
    if denied & format.deniesUserBit != 0 { bits |= 2 }
    if denied & format.deniesUserExecuteBit != 0 { bits |= 4 }
    if denied & format.deniesKernelExecuteBit != 0 { bits |= 8 }
    return bits
  }

  @inline(__always) private func unpackDenied(_ word: UInt64) -> UInt64 {
    if word & 15 == 0 { return 0 }
    var denied: UInt64 = 0
    if word & 1 != 0 { denied |= format.deniesWriteBit }
    if word & 2 != 0 { denied |= format.deniesUserBit }
    if word & 4 != 0 { denied |= format.deniesUserExecuteBit }
    if word & 8 != 0 { denied |= format.deniesKernelExecuteBit }
    return denied
  }
}
