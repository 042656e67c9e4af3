internal import Glibc

/// A buffer for each serving thread, in which reads are put together. It is never cleared: a reply sends only what was
/// written into it, and pages that no read has needed are never touched.
final class ReadBuffer: @unchecked Sendable {
  /// The longest read: what libfuse negotiates with the kernel (FUSE_MAX_MAX_PAGES pages of 4 KiB). A kernel that asked for
  /// more would get a short read, which read(2) allows.
  private static let capacity = 1 << 20

  private var key = pthread_key_t()

  init() {
    // A host without a free key (1024 a process) cannot be served from.
    let failure = unsafe pthread_key_create(&key) { unsafe free($0) }
    precondition(failure == 0, "no thread-specific key is left")
  }

  // SAFETY: no thread serves any more, and each gave its buffer back when it ended.
  deinit { pthread_key_delete(key) }

  /// The calling thread's buffer, `size` bytes of it or as many as it has.
  func bytes(_ size: Int) -> UnsafeMutableRawBufferPointer {
    // SAFETY: the key's value is nil or a block of `capacity` bytes that belongs to this thread until it ends.
    var block = unsafe pthread_getspecific(key)
    if unsafe block == nil {
      unsafe block = malloc(Self.capacity)
      precondition(unsafe block != nil, "the host is out of memory")
      unsafe pthread_setspecific(key, block)
    }
    return unsafe UnsafeMutableRawBufferPointer(start: block, count: min(size, Self.capacity))
  }

  /// Gives the calling thread's buffer back, where the thread itself goes on.
  func discard() {
    // SAFETY: as in bytes(_:); the key holds nil afterwards.
    unsafe free(pthread_getspecific(key))
    pthread_setspecific(key, nil)
  }
}
