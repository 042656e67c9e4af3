import Glibc
import Logging
import SystemPackage

/// A directory to mount on, or that something is mounted on.
struct Mountpoint {
  /// Absolute and without links.
  let path: FilePath

  /// Finds `name`, whose last part may be a mount that no longer answers. `isMounted`: something ought to be there.
  init(_ name: String, isMounted: Bool = false) throws(Failure) {
    if name.isEmpty { throw Failure("the mountpoint's name is empty; name a directory") }
    if let path = Self.resolve(name) {
      self.path = FilePath(path)
      return
    }
    let error = Errno.last
    guard error == Self.deadError, let last = FilePath(name).lastComponent,
      let parent = Self.resolve(FilePath(name).removingLastComponent().string)
    else { throw Failure(Self.explain(name, error, isMounted: isMounted)) }
    path = FilePath(parent).appending(last)
  }

  /// What every access to a mount gets whose process has gone.
  private static let deadError = Errno.socketNotConnected

  private static func resolve(_ name: String) -> String? {
    // SAFETY: realpath allocates what it returns, and gives it away.
    guard let path = unsafe realpath(name.isEmpty ? "." : name, nil) else { return nil }
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }

  private static func explain(_ name: String, _ error: Errno, isMounted: Bool = false) -> String {
    switch error {
    case .noSuchFileOrDirectory where isMounted: "\(name): no such directory, so nothing is mounted there"
    case .noSuchFileOrDirectory: "\(name): no such directory; create it with: mkdir -p '\(name)'"
    case .permissionDenied: "\(name): permission denied; choose a directory of your own"
    default: "\(name): \(error)"
    }
  }

  /// Whether a mount is here whose process has gone ("Transport endpoint is not connected").
  ///
  /// Attributes may be cached, and be answered for a mount that is dead; what statvfs(3) says never is.
  private var isDead: Bool {
    var status = statvfs()
    return unsafe statvfs(path.string, &status) != 0 && Errno.last == Self.deadError
  }

  /// Makes sure that a machine can be mounted here, and takes away a dead mount of ours.
  func prepare(_ log: Logger) throws(Failure) {
    while isDead {
      guard let mount = try MountTable.entry(at: path), mount.isOurs else {
        throw Failure("\(path): a dead mount of another program is there; take it away first: umount '\(path)'")
      }
      try detach(lazily: true)
      log.notice("took away a dead mount at \(path)")
    }
    if let mount = try MountTable.entry(at: path), mount.isOurs {
      throw Failure(
        "\(path): a machine is mounted there already; choose another directory, or unmount it first: "
          + "veridianfs unmount '\(path)'")
    }
    var status = stat()
    guard unsafe stat(path.string, &status) == 0 else { throw Failure(Self.explain(path.string, .last)) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw Failure("\(path): not a directory; choose one") }
    guard try isEmpty() else {
      throw Failure("\(path): not empty, and a mount would hide what is there; choose an empty directory")
    }
  }

  private func isEmpty() throws(Failure) -> Bool {
    guard let directory = unsafe opendir(path.string) else { throw Failure(Self.explain(path.string, .last)) }
    defer { unsafe closedir(directory) }
    var count = 0
    // `.` and `..` are always there.
    while unsafe readdir(directory) != nil { count += 1 }
    return count <= 2
  }

  /// Takes the topmost mount away: by the system call as root, else through fusermount3, which is allowed to for its user.
  func detach(lazily: Bool) throws(Failure) {
    if geteuid() == 0 {
      guard unsafe umount2(path.string, Int32(lazily ? MNT_DETACH : 0) | Int32(UMOUNT_NOFOLLOW)) != 0 else { return }
      throw Failure(explainDetaching(.last))
    }
    let status = try Process.run("fusermount3", lazily ? ["-u", "-q", "-z", path.string] : ["-u", "-q", path.string])
    if status != 0 { throw Failure(explainDetaching(lazily ? .notPermitted : .resourceBusy)) }
  }

  private func explainDetaching(_ error: Errno) -> String {
    switch error {
    case .resourceBusy:
      "\(path): busy: a process has a file open or its working directory there; to see which: fuser -vm '\(path)'"
    case .notPermitted: "\(path): no permission to unmount; try as the user who mounted it, or as root"
    default: "\(path): cannot be unmounted: \(error)"
    }
  }
}
