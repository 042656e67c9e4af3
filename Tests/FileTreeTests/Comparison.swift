import Foundation
import Testing
import Topology

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

extension CapturedEntry {
  /// The machine that a capture shows, read as the tree of a real machine.
  static func imported(_ name: String) throws -> MachineDescription {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("captured-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: root) }
    for entry in try load(name) {
      let path = root.appendingPathComponent(entry.path)
      let directory = entry.type == "dir" ? path : path.deletingLastPathComponent()
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      if let link = entry.link {
        try FileManager.default.createSymbolicLink(atPath: path.path, withDestinationPath: link)
      } else if entry.type == "file" {
        try (entry.content ?? "").write(to: path, atomically: false, encoding: .utf8)
      }
    }
    return try MachineSource.load(root.path)
  }
}

/// What zoneinfo says of each zone.
struct ZoneNumbers {
  /// What follows from the machine alone.
  static let fixed = [
    "boost", "min", "low", "high", "spanned", "present", "managed", "cma", "protection:", "high:", "batch:",
    "start_pfn:",
    "cpu:", "threshold",
  ]
  /// By `node zone`: the numbers behind each word, in order.
  var zones: [String: [String: [String]]] = [:]

  init(_ text: String) {
    let words = Self.fixed + ["pages", "count:"]
    var zone = ""
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ").map(String.init)
      if parts.first == "Node" {
        zone = "\(parts[1].filter(\.isNumber)) \(parts[3])"
        zones[zone] = [:]
      } else if words.contains(parts[0]) {
        zones[zone]?[parts[0], default: []].append(parts.dropFirst().joined(separator: " "))
      } else if line.contains("threshold:") {
        zones[zone]?["threshold", default: []].append(parts.last ?? "")
      }
    }
  }

  /// The fixed numbers of a zone.
  func fixed(_ zone: String) -> [String: [String]]? { zones[zone]?.filter { Self.fixed.contains($0.key) } }

  /// The lines of one zone alone.
  static func lines(_ text: String, of zone: String) -> String {
    guard let start = text.range(of: zone + "\n") else { return "" }
    let rest = text[start.upperBound...]
    return String(rest[..<(rest.range(of: "\nNode ")?.lowerBound ?? rest.endIndex)])
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
      /\/(online|possible|present|has_\w+|cpulist|cpumap|distance|block_size_bytes|phys_index|valid_zones|state|nodelist|read_latency|write_latency|read_bandwidth|write_bandwidth|kernel_max|removable|shared_cpu_\w+|[a-z]+_cpus(_list)?|[a-z]+_siblings(_list)?|[a-z_]+_id|level|size|type)$/
    let padded = /\/(meminfo|buddyinfo|pagetypeinfo)$/
    if path.firstMatch(of: exact) != nil { return real == ours ? nil : "\(ours), real \(real)" }
    let theirs = real.split(separator: "\n", omittingEmptySubsequences: false)
    let mine = ours.split(separator: "\n", omittingEmptySubsequences: false)
    let (wanted, got) = (theirs.map(shape), mine.map(shape))
    guard wanted == got else {
      return
        "lacks \(wanted.filter { !got.contains($0) }.prefix(5)), adds \(got.filter { !wanted.contains($0) }.prefix(5))"
    }
    guard path.firstMatch(of: padded) != nil else { return nil }
    for (a, b) in zip(theirs, mine) where a.count != b.count {
      return "column width: \(b), real \(a)"
    }
    return nil
  }
}
