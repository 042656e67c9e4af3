/// What one CPU's translation hardware has done.
public struct TLBCounters: Sendable {
  /// By the page's level.
  public internal(set) var firstHits = InlineArray<5, UInt64>(repeating: 0)
  public internal(set) var secondHits = InlineArray<5, UInt64>(repeating: 0)
  /// Lookups that neither cache served: each is a walk.
  public internal(set) var walks: UInt64 = 0
  /// Walks that began below the root, from a cached table entry.
  public internal(set) var shortWalks: UInt64 = 0
  /// Entries that walks read from memory, by their level.
  public internal(set) var references = InlineArray<5, UInt64>(repeating: 0)
  /// Accesses that ended in a fault.
  public internal(set) var faults: UInt64 = 0
  /// Loads of another address space.
  public internal(set) var switches: UInt64 = 0
  /// Requests by other CPUs: received, and answered. They differ only while a shootdown is under way.
  public internal(set) var received: UInt64 = 0
  public internal(set) var acknowledged: UInt64 = 0
  /// Single pages flushed, and flushes of a whole space or of everything.
  public internal(set) var pagesFlushed: UInt64 = 0
  public internal(set) var fullFlushes: UInt64 = 0
  /// Flushes that were made up for at the next use, after having been deferred or missed while away.
  public internal(set) var lateFlushes: UInt64 = 0

  public var firstHitCount: UInt64 { Self.sum(firstHits) }
  public var secondHitCount: UInt64 { Self.sum(secondHits) }
  public var referenceCount: UInt64 { Self.sum(references) }
  private static func sum(_ values: InlineArray<5, UInt64>) -> UInt64 {
    var sum: UInt64 = 0
    for i in values.indices { sum += values[i] }
    return sum
  }
}

/// What all CPUs together have done to keep their translations true.
public struct ShootdownCounters: Sendable {
  /// Shootdowns that were carried out, by what they asked for.
  public internal(set) var single: UInt64 = 0
  public internal(set) var range: UInt64 = 0
  public internal(set) var global: UInt64 = 0
  public internal(set) var full: UInt64 = 0
  /// Obligations put off to the next use, and obligations that joined a batch.
  public internal(set) var deferred: UInt64 = 0
  public internal(set) var batched: UInt64 = 0
  /// Requests to other CPUs (Linux's nr_tlb_remote_flush_received is their sum), and their answers.
  public internal(set) var sent: UInt64 = 0
  public internal(set) var acknowledged: UInt64 = 0
  /// CPUs that were left in peace because they do not hold the space, or are lazy.
  public internal(set) var avoided: UInt64 = 0
  /// Shootdowns that asked at least one other CPU (nr_tlb_remote_flush).
  public internal(set) var remote: UInt64 = 0
  /// Flushes by a CPU of its own caches: of everything or a space (nr_tlb_local_flush_all), of pages (nr_tlb_local_flush_one).
  public internal(set) var localFull: UInt64 = 0
  public internal(set) var localPages: UInt64 = 0
  /// What the requests have cost on the machine's clock.
  public internal(set) var nanoseconds: UInt64 = 0
}
