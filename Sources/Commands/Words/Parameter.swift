public import MemoryTypes
internal import SystemPackage

/// What a verb takes in one place: positional, or behind `name=`.
public struct Parameter: Sendable {
  public enum Kind: Sendable {
    case number(ClosedRange<UInt64>)
    case zone
    /// One of these words.
    case choice([String])
    /// Any word.
    case word
    /// The name alone, without a value: it is there or not.
    case flag
  }
  public let name: String
  public let kind: Kind
  /// What it means, with its unit.
  public let documentation: String

  public init(_ name: String, _ kind: Kind, _ documentation: String) {
    self.name = name
    self.kind = kind
    self.documentation = documentation
  }

  /// How usage lines show it.
  var placeholder: String {
    switch kind {
    case .choice(let words): words.joined(separator: "|")
    case .number, .zone, .word: name.uppercased()
    case .flag: name
    }
  }

  var isFlag: Bool {
    if case .flag = kind { return true }
    return false
  }

  /// How a line gives a key: `name=` and its value, or a flag's name alone.
  var form: String { isFlag ? name : "\(name)=" }

  func parse(_ token: Token) throws(Refusal) -> Arguments.Value {
    switch kind {
    case .number(let range):
      let value = try token.number()
      guard range.contains(value) else {
        throw Refusal(
          .outOfRange, "\(token.quoted) is out of range for \(name) (\(range.lowerBound) to \(range.upperBound))")
      }
      return .number(value)
    case .zone:
      guard let zone = ZoneKind(name: token.text) else {
        let names = ZoneKind.allCases.map(\.description).joined(separator: ", ")
        throw Refusal(.invalidArgument, "\(token.quoted) is no zone (\(names))")
      }
      return .zone(zone)
    case .choice(let words):
      guard words.contains(where: { token == $0 }) else {
        throw Refusal(.invalidArgument, "\(token.quoted) is not \(words.joined(separator: " or "))")
      }
      return .word(token)
    case .word:
      return .word(token)
    case .flag:
      return .flag
    }
  }
}

/// What a line gave a verb, checked against its grammar. Lives no longer than the line.
public struct Arguments {
  enum Value {
    case number(UInt64)
    case zone(ZoneKind)
    case word(Token)
    case flag
  }
  /// How many parameters a verb may have.
  static let room = 16

  private let verb: Verb
  /// In the order of the verb's parameters, the positional ones first; nil for what the line does not have.
  var values = InlineArray<16, Value?>(repeating: nil)

  init(of verb: Verb) { self.verb = verb }

  /// The verb's, for a refusal that shows it.
  var usage: String { verb.usage }

  private subscript(name: String) -> Value? { verb.index(name).flatMap { values[$0] } }

  public func number(_ name: String) -> UInt64? {
    guard case .number(let value) = self[name] else { return nil }
    return value
  }
  public func zone(_ name: String) -> ZoneKind? {
    guard case .zone(let value) = self[name] else { return nil }
    return value
  }
  public func flag(_ name: String) -> Bool {
    guard case .flag = self[name] else { return false }
    return true
  }
  /// A word with its place in the line.
  func token(_ name: String) -> Token? {
    guard case .word(let value) = self[name] else { return nil }
    return value
  }
  public var node: NodeID? { number("node").map { NodeID(Int($0)) } }
  public var cpu: CPUID? { number("cpu").map { CPUID(Int($0)) } }
}
