/// A NUMA node's number, as in `nodeN`: 0 to 1023 (Linux's MAX_NUMNODES on x86-64).
@frozen public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: Int
  @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: Int) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  public var description: String { "node \(rawValue)" }
}

/// A logical CPU's number, as in `cpuN`: 0 to 8191 (Linux's NR_CPUS on x86-64).
@frozen public struct CPUID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: Int
  @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: Int) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  public var description: String { "CPU \(rawValue)" }
}

/// A process's number.
@frozen public struct ProcessID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: Int32
  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
  @inlinable public init(_ rawValue: Int32) { self.rawValue = rawValue }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  public var description: String { "process \(rawValue)" }
}

/// The kinds of zones, in the order in which Linux numbers them (`enum zone_type`).
public enum ZoneKind: UInt8, CaseIterable, Comparable, Sendable, CustomStringConvertible {
  case dma, dma32, normal, high, movable, device
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  /// The name in zoneinfo and buddyinfo. `High` is the seed's word for Linux's HighMem.
  public var description: String {
    switch self {
    case .dma: "DMA"
    case .dma32: "DMA32"
    case .normal: "Normal"
    case .high: "High"
    case .movable: "Movable"
    case .device: "Device"
    }
  }
  /// The kind of that name, in any case of letters.
  public init?(name: some StringProtocol) {
    guard let kind = Self.allCases.first(where: { $0.description.lowercased() == name.lowercased() }) else {
      return nil
    }
    self = kind
  }
}

/// Whether what lies in a frame can be moved or dropped (Linux's `enum migratetype`, as gfp flags choose it).
public enum Mobility: UInt8, CaseIterable, Sendable, CustomStringConvertible {
  case unmovable, movable, reclaimable
  public var description: String {
    switch self {
    case .unmovable: "unmovable"
    case .movable: "movable"
    case .reclaimable: "reclaimable"
    }
  }
}

/// The instruction-set architectures that a machine may have.
public enum Architecture: String, CaseIterable, Sendable, CustomStringConvertible {
  case x86_64, i386, aarch64, riscv64
  public var description: String { rawValue }
}
