/// The machines that have a name. `rawValue` is what `--machine` takes.
public enum Preset: String, CaseIterable, Sendable {
  case fourNode = "four-node"
  case laptop
  case dualSocket = "dual-socket"
  case eightSocket = "eight-socket"
  case cxl
  case hmat
  case tera
  case i386HighMemory = "i386-highmem"
  case aarch64
  case riscv64

  public static let standard = Preset.fourNode

  /// The machine in full, with default settings.
  public var machine: MachineDescription {
    switch self {
    case .fourNode: .fourNode
    case .laptop: .laptop
    case .dualSocket: .dualSocket
    case .eightSocket: .eightSocket
    case .cxl: .cxl
    case .hmat: .hmat
    case .tera: .tera
    case .i386HighMemory: .i386HighMemory
    case .aarch64: .aarch64
    case .riscv64: .riscv64
    }
  }
}

/// The presets as a list, `Preset.standard` first.
public enum Presets {
  public static var all: [MachineDescription] { Preset.allCases.map(\.machine) }
}

extension MachineDescription {
  /// The preset of that name; `nil` where there is none.
  public static func preset(named name: String) -> MachineDescription? { Preset(rawValue: name)?.machine }
}
