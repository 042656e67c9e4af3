import Glibc
import SystemPackage

/// What went wrong and what to do about it, one line a mistake, for people to read. The program ends with status 1.
struct Failure: Error {
  var lines: [String]
  init(_ line: String) { lines = [line] }
  init(lines: [String]) { self.lines = lines }
}

extension Errno {
  /// What just went wrong.
  static var last: Errno { Errno(rawValue: errno) }
}
