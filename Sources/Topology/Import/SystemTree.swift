import Glibc

/// Reads files below a root that is laid out as a Linux system's. What is missing or unreadable is `nil` or empty.
struct SystemTree {
  /// Without a slash at the end; empty for the system's own root.
  let root: String

  /// No file that is read here is longer on a machine of the largest size (`/proc/cpuinfo`: 8192 CPUs of 1.5 KiB).
  private static let longest = 64 << 20

  init(root: String) {
    var root = root
    while root.hasSuffix("/") { root.removeLast() }
    self.root = root
  }

  func text(_ path: String) -> String? { Self.contents(of: "\(root)/\(path)") }

  /// A file's first word.
  func word(_ path: String) -> Substring? { text(path)?.split(whereSeparator: \.isWhitespace).first }

  func integer(_ path: String) -> Int? { word(path).flatMap { Int($0) } }

  /// A directory's entries, in no particular order.
  func names(in path: String) -> [String] {
    guard let directory = unsafe opendir("\(root)/\(path)") else { return [] }
    // SAFETY: `directory` is an open directory until the end of this function, and nobody else's.
    defer { unsafe closedir(directory) }
    var names: [String] = []
    // SAFETY: readdir's answer is valid until the next call on the same directory; its name ends in a null byte.
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      names.append(name)
    }
    return names
  }

  /// The numbers N of the entries that are called `prefix` and N, ascending.
  func instances(of prefix: String, in path: String) -> [Int] {
    names(in: path).compactMap { name in
      guard name.hasPrefix(prefix) else { return nil }
      let digits = name.dropFirst(prefix.count)
      return digits.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(digits) : nil
    }.sorted()
  }

  /// A whole file as text, whatever its stated size (that of files under `/proc` is 0); `nil` where it cannot be read.
  static func contents(of path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count <= longest {
      // SAFETY: the pointer is to `chunk`'s bytes and used during the call only.
      let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return nil
      }
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk.prefix(count)
    }
    return nil
  }

  enum EntryKind { case file, directory }

  static func kind(of path: String) -> EntryKind? {
    var status = stat()
    // SAFETY: `status` outlives the call, which fills it.
    guard unsafe stat(path, &status) == 0 else { return nil }
    return status.st_mode & S_IFMT == S_IFDIR ? .directory : .file
  }
}
