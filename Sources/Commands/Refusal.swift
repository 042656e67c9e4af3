public import SystemPackage

/// Why a line is not carried out: the writer's errno and the reader's reason. Nothing has changed.
public struct Refusal: Error, Equatable, Sendable {
  public var errno: Errno
  /// In words, with the offending part of the line where one is to blame.
  public var reason: String

  public init(_ errno: Errno, _ reason: String) {
    self.errno = errno
    self.reason = reason
  }

  /// `EINVAL (reason)`, as strace prints an error and its text.
  public var description: String { "\(errno.symbol) (\(reason))" }
}

extension Errno {
  /// The constant's name in errno(3), for those that a line can be refused with.
  var symbol: String {
    switch self {
    case .invalidArgument: "EINVAL"
    case .noMemory: "ENOMEM"
    case .operationNotSupportedByDevice: "ENODEV"
    case .noSuchAddressOrDevice: "ENXIO"
    case .outOfRange: "ERANGE"
    case .resourceBusy: "EBUSY"
    case .notPermitted: "EPERM"
    case .permissionDenied: "EACCES"
    case .badAddress: "EFAULT"
    case .fileExists: "EEXIST"
    case .noSuchFileOrDirectory: "ENOENT"
    case .fileTooLarge: "EFBIG"
    case .noSuchProcess: "ESRCH"
    case .noFunction: "ENOSYS"
    case .argListTooLong: "E2BIG"
    case .noSpace: "ENOSPC"
    default: "errno \(rawValue)"
    }
  }
}
