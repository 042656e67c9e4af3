public import MemoryTypes

/// What a flush is asked for, as the seed names the modes.
@frozen public enum FlushMode: Hashable, Sendable {
  case single(VirtualAddress)
  case range(VirtualAddress, pageCount: UInt64)
  /// Everything but global entries.
  case global
  case full
}

/// What a shootdown came to.
@frozen public struct ShootdownReport: Hashable, Sendable {
  /// Other CPUs that were asked, each of which has acknowledged.
  public var acknowledged: Int
  /// What asking them has cost on the machine's clock.
  public var nanoseconds: UInt64

  @inlinable init(acknowledged: Int, nanoseconds: UInt64) {
    self.acknowledged = acknowledged
    self.nanoseconds = nanoseconds
  }
}

extension MMU {
  /// What every CPU that is asked has to do.
  @safe struct Order {
    var context: Int
    /// The first page's position in the half.
    var position: UInt64
    /// 0 where only tables went.
    var pages: UInt64
    /// log2 of the bytes from one page to the next.
    var step: UInt64
    /// The whole space (the kernel's: everything) instead of its pages.
    var isFull: Bool
    /// Cached table entries must go as well.
    var dropsWalks: Bool
    /// The pages' positions where they do not follow one another. SAFETY: `pages` of them, for the time of the order.
    var scattered: UnsafePointer<UInt64>?

    @inline(__always) func position(ofPage page: UInt64) -> UInt64 {
      if let scattered = unsafe scattered { return unsafe scattered[Int(truncatingIfNeeded: page)] }
      return position &+ page << step
    }
  }

  /// Makes the order for pages that have changed: a full one above the ceiling.
  func order(context: Int, start: VirtualAddress, pageCount: UInt64, strideShift: UInt64, dropsWalks: Bool) -> Order {
    let shift = pageCount == 0 ? 0 : strideShift
    let pages = (pageCount + (1 &<< shift) - 1) &>> shift
    return unsafe Order(
      context: context, position: format.position(start), pages: pages, step: format.pageShift + shift,
      isFull: pages > singlePageFlushCeiling, dropsWalks: dropsWalks || self.dropsWalks,
      scattered: nil)
  }

  /// Flushes a base page of a users' half where this CPU alone has the space loaded; false leaves it to the general way, with nothing done.
  @usableFromInline @inline(never)
  func flushHere(_ context: Int, _ start: VirtualAddress, from origin: Int) -> Bool {
    precondition(UInt(bitPattern: origin) < UInt(bitPattern: cpuCount), "no such CPU")
    // SAFETY: a context in an obligation is attached, the CPU was checked.
    if unsafe maskWords != 1 || masks[context] != 1 &<< UInt64(origin) { return false }
    let generation = unsafe contexts[context].generation
    if unsafe !forget(start.rawValue &>> pageShift, of: fronts + origin, from: generation, origin) { return false }
    unsafe contexts[context].generation = generation &+ 1
    unsafe fronts[origin].ownPages &+= 1
    return true
  }

  /// Forgets a base page of the loaded space on a CPU that has done all before this `generation`; false where it has not, or where more
  /// than base pages may be cached, with nothing done.
  @inline(__always)
  private func forget(
    _ number: UInt64, of front: UnsafeMutablePointer<CPUFront>, from generation: UInt64, _ cpu: Int
  ) -> Bool {
    // SAFETY: `front` is that of the CPU.
    if unsafe front.pointee.seen != generation || front.pointee.cachedLevels & ~1 != 0 || !hasUsualCaches {
      return false
    }
    unsafe front.pointee.seen = generation &+ 1
    unsafe front.pointee.remove(number, tag: number << 19 | front.pointee.userTag)
    if dropsWalks {
      let stamp = unsafe front.pointee.lastWalkStamp
      if stamp == CPUState.stampLimit {
        unsafe cpus[cpu].renewWalks()
      } else {
        unsafe front.pointee.lastWalkStamp = stamp &+ 1
        unsafe front.pointee.userWalkTag = (stamp &+ 1) << 3 | 2
      }
    }
    return true
  }

