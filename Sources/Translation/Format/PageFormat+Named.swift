public import MemoryTypes

extension PageFormat {
  /// Every format, in the order of the architectures. The tests run over all of them.
  public static let all: [PageFormat] = [
    .x86_64, .x86_64_5level, .pae, .aarch64_4k, .aarch64_16k, .aarch64_64k, .sv39, .sv48,
  ]

  /// The format of that name (`4level`, `5level`; `pae`; `4k`, `16k`, `64k`; `sv39`, `sv48`) where the architecture has it.
  public static func named(_ name: String, for architecture: Architecture) -> PageFormat? {
    all.first { $0.architecture == architecture && $0.name.description == name }
  }

  /// What a machine has that names none: the first of its architecture in `all`.
  public static func standard(for architecture: Architecture) -> PageFormat {
    switch architecture {
    case .x86_64: .x86_64
    case .i386: .pae
    case .aarch64: .aarch64_4k
    case .riscv64: .sv39
    }
  }

  /// The names that `paging=` takes on this architecture.
  public static func names(for architecture: Architecture) -> [String] {
    all.filter { $0.architecture == architecture }.map(\.name.description)
  }
}
