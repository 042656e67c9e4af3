public import MemoryTypes

/// The page formats that a machine's kernel may run with, by the words of the `paging` setting.
public enum Paging: String, CaseIterable, Sendable, CustomStringConvertible {
  /// x86-64 with four levels (Intel SDM 3A, 4.5).
  case fourLevel = "4level"
  /// x86-64 with five levels, LA57.
  case fiveLevel = "5level"
  /// 32-bit x86 with physical address extension (Intel SDM 3A, 4.4).
  case pae
  /// AArch64 with granules of 4, 16 or 64 KiB (Arm ARM, D8.2).
  case granule4K = "4k"
  case granule16K = "16k"
  case granule64K = "64k"
  /// RISC-V with three or four levels (RISC-V privileged manual, 10.4 and 10.5).
  case sv39, sv48

  public var description: String { rawValue }

  public var architecture: Architecture {
    switch self {
    case .fourLevel, .fiveLevel: .x86_64
    case .pae: .i386
    case .granule4K, .granule16K, .granule64K: .aarch64
    case .sv39, .sv48: .riscv64
    }
  }

  /// The size of its smallest page, which is the machine's frame size.
  public var frameSize: FrameSize {
    switch self {
    case .granule16K: .kib16
    case .granule64K: .kib64
    case .fourLevel, .fiveLevel, .pae, .granule4K, .sv39, .sv48: .kib4
    }
  }

  /// The formats of `architecture`, its default first.
  public static func modes(of architecture: Architecture) -> [Paging] {
    allCases.filter { $0.architecture == architecture }
  }
}

extension Architecture {
  /// What `paging` is where the settings do not say.
  public var defaultPaging: Paging {
    switch self {
    case .x86_64: .fourLevel
    case .i386: .pae
    case .aarch64: .granule4K
    case .riscv64: .sv39
    }
  }

  /// How many bits a physical address has at most: 52 (Intel SDM 3A, 4.1.4), 36 (what 32-bit Linux uses of PAE), 48 (Arm ARM,
  /// without FEAT_LPA), 56 (RISC-V privileged manual, 10.4).
  public var physicalAddressBits: Int {
    switch self {
    case .x86_64: 52
    case .i386: 36
    case .aarch64: 48
    case .riscv64: 56
    }
  }
}
