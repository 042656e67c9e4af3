public import MemoryTypes

/// What an unmap or a protection change leaves to be done: no CPU may use the old translations any more, and the tables
/// that went with them can only then be given back.
///
/// Noncopyable, and to be discharged by exactly one of its consuming methods; one that is dropped traps.
@safe public struct FlushObligation: ~Copyable {
  /// SAFETY: the page table that made this holds the frames, and outlives its obligations.
  let frames: Unmanaged<TableFrames>
  /// What the MMU knows the space as, see `MMU.attach`: -1 where no CPU can have loaded it.
  let context: Int
  /// The first page whose translation changed.
  public private(set) var start: VirtualAddress
  /// Base pages from `start` on: 0 where nothing that a TLB could hold has changed.
  public private(set) var pageCount: UInt64
  /// log2 of base pages in the smallest page that changed: the step in which a range is flushed.
  public private(set) var strideShift: UInt64
  /// Tables that wait for the flush: the list's head, or .max.
  private(set) var freedTables: UInt64 = .max
  public var freesTables: Bool { freedTables != .max }
  public var isEmpty: Bool { pageCount == 0 && freedTables == .max }

  init(frames: TableFrames, context: Int, start: VirtualAddress) {
    unsafe self.frames = unsafe .passUnretained(frames)
    self.context = context
    self.start = start
    pageCount = 0
    strideShift = .max
  }

  /// For base pages whose translation changed, and no table that went.
  @inline(__always) init(frames: TableFrames, context: Int, start: VirtualAddress, pageCount: UInt64) {
    unsafe self.frames = unsafe .passUnretained(frames)
    self.context = context
    self.start = start
    self.pageCount = pageCount
    strideShift = 0
  }

  deinit { Self.trap() }

  private static func trap() { preconditionFailure("a flush obligation was dropped") }

  mutating func cover(from start: VirtualAddress, pageCount: UInt64, strideShift: UInt64) {
    self.start = start
    self.pageCount = pageCount
    self.strideShift = min(self.strideShift, strideShift)
  }

  mutating func keep(table frame: UInt64) {
    unsafe frames._withUnsafeGuaranteedRef { $0.enlist(frame, head: &freedTables) }
  }

  /// For a page table that no CPU has loaded, ever: there is nothing to flush.
  public consuming func withoutCPUs() { settle() }

  /// Hands the tables that wait over to `batch`.
  mutating func moveTables(to batch: inout UInt64) {
    unsafe frames._withUnsafeGuaranteedRef { $0.splice(freedTables, onto: &batch) }
    freedTables = .max
  }

  /// Gives the tables back: the last step of every discharge.
  consuming func settle() {
    if freedTables != .max {
      let head = freedTables
      unsafe frames._withUnsafeGuaranteedRef { $0.free(listFrom: head) }
    }
    discard self
  }
}
