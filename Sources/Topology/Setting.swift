import MemoryTypes

/// Why a setting was refused.
public enum SettingError: Error, Equatable, Sendable, CustomStringConvertible {
  case unknownKey(String, known: [String])
  case invalidValue(key: String, value: String, expected: String)

  public var description: String {
    switch self {
    case .unknownKey(let key, let known): "unknown setting '\(key)': expected one of \(known.joined(separator: ", "))"
    case .invalidValue(let key, let value, let expected): "setting \(key): expected \(expected), found '\(value)'"
    }
  }
}

/// A setting: one row of `Setting.all`.
public struct Setting: Sendable {
  /// What `--set` and machine files call it.
  public let key: String
  /// One sentence.
  public let documentation: String
  /// What may be given, as an error message says it.
  public let expected: String
  /// Takes the value from its text; false, with nothing changed, where it is not one.
  let parse: @Sendable (inout Settings, String) -> Bool
  /// The value as text; `nil` where it is left to the profile and the architecture.
  public let given: @Sendable (Settings) -> String?
  /// The value in force on a machine, as text.
  public let resolved: @Sendable (MachineDescription) -> String

  /// Every setting there is.
  public static let all: [Setting] = [
    Setting(
      key: "profile", documentation: "Whose rules and defaults hold where VeridianOS's and Linux's compete.",
      field: \.profile),
    Setting(
      key: "seed", documentation: "What the machine's random numbers grow from.", expected: "a number below 2^64",
      parse: { settings, text in assign(&settings.seed, Quantity.parse(text)) }, given: { "\($0.seed)" }),
    Setting(
      key: "aslr", documentation: "Whether addresses of processes are randomised.", expected: "on or off",
      parse: { settings, text in assign(&settings.aslr, onOrOff(text)) }, given: { $0.aslr ? "on" : "off" }),
    Setting(key: "thp", documentation: "When processes get huge pages (transparent_hugepage/enabled).", field: \.thp),
    Setting(
      key: "thp_shmem", documentation: "When shared memory gets huge pages (transparent_hugepage/shmem_enabled).",
      field: \.thpShared),
    Setting(
      key: "hugepages",
      documentation:
        "How many huge pages of the default size the pools hold at boot, the nodes taking turns; fewer where memory is short.",
      expected: "a number below 2^64",
      parse: { settings, text in assign(&settings.hugePages, Quantity.parse(text)) }, given: { "\($0.hugePages)" }),
    Setting(
      key: "paging",
      documentation:
        "The page format: 4level or 5level on x86-64, pae on 32-bit x86, 4k, 16k or 64k granules on AArch64, sv39 or sv48 on RISC-V.",
      expected: words(Paging.self),
      parse: { settings, text in
        guard let value = Paging(rawValue: text) else { return false }
        settings.paging = value
        return true
      }, given: { $0.paging?.rawValue }, resolved: { $0.resolvedPaging.rawValue }),
    Setting(
      key: "zones", documentation: "The kinds of zones, from the lowest addresses up.",
      expected: "a list with normal in it, in this order, of dma, dma32, normal, high, movable, device",
      parse: { settings, text in
        let names = text.split(separator: ",", omittingEmptySubsequences: false)
        let kinds = names.compactMap { ZoneKind(name: $0) }
        guard kinds.count == names.count, kinds.contains(.normal), zip(kinds, kinds.dropFirst()).allSatisfy({ $0 < $1 })
        else {
          return false
        }
        settings.zones = kinds
        return true
      }, given: { $0.zones.map(text) }, resolved: { text($0.resolvedZones) }),
    Setting(
      key: "wx", documentation: "Whether a mapping may be writable and executable at once.",
      expected: words(WriteXorExecute.self),
      parse: { settings, text in
        guard let value = WriteXorExecute(rawValue: text) else { return false }
        settings.wx = value
        return true
      }, given: { $0.wx?.rawValue }, resolved: { $0.settings.resolvedWX.rawValue }),
    Setting(
      key: "hybrid_threshold",
      documentation: "Requests of fewer frames are served by bitmaps, others by the buddy system.",
      expected: "1 to 512",
      parse: { settings, text in
        let value = Quantity.parse(text).flatMap { (1...512).contains($0) ? Int($0) : nil }
        return assign(&settings.hybridThreshold, value)
      }, given: { "\($0.hybridThreshold)" }),
    Setting(
      key: "tlb_cost_ns", documentation: "What one CPU's part of a TLB shootdown costs on the machine's clock.",
      expected: "nanoseconds, 0 to 1000000000",
      parse: { settings, text in
        assign(&settings.tlbCostNanoseconds, Quantity.parse(text).flatMap { $0 <= 1_000_000_000 ? $0 : nil })
      }, given: { "\($0.tlbCostNanoseconds)" }),
    Setting(
      key: "page_owner",
      documentation:
        "Whether sys/kernel/debug/page_owner shows who asked for each frame; costs 16 bytes a frame in use.",
      expected: "on or off",
      parse: { settings, text in assign(&settings.pageOwner, onOrOff(text)) }, given: { $0.pageOwner ? "on" : "off" }),
  ]

  /// The row of that key.
  public static func named(_ key: String) -> Setting? { all.first { $0.key == key } }

  private init(
    key: String, documentation: String, expected: String, parse: @escaping @Sendable (inout Settings, String) -> Bool,
    given: @escaping @Sendable (Settings) -> String?, resolved: (@Sendable (MachineDescription) -> String)? = nil
  ) {
    self.key = key
    self.documentation = documentation
    self.expected = expected
    self.parse = parse
    self.given = given
    self.resolved = resolved ?? { given($0.settings) ?? "" }
  }

  /// A setting whose value is one of an enumeration's words.
  private init<Value: RawRepresentable<String> & CaseIterable & SendableMetatype>(
    key: String, documentation: String, field: any WritableKeyPath<Settings, Value> & Sendable
  ) {
    self.init(
      key: key, documentation: documentation, expected: words(Value.self),
      parse: { settings, text in assign(&settings[keyPath: field], Value(rawValue: text)) },
      given: { $0[keyPath: field].rawValue })
  }
}

private func words<Value: RawRepresentable<String> & CaseIterable & SendableMetatype>(_: Value.Type) -> String {
  Value.allCases.map(\.rawValue).joined(separator: ", ")
}

private func onOrOff(_ text: String) -> Bool? {
  switch text {
  case "on", "true", "1": true
  case "off", "false", "0": false
  default: nil
  }
}

private func text(_ zones: [ZoneKind]) -> String { zones.map { $0.description.lowercased() }.joined(separator: ",") }

private func assign<Value>(_ field: inout Value, _ value: Value?) -> Bool {
  guard let value else { return false }
  field = value
  return true
}

extension Settings {
  /// Takes a setting from its text. Whether the value fits the machine is `MachineDescription.validate`'s to say.
  public mutating func set(_ key: String, _ value: String) throws(SettingError) {
    guard let setting = Setting.named(key) else { throw .unknownKey(key, known: Setting.all.map(\.key)) }
    guard setting.parse(&self, value) else {
      throw .invalidValue(key: key, value: value, expected: setting.expected)
    }
  }

  /// The seed enforces W^X; Linux leaves it to the program.
  public var resolvedWX: WriteXorExecute { wx ?? (profile == .veridian ? .enforce : .off) }
}
