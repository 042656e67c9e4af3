#if canImport(Glibc)
  internal import Glibc
#endif

/// What the emulation may still take of the host: emulated memory is the host's as far as it is used, and a machine can have more.
enum HostMemory {
  /// Less than a quarter of the host's memory is left. False where the host does not say. A read of /proc/meminfo.
  static var isShort: Bool {
    let file = unsafe open("/proc/meminfo", O_RDONLY | O_CLOEXEC)
    if file < 0 { return false }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 512)
    // SAFETY: the buffer is written while the array is held.
    let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
    if count <= 0 { return false }
    func kilobytes(_ name: String) -> UInt64? {
      let lines = bytes[..<count].split(separator: UInt8(ascii: "\n"))
      guard let line = lines.first(where: { $0.starts(with: name.utf8) }) else { return nil }
      return UInt64(String(decoding: line.filter { (48...57).contains($0) }, as: UTF8.self))
    }
    guard let total = kilobytes("MemTotal:"), let available = kilobytes("MemAvailable:") else { return false }
    return available < total / 4
  }

  /// How many pages are made ahead between two looks at it.
  static let interval: UInt64 = 1 << 16
}
