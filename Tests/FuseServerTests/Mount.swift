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

/// Mounts `tree` on a directory of its own, lets `body` use it, and takes all of it away again, whatever happens.
///
/// Returns what `serve` ended with.
@discardableResult
func withMount(
  _ tree: FakeTree, threads: Int = 1, _ body: (_ path: String, _ server: FuseServer) throws -> Void
) throws -> Errno? {
  var template = Array("/tmp/veridianfs-test-XXXXXX".utf8CString)
  let path = unsafe template.withUnsafeMutableBufferPointer { unsafe String(cString: mkdtemp($0.baseAddress!)) }
  defer { #expect(unsafe rmdir(path) == 0, "the mount was left behind at \(path)") }
  var options = FuseServer.Options()
  options.threads = threads
  // Even where a test traps, and takes the process with it.
  options.unmountsAfterDeath = true
  let server = try FuseServer(tree: tree, mountpoint: FilePath(path), options: options)
  try server.mount()
  let serving = PlainThread<Errno?> {
    do throws(Errno) { try server.serve() } catch { return error }
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
