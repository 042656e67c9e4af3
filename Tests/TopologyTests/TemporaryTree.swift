import Foundation

/// A directory with files, gone when the value is.
final class TemporaryTree {
  let root: String

  /// - Parameter files: paths with contents; a content `-> TARGET` makes a link.
  init(_ files: [String: String]) throws {
    let manager = FileManager.default
    // In memory where possible: an archive has thousands of files.
    let parent = manager.isWritableFile(atPath: "/dev/shm") ? "/dev/shm/" : NSTemporaryDirectory()
    root = parent + "topology-\(UUID().uuidString)"
    try manager.createDirectory(atPath: root, withIntermediateDirectories: true)
    for (path, content) in files {
      let full = "\(root)/\(path)"
      try manager.createDirectory(
        atPath: (full as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      if content.hasPrefix("-> ") {
        try manager.createSymbolicLink(atPath: full, withDestinationPath: String(content.dropFirst(3)))
      } else {
        try content.write(toFile: full, atomically: false, encoding: .utf8)
      }
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }
}

/// Runs a program and waits for it.
/// - Returns: its exit status.
func run(_ program: String, _ arguments: [String]) throws -> Int32 {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: program)
  process.arguments = arguments
  try process.run()
  process.waitUntilExit()
  return process.terminationStatus
}
