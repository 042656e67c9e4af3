internal import CFuse
public import FileTree
internal import Glibc
internal import MemoryTypes
public import SystemPackage

/// swift-system has a type of this name too.
typealias Inode = FileTree.Inode

/// A tree of files, served to the kernel over libfuse's low-level API.
///
/// Its life: `init` (nothing is visible yet), `mount`, `serve` (which takes the calling thread until the end), and the
/// last reference's end, which unmounts whatever happened before. Everything that it keeps lies in it: the kernel's
/// requests find it through the session's user data, and open files through the handles that the kernel gives back.
@safe public final class FuseServer: @unchecked Sendable {
  /// How to mount and to serve.
  public struct Options: Sendable {
    /// Whether other users than the mounting one may enter. Users other than root need `user_allow_other` in
    /// /etc/fuse.conf.
    public var allowOther = false
    /// Serving threads, 1 or more. On one processor a second thread costs 1.3 times what it gives.
    public var threads = 1
    public init() {}
  }

  /// The file system's name and type, as /proc/self/mountinfo shows them (`fuse.` stands before the type).
  public static let fileSystemName = "veridianfs"

  let tree: any ServedTree
  let options: Options
  let mountpoint: FilePath
  /// Who owns every file: who mounted.
  let owner = (user: getuid(), group: getgid())
  /// Every file's times: when it was mounted.
  let birth: timespec
  let readBuffer = ReadBuffer()
  let handles = HandleList()
  let notifier = PollNotifier()

  private var session: OpaquePointer?
  private let lock = Lock()
  /// Guarded by `lock`.
  private var isMounted = false
  /// The thread in `serve`. Guarded by `lock`: a thread that is named here has not ended.
  private var servingThread: pthread_t?
  /// Whether `stop` was called. Guarded by `lock`.
  private var isStopped = false
  /// Called once the kernel has asked for the session to begin. Set before serving, called and dropped by its thread.
  private var whenReady: (() -> Void)?

  /// Makes a session that `mount` can attach to `mountpoint`, a directory. Throws EINVAL where libfuse refuses the options.
  public init(tree: any ServedTree, mountpoint: FilePath, options: Options = Options()) throws(Errno) {
    self.tree = tree
    self.options = options
    self.mountpoint = mountpoint
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    birth = now

    FuseLog.install()
    var settings = "fsname=\(Self.fileSystemName),subtype=\(Self.fileSystemName)"
    if options.allowOther { settings += ",allow_other" }
    var operations = Self.operations
    var arguments = unsafe fuse_args()
    // SAFETY: libfuse copies the arguments and the operations; self outlives the session, which deinit destroys.
    unsafe fuse_opt_add_arg(&arguments, Self.fileSystemName)
    unsafe fuse_opt_add_arg(&arguments, "-o")
    unsafe fuse_opt_add_arg(&arguments, settings)
    defer { unsafe fuse_opt_free_args(&arguments) }
    unsafe session = fuse_session_new(
      &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, Unmanaged.passUnretained(self).toOpaque())
    guard unsafe session != nil else { throw .invalidArgument }
  }

  deinit {
    unmount()
    // SAFETY: no thread serves, since a serving one holds a reference; the notifier's thread ends before the session does.
    notifier.stop()
    handles.removeAll()
    if let session = unsafe session { unsafe fuse_session_destroy(session) }
  }

  /// Attaches the session to the mountpoint. From here on every access to it waits for `serve`.
  ///
  /// Throws what the host said, as far as libfuse passes it on: EPERM (no right to mount), ENOENT, ENODEV, EBUSY, ...; EIO
  /// where it does not say. libfuse's own words go to the log.
  public func mount() throws(Errno) {
    errno = 0
    // SAFETY: the session lives as long as self.
    guard unsafe fuse_session_mount(session, mountpoint.string) == 0 else {
      throw errno == 0 ? .ioError : Errno(rawValue: errno)
    }
    lock.withLock { isMounted = true }
  }

  /// Serves until the file system is unmounted, or `stop` is called, and unmounts it then.
  ///
  /// `whenReady` is called, from a serving thread, when the kernel has begun the session. SIGURG is used to wake the calling
  /// thread; a program that wants SIGINT or SIGTERM to end the mount waits for them in a thread of its own, and calls `stop`.
  public func serve(whenReady: (() -> Void)? = nil) throws(Errno) {
    self.whenReady = whenReady
    // Without SA_RESTART: that the system call is cut off is the purpose. A thread of a pool may have it blocked.
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(SIGURG, &action, nil)
    var wake = sigset_t()
    var blocked = sigset_t()
    unsafe sigaddset(&wake, SIGURG)
    unsafe pthread_sigmask(SIG_UNBLOCK, &wake, &blocked)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &blocked, nil) }

    let begins = lock.withLock { () -> Bool in
      servingThread = pthread_self()
      return !isStopped
    }
    let result = begins ? loop() : 0
    lock.withLock { servingThread = nil }
    readBuffer.discard()
    unmount()
    // Whatever was cut off under its users is released here: no request can come any more.
    handles.removeAll()
    guard result == 0 else { throw Errno(rawValue: abs(result)) }
  }

  private func loop() -> Int32 {
    // SAFETY: the session lives as long as self, and the configuration until it is destroyed here.
    guard options.threads > 1, let configuration = unsafe fuse_loop_cfg_create() else {
      return unsafe fuse_session_loop(session)
    }
    defer { unsafe fuse_loop_cfg_destroy(configuration) }
    unsafe fuse_loop_cfg_set_max_threads(configuration, UInt32(options.threads))
    unsafe fuse_loop_cfg_set_idle_threads(configuration, UInt32(options.threads))
    return unsafe fuse_session_loop_mt(session, configuration)
  }

  /// Makes `serve` return, and waits until it has left its loop. From any thread that serves no request; before `serve`, it
  /// will return at once.
  public func stop() {
    lock.withLock { isStopped = true }
    // A signal that comes between the loop's look at the flag and its read is lost: so the signal is sent until the loop has ended.
    while true {
      let serves = lock.withLock { () -> Bool in
        guard let servingThread else { return false }
        // SAFETY: the session lives as long as self.
        unsafe fuse_session_exit(session)
        // The thread has not ended: it takes itself out of `servingThread` under the lock before it leaves `serve`.
        pthread_kill(servingThread, SIGURG)
        return true
      }
      guard serves else { return }
      usleep(1000)
    }
  }

  /// Detaches the file system; without effect where it is not mounted (any more).
  public func unmount() {
    let wasMounted = lock.withLock { () -> Bool in
      defer { isMounted = false }
      return isMounted
    }
    // SAFETY: the session lives as long as self.
    if wasMounted { unsafe fuse_session_unmount(session) }
  }

  /// The session has begun.
  func began() {
    whenReady?()
    whenReady = nil
  }
}
