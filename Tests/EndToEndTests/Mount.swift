import Foundation
import Glibc
import Testing

/// The program that was built with these tests.
let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
  .appendingPathComponent("veridianfs").path

/// Why nothing can be mounted here; nil where it can.
let mountingObstacle: String? = {
  guard unsafe access(program, X_OK) == 0 else { return "the program is not beside the tests: \(program)" }
  let device = unsafe open("/dev/fuse", O_RDWR)
  guard device >= 0 else { return "/dev/fuse cannot be opened (errno \(errno))" }
  close(device)
  return nil
}()

/// Why these clients cannot be run over the host's files; nil where they can.
func obstacle(toRunning clients: [String]) -> String? {
  if let mountingObstacle { return mountingObstacle }
  guard geteuid() == 0 else { return "a private mount namespace needs root" }
  guard shell("unshare -m true").status == 0 else { return "no private mount namespace can be had" }
  for client in clients where shell("command -v \(client)").status != 0 { return "\(client) is not installed" }
  return nil
}

struct Outcome {
  var status: Int32
  /// Standard output and standard error, in their order.
  var output: String
  var lines: [Substring] { output.split(separator: "\n") }
}

/// Runs a script with `sh`, with the mountpoint as `$M`; it is ended after a minute.
@discardableResult
func shell(_ script: String, _ mountpoint: String = "") -> Outcome {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
  process.arguments = ["60", "sh", "-c", script]
  process.environment = [
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "M": mountpoint,
    "MEMORY": mountpoint + "/sys/kernel/debug/memory", "NODES": mountpoint + "/sys/devices/system/node",
    "PROGRAM": program,
  ]
  let pipe = Pipe()
  process.standardOutput = pipe
  process.standardError = pipe
  process.standardInput = FileHandle.nullDevice
  do { try process.run() } catch { return Outcome(status: 127, output: "\(error)") }
  let output = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return Outcome(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
}

/// A machine mounted on a directory of its own by the program, for as long as `body` runs; then all of it is taken away again, even
/// where the tests' own process dies.
func withMachine(_ machine: String = "four-node", _ options: [String] = [], _ body: (String) throws -> Void) throws {
  var template = Array("/tmp/veridianfs-end-XXXXXX".utf8CString)
  let path = unsafe template.withUnsafeMutableBufferPointer { unsafe String(cString: mkdtemp($0.baseAddress!)) }
  // A process that outlives this one, and takes the mount away when the pipe between them closes without a word.
  let guardian = Process()
  let leash = Pipe()
  guardian.executableURL = URL(fileURLWithPath: "/bin/sh")
  guardian.arguments = ["-c", "read word || { umount -l \(path); rmdir \(path); }"]
  guardian.standardInput = leash
  try guardian.run()
  defer {
    shell("mountpoint -q $M && umount -l $M", path)
    #expect(unsafe rmdir(path) == 0, "something was left behind at \(path)")
    leash.fileHandleForWriting.write(Data("\n".utf8))
    guardian.waitUntilExit()
  }
  let server = Process()
  server.executableURL = URL(fileURLWithPath: program)
  server.arguments = ["mount", path, "--machine", machine, "--log-level", "error"] + options
  server.standardInput = FileHandle.nullDevice
  try server.run()
  let answers = shell("for i in $(seq 400); do [ -e $M/proc ] && exit 0; sleep 0.05; done; exit 1", path)
  try #require(answers.status == 0, "\(machine) was not mounted within 20 seconds")
  try body(path)
}
