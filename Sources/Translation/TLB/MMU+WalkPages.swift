import MemoryTypes

extension MMU {
  /// What a walk by the common way needs to know of a level: that of the pages first.
  @safe struct WalkLevel {
    /// log2 of what an entry covers.
    var shift: UInt64
    var indexMask: UInt64
    /// An entry of which these bits are `pattern` leads to a table, denies nothing, and has no bit to be set. Without meaning for pages.
    var mask: UInt64
    var pattern: UInt64

    init(_ format: PageFormat, level: Int) {
      shift = format.shifts[level]
      indexMask = format.indexMasks[level]
      let leaf = format.leafMasks[level]
      let accessed = format.tableAccessedBits[level]
      var denials: UInt64 = 0
      if format.restrictingLevels &>> UInt64(level) & 1 != 0 {
        denials =
          format.deniesWriteBit | format.deniesUserBit | format.deniesUserExecuteBit | format.deniesKernelExecuteBit
      }
      mask = format.presentBit | leaf | format.reservedInTable[level] | accessed | denials
      pattern = format.presentBit | format.leafFlips[level] & leaf | accessed | format.deniesFlip & denials
    }
  }

  /// `walk`, for an access to the users' half of which no cache knows anything: by a way that is made for tables which deny nothing and
  /// have been used before, down to a base page. What it meets besides is left to `walk`, with nothing done.
  ///
  /// The CPU has a space loaded and nothing to make up for, and the usual caches.
  @inline(never)
  func walkToPage(
    _ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: Int, _ demand: Demand
  ) -> AccessResult {
    // SAFETY: callers have checked the CPU's number; a loaded context is attached; levels are below those of the format; a table of ours is
    // memory, and a masked index is within it.
    let front = unsafe fronts + cpu
    let raw = address.rawValue
    let levels = unsafe walkLevels
    let rootLevel = format.rootLevel
    // the level of the table at which the walk begins: below the lowest entry that is cached
    var top = 0
    var table: UInt64 = 0
    // where entries of each level are cached, and under which tag
    var pairs = unsafe InlineArray<5, UnsafeMutablePointer<UInt64>>(repeating: front.pointee.walks)
    var tags = InlineArray<5, UInt64>(repeating: 0)
    while true {
      if top == rootLevel {
        table = unsafe contexts[front.pointee.context].table?._withUnsafeGuaranteedRef { $0.rootFrame.rawValue } ?? 0
        break
      }
      let number = unsafe raw &>> levels[top &+ 1].shift
      let pair = unsafe walkPair(front, number, level: top &+ 1)
      let tag = unsafe number << 19 | front.pointee.userWalkTag &+ UInt64(truncatingIfNeeded: top)
      if unsafe pair[0] == tag {
        let word = unsafe pair[1]
        if word & 0x40F != 0x400 { return walk(address, kind, user: user, on: cpu) }
        table = (word & Self.walkFrameMask) &>> pageShift
        break
      }
      top &+= 1
      unsafe pairs[unchecked: top] = pair
      unsafe tags[unchecked: top] = tag
    }
    if !frames.isTable(table) { return walk(address, kind, user: user, on: cpu) }
    // First down to the page's table, without a trace.
    var nexts = InlineArray<5, UInt64>(repeating: 0)
    var level = top
    while level > 0 {
      let step = unsafe levels[level]
      let entry = unsafe frames.entries(table)[Int(truncatingIfNeeded: raw &>> step.shift & step.indexMask)]
      if entry & step.mask != step.pattern { return walk(address, kind, user: user, on: cpu) }
      table = format.tableAddress(entry).rawValue &>> pageShift
      if !frames.isTable(table) { return walk(address, kind, user: user, on: cpu) }
      unsafe nexts[unchecked: level] = table
      level &-= 1
    }
    // What is true of the walk whatever the page's entry says.
    let state = unsafe cpus + cpu
    unsafe state.pointee.isActive = true
    unsafe state.pointee.counters.walks &+= 1
    unsafe state.pointee.counters.shortWalks &+= top == rootLevel ? 0 : 1
    unsafe state.pointee.counters.references[0] &+= 1
    level = top
    while level > 0 {
      let pair = unsafe pairs[unchecked: level]
      unsafe pair[0] = tags[unchecked: level]
      unsafe pair[1] = (nexts[unchecked: level] &<< pageShift) & Self.walkFrameMask | 0xC00
      unsafe state.pointee.counters.references[unchecked: level] &+= 1
      level &-= 1
    }
    let number = raw &>> pageShift
    let place = unsafe frames.entries(table) + Int(truncatingIfNeeded: number & entryMask)
    let entry = unsafe place.pointee
    var word = unsafe (entry & leafMask) &<< addressShift | front.pointee.knownFlags
    if unsafe entry & ~leafMask != front.pointee.knownBits || !demand.isMet(by: word) {
      switch format.kind(entry, level: 0) {
      case .leaf: break
      case .absent: return fault(.absent, 0, on: cpu)
      case .held: return fault(.held, 0, on: cpu)
      case .reserved, .table: return fault(.reserved, 0, on: cpu)
      }
      var flags = format.flags(entry)
      if !permits(flags, kind, user: user) {
        // `walk` begins again after a fault on a way of which it has read a part alone
        if top > 0, top < rootLevel, format.restrictingLevels & (2 &<< UInt64(truncatingIfNeeded: top) &- 2) != 0 {
          unsafe forgetWay(position: raw, stamp: front.pointee.userWalkTag >> 3, state)
          return walk(address, kind, user: user, on: cpu)
        }
        return fault(.permission, 0, on: cpu)
      }
      var used = entry | format.accessedBit
      flags.insert(.accessed)
      if kind == .write {
        used = (used | format.dirtySets) & ~format.dirtyClears
        flags.insert(.dirty)
      }
      if used != entry { unsafe place.pointee = used }
      word = (entry & leafMask) &<< addressShift | UInt64(flags.rawValue)
      unsafe front.pointee.knownBits = used & ~leafMask
      unsafe front.pointee.knownFlags = UInt64(flags.rawValue)
      unsafe front.pointee.cachedLevels |= 1
    }
    let tag = unsafe number << 19 | front.pointee.userTag
    unsafe front.pointee.insertFirst(number, tag: tag, word: word)
    unsafe front.pointee.insertSecond(number, tag: tag, word: word)
    let mask: UInt64 = 1 &<< pageShift &- 1
    return .success(PhysicalAddress(word & ~mask | raw & mask))
  }

  /// Where a CPU caches a table entry: a tag and a word.
  @inline(__always)
  private func walkPair(
    _ front: UnsafeMutablePointer<CPUFront>, _ number: UInt64, level: Int
  ) -> UnsafeMutablePointer<UInt64> {
    // SAFETY: the levels' caches lie one behind the other; the masked number is a set of each.
    unsafe front.pointee.walks
      + (Int(truncatingIfNeeded: (number & front.pointee.walkMask) &<< 1) &+ (level &- 1) &* walkStride)
  }
}
