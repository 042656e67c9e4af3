internal import CFuse
internal import Glibc
internal import MemoryTypes
public import SystemPackage

extension FuseServer {
  /// Serves until the file system is unmounted, or `stop` is called, and unmounts it then. To be called once.
  ///
  /// `whenReady` is called, from a serving thread, when the kernel has begun the session. SIGURG is used to wake the serving threads,
  /// the calling one among them; a program that wants SIGINT or SIGTERM to end the mount waits for them in a thread of its own, and
  /// calls `stop`. Throws what broke the connection to the kernel.
  public func serve(whenReady: (() -> Void)? = nil) throws(Errno) {
    lock.withLock { self.whenReady = whenReady }
    // Without SA_RESTART: that the system call is cut off is the purpose.
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(SIGURG, &action, nil)

    let others = (1..<options.threads).compactMap { _ in PlainThread { [unowned self] in _ = serveOnThisThread() } }
    let result = serveOnThisThread()
    // The first to leave takes the others with it.
    wakeAll()
    for other in others { other.join() }

    unmount()
    // Whatever was cut off under its users is released here: no request can come any more.
    handles.removeAll()
    guard result == 0 else { throw Errno(rawValue: -result) }
  }

  /// Makes `serve` return, and waits until all its threads have left their loops. From any thread that serves no request; before
  /// `serve`, it will return at once.
  public func stop() {
    lock.withLock { isStopped = true }
    wakeAll()
  }

  /// Ends the loops of all serving threads, and waits until they have.
  private func wakeAll() {
    // A signal that comes between a loop's look at the flag and its read is lost: so signals are sent until the loops have ended.
    while true {
      let serves = lock.withLock { () -> Bool in
        // SAFETY: the session lives as long as self.
        unsafe fuse_session_exit(session)
        // None of them has ended: each takes itself out of the list, under the lock, before it does.
        for thread in servingThreads { pthread_kill(thread, SIGURG) }
        return !servingThreads.isEmpty
      }
      guard serves else { return }
      usleep(1000)
    }
  }

  /// Takes requests and answers them until the session ends. As fuse_session_loop does, but several threads may: libfuse's own loop
  /// for that (fuse_session_loop_mt) ends its threads by cancellation, which no sanitizer survives.
  ///
  /// Returns 0, or a negative errno that broke the connection.
  private func serveOnThisThread() -> Int32 {
    // A thread of a pool may have it blocked.
    var wake = sigset_t()
    var blocked = sigset_t()
    unsafe sigaddset(&wake, SIGURG)
    unsafe pthread_sigmask(SIG_UNBLOCK, &wake, &blocked)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &blocked, nil) }

    let begins = lock.withLock { () -> Bool in
      if !isStopped { servingThreads.append(pthread_self()) }
      return !isStopped
    }
    guard begins else { return 0 }
    // SAFETY: the session lives as long as self. libfuse makes the request's buffer when it first needs it, and leaves it to us.
    var request = unsafe fuse_buf()
    var result: Int32 = 0
    while unsafe fuse_session_exited(session) == 0 {
      result = unsafe fuse_session_receive_buf(session, &request)
      if result == -EINTR { continue }
      if result <= 0 { break }
      unsafe fuse_session_process_buf(session, &request)
    }
    unsafe free(request.mem)
    readBuffer.discard()
    let this = pthread_self()
    lock.withLock { servingThreads.removeAll { pthread_equal($0, this) != 0 } }
    return result == -EINTR ? 0 : min(result, 0)
  }

  /// The kernel has begun the session.
  func began() {
    let whenReady = lock.withLock { () -> (() -> Void)? in
      defer { self.whenReady = nil }
      return self.whenReady
    }
    whenReady?()
  }
}
