internal import Glibc

/// A thread of the host's, and nothing around it: requests are served by synchronous code.
struct PlainThread: Sendable {
  private let thread: pthread_t

  /// Starts `body`, out of every signal's reach: those are for the threads that the program has chosen. Nil where the host has no thread
  /// left.
  init?(_ body: @escaping @Sendable () -> Void) {
    final class Context {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    // A thread inherits its maker's mask.
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    // SAFETY: the retained reference is taken over by the thread; where there is no thread, it is given back here.
    let context = unsafe Unmanaged.passRetained(Context(body))
    let failure = unsafe pthread_create(
      &thread, nil,
      { context in
        unsafe Unmanaged<Context>.fromOpaque(context!).takeRetainedValue().body()
        return nil
      }, context.toOpaque())
    guard failure == 0 else {
      unsafe context.release()
      return nil
    }
    self.thread = thread
  }

  /// Waits for its end. To be called once.
  func join() {
    pthread_join(thread, nil)
  }
}
