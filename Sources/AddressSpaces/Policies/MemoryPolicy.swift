internal import MemoryTypes

/// Where a process's or an area's new pages shall lie (Linux's `struct mempolicy`).
public struct MemoryPolicy: Hashable, Sendable {
  /// `MPOL_*`, with Linux's numbers and its names in numa_maps.
  public enum Mode: UInt64, Sendable {
    case `default` = 0
    case preferred = 1
    case bind = 2
    case interleave = 3
    case local = 4
    case preferredMany = 5

    var text: String {
      switch self {
      case .default: "default"
      case .preferred: "prefer"
      case .bind: "bind"
      case .interleave: "interleave"
      case .local: "local"
      case .preferredMany: "prefer (many)"
      }
    }
  }

  /// `MPOL_F_STATIC_NODES`, `MPOL_F_RELATIVE_NODES`, `MPOL_F_NUMA_BALANCING`.
  public struct ModeFlags: OptionSet, Hashable, Sendable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static var staticNodes: Self { Self(rawValue: 1 << 15) }
    public static var relativeNodes: Self { Self(rawValue: 1 << 14) }
    public static var balancing: Self { Self(rawValue: 1 << 13) }
    static var all: Self { [.staticNodes, .relativeNodes, .balancing] }
  }

  /// Never `default`: no policy is nil.
  public private(set) var mode: Mode
  public private(set) var flags: ModeFlags
  /// The nodes in effect: those asked for that have memory. Empty for `local`.
  public private(set) var nodes: NodeMask
  /// The nodes as asked for, kept for static and relative nodes alone.
  public private(set) var userNodes: NodeMask?

  /// `mode` as a caller gives it, its flags included; EINVAL for what is neither (`sanitize_mpol_flags`).
  static func parse(_ raw: UInt64) throws(CallError) -> (Mode, ModeFlags) {
    let flags = ModeFlags(rawValue: raw & ModeFlags.all.rawValue)
    // Linux takes the mode as an int: what lies above is cut off.
    guard let mode = Mode(rawValue: UInt64(UInt32(truncatingIfNeeded: raw & ~ModeFlags.all.rawValue))) else {
      throw .invalid
    }
    if flags.isSuperset(of: [.staticNodes, .relativeNodes]) { throw .invalid }
    if flags.contains(.balancing), mode != .bind { throw .invalid }
    return (mode, flags)
  }

  /// The policy asked for, or nil for the default (`mpol_new`, `mpol_set_nodemask`).
  static func make(_ mode: Mode, _ flags: ModeFlags, asked: NodeMask, withMemory: NodeMask) throws(CallError)
    -> MemoryPolicy?
  {
    var mode = mode
    switch mode {
    case .default:
      if !asked.isEmpty { throw .invalid }
      return nil
    case .preferred:
      if asked.isEmpty {
        if !flags.isDisjoint(with: [.staticNodes, .relativeNodes]) { throw .invalid }
        mode = .local
      }
    case .local:
      if !asked.isEmpty || !flags.isDisjoint(with: [.staticNodes, .relativeNodes]) { throw .invalid }
    case .bind, .interleave, .preferredMany:
      if asked.isEmpty { throw .invalid }
    }
    if mode == .local { return MemoryPolicy(mode: .local, flags: flags, nodes: NodeMask(), userNodes: nil) }
    var effective = flags.contains(.relativeNodes) ? asked.folded(onto: withMemory) : asked.intersection(withMemory)
    guard let first = effective.first else { throw .invalid }
    if mode == .preferred { effective = NodeMask([first]) }
    return MemoryPolicy(mode: mode, flags: flags, nodes: effective, userNodes: flags.isEmpty ? nil : asked)
  }

  private init(mode: Mode, flags: ModeFlags, nodes: NodeMask, userNodes: NodeMask?) {
    self.mode = mode
    self.flags = flags
    self.nodes = nodes
    self.userNodes = userNodes
  }

  /// `offset_il_node`: the node of the `index`th page.
  func interleaved(_ index: UInt64) -> NodeID? {
    let all = nodes.nodes
    // Linux takes the offset as an unsigned int before it divides.
    return all.isEmpty ? nil : all[Int(UInt64(UInt32(truncatingIfNeeded: index)) % UInt64(all.count))]
  }

  /// As numa_maps shows it (`mpol_to_str`).
  public var text: String {
    var text = mode.text
    if !flags.isEmpty {
      text += "="
      if flags.contains(.staticNodes) { text += "static" } else if flags.contains(.relativeNodes) { text += "relative" }
      if flags.contains(.balancing) {
        if flags != .balancing { text += "|" }
        text += "balancing"
      }
    }
    if !nodes.isEmpty { text += ":" + nodes.list }
    return text
  }
}

extension NodeMask {
  /// `mpol_relative_nodemask`: the nodes as positions in `target`, wrapped at its size.
  fileprivate func folded(onto target: NodeMask) -> NodeMask {
    let places = target.nodes
    if places.isEmpty { return NodeMask() }
    return NodeMask(nodes.map { places[$0.rawValue % places.count] })
  }
}
