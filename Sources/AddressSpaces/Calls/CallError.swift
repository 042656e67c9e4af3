/// Why a system call fails, with Linux's number. The name is what a transcript prints.
public enum CallError: Int32, Error, Sendable, CaseIterable {
  case notPermitted = 1
  case noEntry = 2
  case noSuchProcess = 3
  case io = 5
  case badDescriptor = 9
  case tryAgain = 11
  case outOfMemory = 12
  case accessDenied = 13
  case badAddress = 14
  case busy = 16
  case exists = 17
  case noDevice = 19
  case invalid = 22
  case noSystemCall = 38
  case overflow = 75
  case notSupported = 95

  /// `EINVAL`, as strerrorname_np(3).
  public var name: String {
    switch self {
    case .notPermitted: "EPERM"
    case .noEntry: "ENOENT"
    case .noSuchProcess: "ESRCH"
    case .io: "EIO"
    case .badDescriptor: "EBADF"
    case .tryAgain: "EAGAIN"
    case .outOfMemory: "ENOMEM"
    case .accessDenied: "EACCES"
    case .badAddress: "EFAULT"
    case .busy: "EBUSY"
    case .exists: "EEXIST"
    case .noDevice: "ENODEV"
    case .invalid: "EINVAL"
    case .noSystemCall: "ENOSYS"
    case .overflow: "EOVERFLOW"
    case .notSupported: "EOPNOTSUPP"
    }
  }
}
