import Glibc
import SystemPackage

/// Other processes, without fork: posix_spawn(3) alone is safe where threads may run.
enum Process {
  /// Starts a program, found in PATH unless its name has a slash, which is told that `name` (or its own, where that is nil) is what it was
  /// called, in which standard input and output are /dev/null and standard error is
  /// `errors` (this process's own where that is nil), and in which no signal is blocked.
  static func start(
    _ program: String, as name: String? = nil, _ arguments: [String], errors: FileDescriptor? = nil
  ) throws(Failure) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    if let errors { unsafe posix_spawn_file_actions_adddup2(&actions, errors.rawValue, 2) }
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    // SAFETY: the strings are this function's own until the program has its copies.
    var vector = unsafe ([name ?? program] + arguments).map { unsafe strdup($0) } + [nil]
    defer { unsafe vector.forEach { unsafe free($0) } }
    var process = pid_t()
    let failure = unsafe posix_spawnp(&process, program, &actions, &attributes, &vector, environ)
    guard failure == 0 else { throw Failure("\(program) cannot be started: \(Errno(rawValue: failure))") }
    return process
  }

  /// The status that a process of `start` ends with; a signal's number plus 128 where it is killed.
  static func wait(_ process: pid_t) -> Int32 {
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0, Errno.last == .interrupted {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }

  static func run(_ program: String, _ arguments: [String]) throws(Failure) -> Int32 {
    wait(try start(program, arguments))
  }
}
