import FuseServer
import Glibc
import MemoryTypes
import SystemPackage
import Testing

/// Why nothing can be mounted here; nil where it can.
let mountingObstacle: String? = {
  let device = unsafe open("/dev/fuse", O_RDWR)
  guard device >= 0 else { return "/dev/fuse cannot be opened (errno \(errno))" }
  close(device)
  return nil
}()

/// Set by one thread, seen by another.
final class Flag: @unchecked Sendable {
  private let lock = Lock()
  private var value = false
  var isSet: Bool { lock.withLock { value } }
  func set() { lock.withLock { value = true } }
}

/// A plain thread with a result of its own.
final class PlainThread<Result: Sendable>: @unchecked Sendable {
  private let body: () -> Result
  private var result: Result?
  private var thread = pthread_t()

  init(_ body: @escaping @Sendable () -> Result) {
    self.body = body
    let context = unsafe Unmanaged.passRetained(self).toOpaque()
    let failure = unsafe pthread_create(
      &thread, nil,
      { context in
        let thread = unsafe Unmanaged<AnyObject>.fromOpaque(context!).takeRetainedValue()
        (thread as! any Runnable).run()
        return nil
      }, context)
    precondition(failure == 0)
  }

  func join() -> Result {
    pthread_join(thread, nil)
    return result!
  }
}

private protocol Runnable { func run() }
extension PlainThread: Runnable {
  fileprivate func run() { result = body() }
}

/// A process that takes the mount at a path away when this process ends before it is dismissed, even where a test traps.
struct Guardian {
  private let process: pid_t
  /// The end of a pipe whose other end the process reads: it is closed when this process ends.
  private let leash: Int32

  init(of path: String) {
    var ends: [Int32] = [-1, -1]
    let made = unsafe pipe(&ends)
    precondition(made == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    leash = ends[1]
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    let script = "read word || { umount -l \(path); rmdir \(path); }"
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe ["sh", "-c", script].map { (word: String) in
      unsafe strdup(word)
    }
    unsafe arguments.append(nil)
    defer { unsafe arguments.forEach { unsafe free($0) } }
    var process = pid_t()
    let spawned = unsafe posix_spawn(&process, "/bin/sh", &actions, nil, &arguments, environ)
    precondition(spawned == 0)
    close(ends[0])
    self.process = process
  }

  func dismiss() {
    unsafe write(leash, "\n", 1)
    close(leash)
    waitpid(process, nil, 0)
  }
}

/// Mounts `tree` on a directory of its own, lets `body` use it, and takes all of it away again, whatever happens.
///
/// Returns what `serve` ended with.
@discardableResult
func withMount(
  _ tree: FakeTree, threads: Int = 1, whenReady: (@Sendable () -> Void)? = nil,
  _ body: (_ path: String, _ server: FuseServer) throws -> Void
) throws -> Errno? {
  var template = Array("/tmp/veridianfs-test-XXXXXX".utf8CString)
  let path = unsafe template.withUnsafeMutableBufferPointer { unsafe String(cString: mkdtemp($0.baseAddress!)) }
  defer { #expect(unsafe rmdir(path) == 0, "the mount was left behind at \(path)") }
  var options = FuseServer.Options()
  options.threads = threads
  let guardian = Guardian(of: path)
  defer { guardian.dismiss() }
  let server = try FuseServer(tree: tree, mountpoint: FilePath(path), options: options)
  try server.mount()
  let serving = PlainThread<Errno?> {
    do throws(Errno) { try server.serve(whenReady: whenReady) } catch { return error }
    return nil
  }
  var failure: (any Error)?
  do { try body(path, server) } catch { failure = error }
  server.stop()
  let result = serving.join()
  if let failure { throw failure }
  return result
}

/// The errno that `call` fails with; 0 where it succeeds.
func failure(_ call: @autoclosure () -> Int) -> Int32 { call() < 0 ? errno : 0 }
func failure(_ call: @autoclosure () -> Int32) -> Int32 { call() < 0 ? errno : 0 }

/// The whole of a file, by reads of `chunk` bytes.
func contents(_ path: String, chunk: Int = 65536) -> [UInt8]? {
  let file = unsafe open(path, O_RDONLY)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var all: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: chunk)
  while true {
    let count = unsafe read(file, &buffer, chunk)
    if count < 0 { return nil }
    if count == 0 { return all }
    all += buffer[..<count]
  }
}