  /// Carries an order out on `origin` and every other CPU that it concerns, and waits for their acknowledgements.
  ///
  /// - Complexity: O(CPUs that are asked), and a look at a word of the mask for 64 that are not.
  @discardableResult
  func carryOut(_ order: Order, from origin: Int, sparingLazy: Bool) -> ShootdownReport {
    // SAFETY: CPUs and contexts are checked by callers, masks name CPUs below cpuCount.
    unsafe contexts[order.context].generation &+= 1
    let generation = unsafe contexts[order.context].generation
    var asked = 0
    if order.pages == 1, order.step == pageShift, order.context != 0, !order.isFull, order.dropsWalks == dropsWalks {
      asked = flushPage(order, generation, from: origin, sparingLazy: sparingLazy)
    } else if order.context == 0 {
      for cpu in 0..<cpuCount where unsafe cpus[cpu].isActive { ask(cpu, origin, order, generation, &asked) }
    } else {
      for word in 0..<maskWords {
        var rest = holders(order.context, word, sparingLazy: sparingLazy)
        while rest != 0 {
          let cpu = word << 6 | rest.trailingZeroBitCount
          rest &= rest &- 1
          ask(cpu, origin, order, generation, &asked)
        }
      }
    }
    if order.isFull {
      unsafe totals.pointee.full += 1
    } else if order.pages <= 1 {
      unsafe totals.pointee.single += 1
    } else {
      unsafe totals.pointee.range += 1
    }
    return settle(asked: asked)
  }

  /// The CPUs, of 64, that have a space loaded and are to be asked. Lazy ones that are spared make up for it before they use the space.
  @inline(__always) private func holders(_ context: Int, _ word: Int, sparingLazy: Bool) -> UInt64 {
    // SAFETY: a word is below maskWords.
    let all = unsafe masks[context &* maskWords &+ word]
    let lazy = unsafe all & lazies[word]
    if !sparingLazy || lazy == 0 { return all }
    unsafe shared.pointee.epoch &+= 1
    return all & ~lazy
  }

  /// A base page of a users' half, on every CPU that has the space loaded; how many others were asked.
  private func flushPage(_ order: Order, _ generation: UInt64, from origin: Int, sparingLazy: Bool) -> Int {
    var asked = 0
    // SAFETY: masks name CPUs below cpuCount; slots are in bounds.
    let position = order.position(ofPage: 0)
    let number = position &>> pageShift
    for word in 0..<maskWords {
      var rest = holders(order.context, word, sparingLazy: sparingLazy)
      while rest != 0 {
        let cpu = word &<< 6 | rest.trailingZeroBitCount
        rest &= rest &- 1
        if unsafe cpu != origin && forget(number, of: fronts + cpu, from: generation &- 1, cpu) {
          asked &+= 1
          unsafe fronts[cpu].requests &+= 1
        } else {
          ask(cpu, origin, order, generation, &asked)
        }
      }
    }
    return asked
  }

  /// Books a shootdown that asked so many other CPUs.
  private func settle(asked: Int) -> ShootdownReport {
    let cost = UInt64(asked) * requestCost
    unsafe totals.pointee.sent += UInt64(asked)
    unsafe totals.pointee.acknowledged += UInt64(asked)
    unsafe totals.pointee.avoided += UInt64(max(0, cpuCount - 1 - asked))
    unsafe totals.pointee.remote += asked > 0 ? 1 : 0
    unsafe totals.pointee.nanoseconds += cost
    return ShootdownReport(acknowledged: asked, nanoseconds: cost)
  }

  @inline(__always)
  private func ask(_ cpu: Int, _ origin: Int, _ order: Order, _ generation: UInt64, _ asked: inout Int) {
    if cpu == origin {
      if order.isFull { unsafe totals.pointee.localFull += 1 } else { unsafe totals.pointee.localPages += order.pages }
      apply(order, on: cpu, generation: generation)
      return
    }
    asked += 1
    unsafe cpus[cpu].counters.received &+= 1
    apply(order, on: cpu, generation: generation)
    unsafe cpus[cpu].counters.acknowledged &+= 1
  }

