import Foundation
import Testing

/// An entry of a pseudo file system as a real kernel showed it: a line of a capture.
struct CapturedEntry: Decodable {
  var type: String
  var mode: String
  var size: Int64
  var path: String
  var link: String?
  /// What reading it fails with.
  var error: String?
  var content: String?

  static func load(_ name: String) throws -> [CapturedEntry] {
    let file = try #require(Bundle.module.url(forResource: name, withExtension: "jsonl", subdirectory: "Fixtures"))
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map {
      try JSONDecoder().decode(CapturedEntry.self, from: Data($0.utf8))
    }
  }
}

/// Whether content agrees with a real kernel's: to the byte where the topology alone decides, else in its shape.
enum Comparison {
  /// A line with every number as `#`, and the padding before it as one space.
  static func shape(_ line: some StringProtocol) -> String {
    String(line)
      .replacing(/\b(0x[0-9a-fA-F]+|(?=[a-f]*\d)[0-9a-f]{7,16})\b/.wordBoundaryKind(.simple), with: "#")
      .replacing(/-?\b\d+(\.\d+)?\b/.wordBoundaryKind(.simple), with: "#")
      .replacing(/\s+/, with: " ")
  }

  /// How `ours` differs from the real kernel's content of the file at `path`; nil where it agrees.
  static func difference(_ real: String, _ ours: String, at path: String) -> String? {
    let exact =
      /\/(online|possible|present|has_\w+|cpulist|cpumap|distance|block_size_bytes|phys_index|valid_zones|state|kernel_max|removable|shared_cpu_\w+|[a-z]+_cpus(_list)?|[a-z]+_siblings(_list)?|[a-z_]+_id|level|size|type)$/
    let padded = /\/(meminfo|buddyinfo)$/
    if path.firstMatch(of: exact) != nil { return real == ours ? nil : "\(ours), real \(real)" }
    let theirs = real.split(separator: "\n", omittingEmptySubsequences: false)
    let mine = ours.split(separator: "\n", omittingEmptySubsequences: false)
    let (wanted, got) = (theirs.map(shape), mine.map(shape))
    guard wanted == got else {
      return
        "lacks \(wanted.filter { !got.contains($0) }.prefix(5)), adds \(got.filter { !wanted.contains($0) }.prefix(5))"
    }
    guard path.firstMatch(of: padded) != nil else { return nil }
    // A number that its column does not hold makes its line longer.
    let overlong = /\d{9}/
    for (a, b) in zip(theirs, mine) where a.count != b.count && a.firstMatch(of: overlong) == nil {
      return "column width: \(b), real \(a)"
    }
    return nil
  }
}
