import Glibc
import SystemPackage

/// Serving from a process of its own.
///
/// The program starts itself once more, with a pipe as the new process's standard error. What that writes before it serves (the
/// reason why it cannot, above all) is passed on; then it writes a NUL, and leaves the pipe. Where the pipe ends without one, it
/// has failed, and its status is the one to end with.
enum Background {
  static func start(_ command: MountCommand, at mountpoint: Mountpoint) throws {
    var arguments = ["mount", mountpoint.path.string, "--started-in-background"]
    arguments += ["--machine=\(command.machine)", "--threads=\(command.threads)"]
    arguments += command.settings.assignments.map { "--set=\($0)" }
    arguments += ["--log-level=\(command.logging.level)"]
    if command.allowOther { arguments.append("--allow-other") }

    let (reader, writer) = try makePipe()
    defer { try? reader.close() }
    let process = try Process.start(ownFile, as: programName, arguments, errors: writer)
    try writer.close()
    var isReady = false
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !isReady {
      let count = try unsafe buffer.withUnsafeMutableBytes { try unsafe reader.read(into: $0) }
      if count == 0 { break }
      isReady = buffer[..<count].contains(0)
      _ = try? FileDescriptor.standardError.writeAll(buffer[..<count].filter { $0 != 0 })
    }
    guard isReady else { Glibc.exit(max(1, Process.wait(process))) }
    // The session has begun; that it answers is seen by asking.
    var status = stat()
    guard unsafe stat(mountpoint.path.string, &status) == 0 else {
      throw Failure("\(mountpoint.path): mounted, but does not answer: \(Errno.last)")
    }
  }

  /// The file that this program was started from: by its path, after which the kernel names the process, or, where another file is at that
  /// path by now, by the link that leads to it, which makes the name `exe`.
  private static var ownFile: String {
    let link = "/proc/self/exe"
    guard let path = unsafe realpath(link, nil) else { return link }
    defer { unsafe free(path) }
    var (own, named) = (stat(), stat())
    guard unsafe stat(link, &own) == 0, unsafe stat(path, &named) == 0, own.st_dev == named.st_dev,
      own.st_ino == named.st_ino
    else { return link }
    return unsafe String(cString: path)
  }

  /// Closes what the new process has inherited besides its standard files: whoever waits for the end of a pipe of theirs must not wait for
  /// the mount's. To be called before it opens anything itself.
  static func closeInherited() {
    for descriptor in 3..<max(3, min(Int32(clamping: sysconf(Int32(_SC_OPEN_MAX))), 1 << 16)) { close(descriptor) }
  }

  /// Says that serving has begun, from the process that serves, and cuts what ties it to the one that started it.
  static func report() {
    setsid()
    unsafe chdir("/")
    let isHeard = (try? FileDescriptor.standardError.writeAll([0])) != nil
    // A new file descriptor takes the lowest number that is free, so this one is free to be replaced.
    if let null = try? unsafe FileDescriptor.open("/dev/null", .readWrite) {
      dup2(null.rawValue, 2)
      try? null.close()
    }
    // Whoever asked for the mount has gone, and will never know of it.
    if !isHeard { kill(getpid(), SIGTERM) }
  }

  /// Both ends are closed in the programs that this one starts.
  private static func makePipe() throws -> (reader: FileDescriptor, writer: FileDescriptor) {
    let ends = try FileDescriptor.pipe()
    for end in [ends.readEnd, ends.writeEnd] {
      guard fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) == 0 else { throw Errno.last }
    }
    return (ends.readEnd, ends.writeEnd)
  }
}
