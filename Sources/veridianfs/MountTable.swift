import FuseServer
import Glibc
import SystemPackage

/// What is mounted where, in this process's mount namespace.
enum MountTable {
  struct Entry: Equatable {
    var mountpoint: String
    /// `fuse.veridianfs` for a mount of ours.
    var type: String
    var isOurs: Bool { type == "fuse.\(FuseServer.fileSystemName)" }
  }

  /// The mount that covers `path` itself, an absolute path without links: the last of those on top of one another.
  static func entry(at path: FilePath) throws(Failure) -> Entry? {
    try entries().last { $0.mountpoint == path.string }
  }

  private static func entries() throws(Failure) -> [Entry] {
    let path = "/proc/self/mountinfo"
    guard let text = contents(of: path) else {
      throw Failure("\(path) cannot be read, and with it what is mounted: \(Errno.last)")
    }
    return parse(text)
  }

  /// proc(5), "/proc/PID/mountinfo": the fifth field is the mountpoint, and the type follows a field that is a single hyphen.
  static func parse(_ text: String) -> [Entry] {
    text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count > 4, let hyphen = fields.dropFirst(6).firstIndex(of: "-"), hyphen + 1 < fields.count else {
        return nil
      }
      return Entry(mountpoint: unescape(fields[4]), type: String(fields[hyphen + 1]))
    }
  }

  /// Blanks, tabs, newlines and backslashes stand there as a backslash and three octal digits.
  private static func unescape(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// The whole of a file as text; nil, with errno set, where it cannot be read.
func contents(of path: String) -> String? {
  guard let file = try? FileDescriptor.open(FilePath(path), .readOnly) else { return nil }
  defer { try? file.close() }
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    guard let count = try? unsafe buffer.withUnsafeMutableBytes({ try unsafe file.read(into: $0) }) else { return nil }
    if count == 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += buffer[..<count]
  }
}
