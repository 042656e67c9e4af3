public import MemoryTypes

/// What an access wants of a page.
@frozen public enum AccessKind: UInt8, Sendable, CaseIterable { case read, write, execute }

/// Why the hardware refuses an access: what an architecture's own error code is made from.
@frozen public struct TranslationFault: Hashable, Sendable {
  @frozen public enum Reason: UInt8, Sendable {
    case notCanonical
    /// The entry is not present; `held` where it keeps a frame (Linux's PROT_NONE).
    case absent, held
    /// The page is there, and does not allow this.
    case permission
    case reserved
    /// A table lies where there is no memory.
    case noMemory
  }
  public var reason: Reason
  /// The level of the entry, counted from the pages up; the root's where no entry was read.
  public var level: UInt8
}

/// What the hardware makes of an access.
@frozen public enum AccessResult: Hashable, Sendable {
  case success(PhysicalAddress)
  case fault(TranslationFault)
}

/// A space as the MMU knows it.
@safe struct Context {
  /// Never used twice: tells whether a CPU's slot is still about this space. 0 for a free context.
  var serial: UInt64
  /// Counts obligations that were discharged or deferred (Linux's `context.tlb_gen`).
  var generation: UInt64
  /// SAFETY: whoever attached the table detaches it before it goes.
  var table: Unmanaged<PageTable>?
  /// The next free context, where this one is free.
  var nextFree: Int
}
