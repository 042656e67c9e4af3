public import Synchronization

#if canImport(Glibc)
  internal import Glibc
#endif

/// The project's one lock: a word that is taken by one compare-and-swap and given back by one release store.
///
/// It is built on `Atomic`, which is compiled into its users, so that ThreadSanitizer sees its ordering (the standard
/// library's `Mutex` is not, and makes it report races that are none). A waiter spins for about a microsecond, then yields
/// its processor, then sleeps. Not recursive, not fair.
///
/// Lock order, outermost first: `Machine`, a CPU's list, a zone. A lock is never taken while one behind it in this list is held.
@frozen public struct Lock: ~Copyable, Sendable {
  /// 0 free, 1 held.
  @usableFromInline let state = Atomic<UInt32>(0)

  @inlinable public init() {}

  @inlinable @inline(__always)
  public func lock() {
    // Acquire pairs with the release store in unlock().
    if state.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
    {
      return
    }
    contend()
  }

  /// Whether the lock was free and is now the caller's.
  @inlinable @inline(__always)
  public func tryLock() -> Bool {
    state.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
  }

  @inlinable @inline(__always)
  public func unlock() {
    // Release pairs with the acquire in lock(): what was written under the lock is seen by its next holder.
    state.store(0, ordering: .releasing)
  }

  @inlinable @inline(__always)
  public func withLock<Result: ~Copyable, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure)
    -> Result
  {
    lock()
    defer { unlock() }
    return try body()
  }

  @usableFromInline @inline(never)
  func contend() {
    var attempts = 0
    while true {
      if state.load(ordering: .relaxed) == 0, tryLock() { return }
      attempts += 1
      if attempts < 100 { continue }
      if attempts < 200 { sched_yield() } else { usleep(50) }
    }
  }
}
