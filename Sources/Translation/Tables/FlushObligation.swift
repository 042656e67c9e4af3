public import MemoryTypes

/// What an unmap or a protection change leaves to be done: no CPU may use the old translations any more, and the tables
/// that went with them can only then be given back.
///
/// Noncopyable, and to be discharged by exactly one of its consuming methods; one that is dropped traps.
@safe @frozen public struct FlushObligation: ~Copyable {
  /// SAFETY: the page table that made this holds the frames, and outlives its obligations.
  @usableFromInline let frames: Unmanaged<TableFrames>
  /// What the MMU knows the space as, see `MMU.attach`: -1 where no CPU can have loaded it.
  @usableFromInline let context: Int
  @usableFromInline var firstPage: VirtualAddress
  @usableFromInline var pages: UInt64
  @usableFromInline var stride: UInt64
  /// Tables that wait for the flush: the list's head, or .max.
  @usableFromInline var freedTables: UInt64
  /// Whether a table is where it was not before: what CPUs know of the way to it is wrong, though no table goes back.
  @usableFromInline var movesTables = false
  /// The first page whose translation changed.
  @inlinable public var start: VirtualAddress { firstPage }
  /// Base pages from `start` on: 0 where nothing that a TLB could hold has changed.
  @inlinable public var pageCount: UInt64 { pages }
  /// log2 of base pages in the smallest page that changed: the step in which a range is flushed.
  @inlinable public var strideShift: UInt64 { stride }
  public var freesTables: Bool { freedTables != .max }
  /// Whether CPUs are also to forget how they got to the pages.
  @usableFromInline var dropsWalks: Bool { freesTables || movesTables }
  public var isEmpty: Bool { pageCount == 0 && freedTables == .max }

  init(frames: TableFrames, context: Int, start: VirtualAddress) {
    unsafe self.frames = unsafe .passUnretained(frames)
    self.context = context
    firstPage = start
    pages = 0
    stride = .max
    freedTables = .max
  }

  /// For base pages whose translation changed, and no table that went.
  @inlinable @inline(__always) init(frames: TableFrames, context: Int, start: VirtualAddress, pageCount: UInt64) {
    unsafe self.frames = unsafe .passUnretained(frames)
    self.context = context
    firstPage = start
    pages = pageCount
    stride = 0
    freedTables = .max
  }

  @inlinable deinit { Self.trap() }

  @usableFromInline static func trap() { preconditionFailure("a flush obligation was dropped") }

  mutating func cover(from start: VirtualAddress, pageCount: UInt64, strideShift: UInt64) {
    firstPage = start
    pages = pageCount
    stride = min(stride, strideShift)
  }

  mutating func keep(table frame: UInt64) {
    unsafe frames._withUnsafeGuaranteedRef { $0.enlist(frame, head: &freedTables) }
  }

  /// For a page table that no CPU has loaded, ever: there is nothing to flush.
  public consuming func withoutCPUs(on cpu: CPUID = CPUID(0)) { settle(on: cpu) }

  /// Hands the tables that wait over to `batch`.
  mutating func moveTables(to batch: inout UInt64) {
    unsafe frames._withUnsafeGuaranteedRef { $0.splice(freedTables, onto: &batch) }
    freedTables = .max
  }

  /// Gives the tables back, on that CPU: the last step of every discharge.
  consuming func settle(on cpu: CPUID) {
    if freedTables != .max {
      let head = freedTables
      unsafe frames._withUnsafeGuaranteedRef { $0.free(listFrom: head, cpu: cpu) }
    }
    discard self
  }
}
