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

  /// Set by init alone.
  private(set) var session: OpaquePointer?
  let lock = Lock()
  /// Guarded by `lock`.
  private var isMounted = false
  /// The threads in `serve`'s loop. Guarded by `lock`: a thread that is named here has not ended.
  var servingThreads: [pthread_t] = []
  /// Whether `stop` was called. Guarded by `lock`.
  var isStopped = false
  /// To be called once the kernel has begun the session. Guarded by `lock`.
  var whenReady: (() -> Void)?

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

  /// Detaches the file system; without effect where it is not mounted (any more).
  public func unmount() {
    let wasMounted = lock.withLock { () -> Bool in
      defer { isMounted = false }
      return isMounted
    }
    // SAFETY: the session lives as long as self.
    if wasMounted { unsafe fuse_session_unmount(session) }
  }
}
