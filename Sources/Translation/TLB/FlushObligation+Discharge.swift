public import MemoryTypes

extension FlushObligation {
  /// Flushes now, on every CPU that has the space loaded, and waits until each has acknowledged. Traps for a CPU that is
  /// not there.
  @inlinable @inline(__always) @discardableResult
  public consuming func now(_ mmu: MMU, from cpu: CPUID) -> ShootdownReport {
    if !dropsWalks && pageCount == 1 && context > 0 && mmu.flushHere(context, start, from: cpu.rawValue) {
      discard self
      return ShootdownReport(acknowledged: 0, nanoseconds: 0)
    }
    return nowInGeneral(mmu, from: cpu)
  }

  @usableFromInline consuming func nowInGeneral(_ mmu: MMU, from cpu: CPUID) -> ShootdownReport {
    precondition(cpu.rawValue >= 0 && cpu.rawValue < mmu.cpuCount, "no such CPU")
    var report = ShootdownReport(acknowledged: 0, nanoseconds: 0)
    if context >= 0, !isEmpty {
      let order = mmu.order(
        context: context, start: start, pageCount: pageCount, strideShift: strideShift, dropsWalks: dropsWalks)
      // a lazy CPU may still walk by its own accord: it is spared only where no table goes (Linux: info->freed_tables), or moves
      report = mmu.carryOut(order, from: cpu.rawValue, sparingLazy: !dropsWalks)
    }
    settle(on: cpu)
    return report
  }

  /// Puts the flush off until each CPU next uses or loads the space: it then forgets all of the space. Where tables wait
  /// to be given back there is no putting off, and the flush is done now.
  @inlinable @inline(__always)
  public consuming func deferred(_ mmu: MMU, from cpu: CPUID) {
    if !dropsWalks {
      if context >= 0 && pageCount > 0 { mmu.deferFlush(context: context) }
      discard self
    } else {
      _ = nowInGeneral(mmu, from: cpu)
    }
  }

  /// Joins a batch, which is then what must be discharged. Traps where the batch is another space's.
  public consuming func batch(into batch: inout FlushBatch) {
    batch.take(self)
  }
}

extension MMU {
  @usableFromInline func deferFlush(context: Int) {
    // SAFETY: a context in an obligation is attached.
    unsafe contexts[context].generation &+= 1
    unsafe shared.pointee.epoch &+= 1
    unsafe totals.pointee.deferred &+= 1
  }
}

/// Obligations of one space that are discharged together: up to 16 pages one by one, more by forgetting the whole space, as
/// VeridianOS does it. Until then CPUs may go on using what they hold.
///
/// Noncopyable: one that is dropped with something in it traps.
@safe public struct FlushBatch: ~Copyable {
  /// VeridianOS's batch.
  public static var capacity: Int { 16 }
  private var context = -1
  private var pages = InlineArray<16, VirtualAddress>(repeating: VirtualAddress(0))
  private var count = 0
  private var isFull = false
  private var freedTables: UInt64 = .max
  private var dropsWalks = false
  private var frames: Unmanaged<TableFrames>?
  private var obligations: UInt64 = 0

  public init() {}

  deinit { Self.check(isEmpty: obligations == 0) }

  private static func check(isEmpty: Bool) { precondition(isEmpty, "a batch of flush obligations was dropped") }

  /// Obligations that wait in it.
  public var obligationCount: UInt64 { obligations }

  mutating func take(_ obligation: consuming FlushObligation) {
    precondition(obligations == 0 || context == obligation.context, "a batch of another space")
    context = obligation.context
    obligations += 1
    unsafe frames = unsafe obligation.frames
    let step = obligation.pageCount == 0 ? 0 : obligation.strideShift
    let added = (obligation.pageCount + (1 << step) - 1) >> step
    if added > UInt64(Self.capacity - count) {
      isFull = true
    } else {
      let bytes = UInt64(unsafe obligation.frames._withUnsafeGuaranteedRef { $0.frameSize.bytes.rawValue }) << step
      for page in 0..<added {
        pages[count] = VirtualAddress(obligation.start.rawValue + page * bytes)
        count += 1
      }
    }
    if obligation.dropsWalks { dropsWalks = true }
    obligation.moveTables(to: &freedTables)
    obligation.withoutCPUs()
  }

  /// Flushes all that waits, on every CPU that has the space loaded, and waits until each has acknowledged.
  @discardableResult
  public consuming func now(_ mmu: MMU, from cpu: CPUID) -> ShootdownReport {
    precondition(cpu.rawValue >= 0 && cpu.rawValue < mmu.cpuCount, "no such CPU")
    var report = ShootdownReport(acknowledged: 0, nanoseconds: 0)
    if context >= 0, isFull || count > 0 || freedTables != .max {
      report = mmu.carryOut(
        pages: pages, count: isFull ? 0 : count, isFull: isFull, context: context, dropsWalks: dropsWalks,
        from: cpu.rawValue)
      mmu.countBatch(obligations)
    }
    if freedTables != .max {
      let head = freedTables
      unsafe frames?._withUnsafeGuaranteedRef { $0.free(listFrom: head, cpu: cpu) }
    }
    discard self
    return report
  }
}

extension MMU {
  func countBatch(_ obligations: UInt64) { unsafe totals.pointee.batched += obligations }

  /// A batch's pages as one request to each CPU.
  func carryOut(
    pages: InlineArray<16, VirtualAddress>, count: Int, isFull: Bool, context: Int, dropsWalks: Bool, from origin: Int
  ) -> ShootdownReport {
    var order = order(context: context, start: pages[0], pageCount: 0, strideShift: 0, dropsWalks: dropsWalks)
    order.isFull = isFull
    order.pages = UInt64(count)
    let positions: InlineArray<16, UInt64> = InlineArray { format.position(pages[$0]) }
    // SAFETY: the order is carried out before the span of positions ends.
    return unsafe positions.span.withUnsafeBufferPointer {
      unsafe order.scattered = $0.baseAddress
      return carryOut(order, from: origin, sparingLazy: !dropsWalks)
    }
  }
}
