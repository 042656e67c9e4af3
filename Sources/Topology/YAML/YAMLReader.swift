import MemoryTypes
import Yams

/// Reads a description from YAML nodes and goes on after each mistake, so that all are found at once.
struct YAMLReader {
  var mistakes: [YAMLMistake] = []
  /// Where each part of the description stands, for the mistakes that `validate` finds.
  var marks: [Mistake.Place: TextPosition] = [:]
  /// How many entries were read so far, which is the next one's index.
  var cacheCount = 0
  var reservedCount = 0
  var performanceCount = 0

  mutating func report(_ node: Yams.Node?, _ text: String) {
    mistakes.append(YAMLMistake(node.flatMap { position($0) }, text))
  }

  func position(_ node: Yams.Node) -> TextPosition? { node.mark.map { TextPosition($0) } }

  // MARK: Mappings and sequences

  /// A mapping's values by key. Reports what is no mapping, keys that are not `known`, and those of `required` that are missing.
  mutating func fields(_ node: Yams.Node, of what: String, known: [String], required: [String] = []) -> [String: Yams
    .Node]?
  {
    guard case .mapping(let mapping) = node else {
      report(
        node, "\(what): expected keys with values (\(known.joined(separator: ", "))), found \(Self.kind(of: node))")
      return nil
    }
    var fields: [String: Yams.Node] = [:]
    for (key, value) in mapping {
      let name = key.string ?? ""
      if name.first == YAMLText.duplicate { continue }
      if known.contains(name) {
        fields[name] = value
      } else {
        report(key, "\(what): unknown key '\(name)': expected \(known.joined(separator: ", "))")
      }
    }
    for name in required where fields[name] == nil { report(node, "\(what): expected a key '\(name)'") }
    return fields
  }

  mutating func items(_ node: Yams.Node, of what: String, most: Int) -> [Yams.Node]? {
    guard case .sequence(let sequence) = node else {
      report(node, "\(what): expected a list, found \(Self.kind(of: node))")
      return nil
    }
    guard sequence.count <= most else {
      report(node, "\(what): expected at most \(most) entries, found \(sequence.count)")
      return nil
    }
    return Array(sequence)
  }

  static func kind(of node: Yams.Node) -> String {
    switch node {
    case .scalar(let scalar): scalar.string.isEmpty ? "nothing" : "'\(scalar.string.prefix(40))'"
    case .mapping: "keys with values"
    case .sequence: "a list"
    case .alias: "an alias"
    }
  }

  // MARK: Scalars

  mutating func string(_ node: Yams.Node, _ what: String) -> String? {
    guard case .scalar(let scalar) = node else {
      report(node, "\(what): expected a text, found \(Self.kind(of: node))")
      return nil
    }
    return scalar.string
  }

  mutating func size(_ node: Yams.Node, _ what: String) -> UInt64? {
    if case .scalar(let scalar) = node, let size = Quantity.parse(scalar.string) { return size }
    report(node, "\(what): expected a size below 2^64 (as 4096, 0x1000, 64K, 1G), found \(Self.kind(of: node))")
    return nil
  }

  mutating func integer(_ node: Yams.Node?, _ what: String, in range: ClosedRange<Int>, default missing: Int? = nil)
    -> Int?
  {
    guard let node else { return missing }
    if case .scalar(let scalar) = node, let number = Quantity.parse(scalar.string), number <= UInt64(range.upperBound),
      range.contains(Int(number))
    {
      return Int(number)
    }
    report(
      node, "\(what): expected a number from \(range.lowerBound) to \(range.upperBound), found \(Self.kind(of: node))")
    return nil
  }

  mutating func word<Value: RawRepresentable<String> & CaseIterable>(_ node: Yams.Node, _ what: String, _: Value.Type)
    -> Value?
  {
    if case .scalar(let scalar) = node, let value = Value(rawValue: scalar.string) { return value }
    let words = Value.allCases.map(\.rawValue).joined(separator: ", ")
    report(node, "\(what): expected \(words), found \(Self.kind(of: node))")
    return nil
  }

  mutating func list(_ node: Yams.Node, _ what: String) -> [Int]? {
    let limit = MachineDescription.maximumCPUs
    if case .scalar(let scalar) = node,
      let ids = RangeList.parse(list: scalar.string == "~" ? "" : scalar.string, limit: limit)
    {
      return ids
    }
    if case .sequence(let sequence) = node {
      let ids = sequence.prefix(limit + 1).map { integer($0, what, in: 0...(limit - 1)) }
      return sequence.count <= limit && ids.allSatisfy { $0 != nil } ? Array(Set(ids.compactMap(\.self))).sorted() : nil
    }
    report(node, "\(what): expected a list of numbers below \(limit) (as 0-3,8), found \(Self.kind(of: node))")
    return nil
  }

  /// `FIRST-LAST`, the last byte included, or `START+SIZE`.
  mutating func range(_ node: Yams.Node, _ what: String) -> PhysicalRange? {
    if case .scalar(let scalar) = node {
      let text = scalar.string
      let byLast = text.split(separator: "-", omittingEmptySubsequences: false)
      let bySize = text.split(separator: "+", omittingEmptySubsequences: false)
      if byLast.count == 2, let first = Quantity.parse(byLast[0]), let last = Quantity.parse(byLast[1]) {
        if last >= first, last < .max {
          return PhysicalRange(start: PhysicalAddress(first), size: ByteCount(last - first + 1))
        }
        report(node, "\(what): expected FIRST-LAST with FIRST before LAST, found '\(text)'")
        return nil
      }
      if bySize.count == 2, let start = Quantity.parse(bySize[0]), let size = Quantity.parse(bySize[1]) {
        if !start.addingReportingOverflow(size).overflow {
          return PhysicalRange(start: PhysicalAddress(start), size: ByteCount(size))
        }
        report(node, "\(what): '\(text)' ends behind 2^64")
        return nil
      }
    }
    report(node, "\(what): expected FIRST-LAST or START+SIZE (as 0x0-0x3fffffff, 4G+1G), found \(Self.kind(of: node))")
    return nil
  }
}
