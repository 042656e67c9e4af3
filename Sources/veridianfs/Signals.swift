import Glibc

/// The signals that end a mount, taken by a thread that waits for them, so that no handler runs in the midst of something.
struct Signals: @unchecked Sendable {
  private let set: sigset_t

  /// Blocks them in the calling thread and in those it will start. A broken pipe is an error of its write from here on.
  static func block() -> Signals {
    var set = sigset_t()
    for signal in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&set, signal) }
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
    return Signals(set: set)
  }

  /// Calls `action` once, from a thread of its own, when the first arrives; an earlier one that is still pending counts.
  func whenOneArrives(_ action: @escaping @Sendable (Int32) -> Void) {
    final class Context {
      let set: sigset_t
      let action: @Sendable (Int32) -> Void
      init(set: sigset_t, action: @escaping @Sendable (Int32) -> Void) {
        self.set = set
        self.action = action
      }
    }
    var thread = pthread_t()
    // SAFETY: the thread takes over the reference that is retained here.
    let context = unsafe Unmanaged.passRetained(Context(set: set, action: action)).toOpaque()
    let failure = unsafe pthread_create(
      &thread, nil,
      { context in
        let context = unsafe Unmanaged<Context>.fromOpaque(context!).takeRetainedValue()
        var set = context.set
        var signal: Int32 = 0
        unsafe sigwait(&set, &signal)
        context.action(signal)
        return nil
      }, context)
    precondition(failure == 0, "the host refuses a thread")
    pthread_detach(thread)
  }
}
