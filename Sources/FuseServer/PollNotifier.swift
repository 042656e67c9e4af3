internal import CFuse
internal import FileTree
internal import Glibc
internal import MemoryTypes

/// Tells the kernel that sleepers in poll(2) should look again, from a thread that serves no request and holds no lock.
///
/// Whoever wakes a `PollTicket` may hold any lock, and may be serving a request: all that it does is to queue the ticket.
@safe final class PollNotifier: @unchecked Sendable {
  private let lock = Lock()
  /// Woken and not yet told to the kernel. Guarded by `lock`.
  private var queue: [PollTicket] = []
  /// Guarded by `lock`. Once set, no ticket is queued and the session is not touched again.
  private var stopped = false
  /// Guarded by `lock`. Started by the first ticket: most mounts never see a poll.
  private var thread: PlainThread?
  /// Counts what was queued, and one more when the end has come.
  private let pending: UnsafeMutablePointer<sem_t>

  init() {
    unsafe pending = .allocate(capacity: 1)
    // SAFETY: just allocated, and freed by deinit alone.
    unsafe sem_init(pending, 0, 0)
  }

  deinit {
    // SAFETY: the thread holds a reference to self, so it has ended; nobody waits.
    unsafe sem_destroy(pending)
    unsafe pending.deallocate()
  }

  /// What a file calls when the events of the handle behind `handle` may have changed. Takes over `handle`.
  func ticket(for handle: OpaquePointer) -> PollTicket {
    lock.lock()
    if thread == nil, !stopped { thread = PlainThread { [self] in run() } }
    lock.unlock()
    return unsafe PollTicket(handle, of: self)
  }

  /// Ends the thread and waits for it. Tickets woken from now on do nothing.
  func stop() {
    lock.lock()
    stopped = true
    let thread = self.thread
    self.thread = nil
    lock.unlock()
    // It was taken out of self under the lock, so it is joined once.
    guard let thread else { return }
    // SAFETY: `pending` lives as long as self.
    unsafe sem_post(pending)
    thread.join()
  }

  fileprivate func queue(_ ticket: PollTicket) {
    let accepted = lock.withLock { () -> Bool in
      guard !stopped else { return false }
      queue.append(ticket)
      return true
    }
    // SAFETY: `pending` lives as long as self.
    if accepted { unsafe sem_post(pending) }
  }

  private func run() {
    while true {
      // SAFETY: `pending` lives as long as self.
      while unsafe sem_wait(pending) != 0 {}
      let (tickets, end) = lock.withLock { () -> ([PollTicket], Bool) in
        let tickets = queue
        queue.removeAll()
        return (tickets, stopped)
      }
      for ticket in tickets { ticket.notify() }
      if end { return }
    }
  }
}

/// A sleeper in poll(2), as the kernel named it. Wakes it once.
@safe final class PollTicket: PollWaiter, @unchecked Sendable {
  private let handle: OpaquePointer
  private let notifier: PollNotifier
  private let lock = Lock()
  /// Guarded by `lock`.
  private var woken = false

  fileprivate init(_ handle: OpaquePointer, of notifier: PollNotifier) {
    unsafe self.handle = handle
    self.notifier = notifier
  }

  // SAFETY: the handle was taken over from libfuse, which gives each away to be destroyed once.
  deinit { unsafe fuse_pollhandle_destroy(handle) }

  func wake() {
    let first = lock.withLock { () -> Bool in
      defer { woken = true }
      return !woken
    }
    if first { notifier.queue(self) }
  }

  fileprivate func notify() {
    // SAFETY: the notifier's thread, the only caller, ends before the session that the handle points to is destroyed.
    unsafe fuse_lowlevel_notify_poll(handle)
  }
}
