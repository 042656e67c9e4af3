internal import SystemPackage

/// What a pseudo file system does with the system calls that reach it, as measured on Linux 6.1.
struct FileSystemRules: Sendable {
  /// When open(2) compares the access mode with the file's mode bits.
  enum ModeCheck: Sendable {
    /// For everybody, and against all three classes' bits together: kernfs_fop_open.
    case everybodyAnyBit
    /// For everybody, root included, against the bits of their class: sysctl_perm.
    case everybodyOwnBits
    /// As everywhere: root may do what it likes.
    case everybodyButRoot
  }

  let name: String
  /// st_size of a regular file that declares no other.
  let fileSize: Int64
  let directoryMode: UInt16
  let modeCheck: ModeCheck
  /// What write(2) says on a file that takes nothing but could be opened for writing.
  let notWritable: Errno
  /// What read(2) says on a file that gives nothing but could be opened for reading.
  let notReadable: Errno
  /// The most bytes that one write(2) to an attribute takes; the rest is a short write.
  let longestStore: Int
  /// What chmod(2) and chown(2) say; nil carries them out.
  let modeChange: Errno?
  let create: Errno
  let makeNode: Errno
  let makeDirectory: Errno
  let unlink: Errno
  let removeDirectory: Errno
  let rename: Errno
  let link: Errno
  let symlink: Errno

  func refusal(of operation: NameOperation) -> Errno {
    switch operation {
    case .create: create
    case .makeNode: makeNode
    case .makeDirectory: makeDirectory
    case .unlink: unlink
    case .removeDirectory: removeDirectory
    case .rename: rename
    case .link: link
    case .symlink: symlink
    }
  }

  /// fs/kernfs, fs/sysfs.
  static let sysfs = FileSystemRules(
    name: "sysfs", fileSize: 4096, directoryMode: 0o755, modeCheck: .everybodyAnyBit, notWritable: .ioError,
    notReadable: .ioError, longestStore: 4096, modeChange: nil, create: .permissionDenied, makeNode: .notPermitted,
    makeDirectory: .notPermitted, unlink: .notPermitted, removeDirectory: .notPermitted, rename: .notPermitted,
    link: .notPermitted, symlink: .notPermitted)

  /// fs/proc/generic.c, fs/proc/inode.c.
  static let procfs = FileSystemRules(
    name: "procfs", fileSize: 0, directoryMode: 0o555, modeCheck: .everybodyButRoot, notWritable: .ioError,
    notReadable: .ioError, longestStore: .max, modeChange: nil, create: .noSuchFileOrDirectory,
    makeNode: .noSuchFileOrDirectory, makeDirectory: .noSuchFileOrDirectory, unlink: .notPermitted,
    removeDirectory: .notPermitted, rename: .noSuchFileOrDirectory, link: .noSuchFileOrDirectory,
    symlink: .noSuchFileOrDirectory)

  /// A process's directory (fs/proc/base.c): its files know what they cannot do by having no function for it.
  static let process = FileSystemRules(
    name: "process", fileSize: 0, directoryMode: 0o555, modeCheck: .everybodyButRoot, notWritable: .invalidArgument,
    notReadable: .invalidArgument, longestStore: .max, modeChange: .notPermitted, create: .noSuchFileOrDirectory,
    makeNode: .noSuchFileOrDirectory, makeDirectory: .noSuchFileOrDirectory, unlink: .notPermitted,
    removeDirectory: .notPermitted, rename: .noSuchFileOrDirectory, link: .noSuchFileOrDirectory,
    symlink: .noSuchFileOrDirectory)

  /// fs/debugfs/file.c.
  static let debugfs = FileSystemRules(
    name: "debugfs", fileSize: 0, directoryMode: 0o755, modeCheck: .everybodyButRoot, notWritable: .invalidArgument,
    notReadable: .invalidArgument, longestStore: .max, modeChange: nil, create: .permissionDenied,
    makeNode: .notPermitted, makeDirectory: .notPermitted, unlink: .notPermitted, removeDirectory: .notPermitted,
    rename: .notPermitted, link: .notPermitted, symlink: .notPermitted)

  /// What lies at the mount's root and under dev: fixed directories that are nobody's file system.
  static let root = FileSystemRules(
    name: "root", fileSize: 0, directoryMode: 0o755, modeCheck: .everybodyButRoot, notWritable: .invalidArgument,
    notReadable: .invalidArgument, longestStore: .max, modeChange: .notPermitted, create: .permissionDenied,
    makeNode: .notPermitted, makeDirectory: .notPermitted, unlink: .notPermitted, removeDirectory: .notPermitted,
    rename: .notPermitted, link: .notPermitted, symlink: .notPermitted)

  /// fs/proc/proc_sysctl.c.
  static let sysctl = FileSystemRules(
    name: "sysctl", fileSize: 0, directoryMode: 0o555, modeCheck: .everybodyOwnBits, notWritable: .permissionDenied,
    notReadable: .permissionDenied, longestStore: .max, modeChange: .notPermitted, create: .noSuchFileOrDirectory,
    makeNode: .noSuchFileOrDirectory, makeDirectory: .noSuchFileOrDirectory, unlink: .permissionDenied,
    removeDirectory: .permissionDenied, rename: .noSuchFileOrDirectory, link: .noSuchFileOrDirectory,
    symlink: .noSuchFileOrDirectory)

  /// The rules that hold at a path from the mount's root.
  static func forPath(_ path: some StringProtocol) -> FileSystemRules {
    func under(_ directory: String) -> Bool { path == directory || path.hasPrefix(directory + "/") }
    if under("sys/kernel/debug") { return .debugfs }
    if under("sys") { return .sysfs }
    if under("proc/sys") { return .sysctl }
    if under("proc/{pid}") { return .process }
    if under("proc") { return .procfs }
    return .root
  }
}