  /// One CPU's part. A CPU that has missed an earlier order does all at once (Linux's `flush_tlb_func`).
  private func apply(_ order: Order, on cpu: Int, generation: UInt64) {
    let state = unsafe cpus + cpu
    if order.context == 0 {
      let isBehind = unsafe state.pointee.kernelSeen &+ 1 != generation
      unsafe state.pointee.kernelSeen = generation
      if order.isFull || isBehind { return unsafe state.pointee.flushAll() }
      let (global, other) = unsafe (state.pointee.globalStamp, state.pointee.kernelStamp)
      for page in 0..<order.pages {
        unsafe remove(order.position(ofPage: page), stamp: global, state)
        unsafe remove(order.position(ofPage: page), stamp: other, state)
      }
      if order.dropsWalks { unsafe state.pointee.renewKernelWalks() }
    } else {
      let slot = unsafe state.pointee.slot
      let isBehind = unsafe state.pointee.front.pointee.seen &+ 1 != generation
      unsafe state.pointee.front.pointee.seen = generation
      if order.isFull || isBehind { return unsafe state.pointee.flush(slot: slot) }
      let stamp = unsafe state.pointee.slots[slot].stamp
      for page in 0..<order.pages { unsafe remove(order.position(ofPage: page), stamp: stamp, state) }
      if order.dropsWalks { unsafe state.pointee.renewWalks() }
    }
    unsafe state.pointee.counters.pagesFlushed &+= order.pages
  }

  /// Removes whatever page covers a position, of any size.
  @inline(__always)
  private func remove(_ position: UInt64, stamp: UInt64, _ state: UnsafeMutablePointer<CPUState>) {
    // SAFETY: `state` is one of `cpus`; levels are below 5.
    var levels = unsafe state.pointee.front.pointee.cachedLevels
    while levels != 0 {
      let level = levels.trailingZeroBitCount
      levels &= levels &- 1
      let number = position &>> format.shifts[level]
      let tag = CPUState.tag(number, stamp: stamp, level: level)
      unsafe state.pointee.first[level].remove(number, tag: tag)
      unsafe state.pointee.second.remove(number, tag: tag)
    }
  }

  /// Flushes by hand: `tlb flush`. On the CPUs named, or where none are on every CPU that has translated anything.
  ///
  /// A page or range is flushed from the kernel's half, or from the space that each CPU has loaded. Throws `noSuchCPU`,
  /// `notCanonical`, `invalidSize`.
  @discardableResult
  public func flush(
    _ mode: FlushMode, on named: [CPUID]? = nil, from origin: CPUID = CPUID(0)
  ) throws(MemoryError) -> ShootdownReport {
    try check(origin)
    for cpu in named ?? [] { try check(cpu) }
    var pages: UInt64 = 0
    var start = VirtualAddress(0)
    switch mode {
    case .single(let address): (start, pages) = (format.untagged(address), 1)
    case .range(let address, let count):
      guard count > 0, count <= 1 << (format.addressBits - format.pageShift) else {
        throw .invalidSize(FrameCount(count))
      }
      (start, pages) = (format.untagged(address), count)
    case .global, .full: break
    }
    guard format.isCanonical(start) else { throw .notCanonical(start) }
    let isWhole = pages == 0 || pages > singlePageFlushCeiling
    var asked = 0
    for cpu in named.map({ Set($0.map(\.rawValue)).sorted() }) ?? Array(0..<cpuCount)
    where unsafe named != nil || cpus[cpu].isActive {
      let state = unsafe cpus + cpu
      if pages == 0 {
        if case .global = mode { unsafe state.pointee.flushNonGlobal() } else { unsafe state.pointee.flushAll() }
      } else if isWhole {
        unsafe state.pointee.flushAll()
      } else {
        let kernel = format.isKernel(start)
        let slot = unsafe state.pointee.slot
        for page in 0..<pages {
          let position = format.position(start) & ~(1 &<< format.pageShift - 1) + page &<< format.pageShift
          if kernel {
            unsafe remove(position, stamp: state.pointee.globalStamp, state)
            unsafe remove(position, stamp: state.pointee.kernelStamp, state)
          } else if unsafe state.pointee.context != 0 {
            unsafe remove(position, stamp: state.pointee.slots[slot].stamp, state)
          }
        }
        if kernel { unsafe state.pointee.renewKernelWalks() } else { unsafe state.pointee.renewWalks() }
        unsafe state.pointee.counters.pagesFlushed += pages
      }
      if cpu == origin.rawValue {
        if isWhole { unsafe totals.pointee.localFull += 1 } else { unsafe totals.pointee.localPages += pages }
      } else {
        asked += 1
        unsafe state.pointee.counters.received += 1
        unsafe state.pointee.counters.acknowledged += 1
      }
    }
    switch mode {
    case .single: unsafe totals.pointee.single += 1
    case .range: unsafe totals.pointee.range += 1
    case .global: unsafe totals.pointee.global += 1
    case .full: unsafe totals.pointee.full += 1
    }
    return settle(asked: asked)
  }
}
