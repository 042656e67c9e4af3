internal import MemoryTypes
internal import Topology

/// The constant tables that lead from CPUs, nodes and frames to zones.
struct Router: ~Copyable, Sendable {
  /// By node index: the node indices that stand in for it.
  let orders: [[Int]]
  /// By node index: how many CPUs it has.
  let cpuCounts: [Int]
  /// By node number: the node's index, -1 where there is none.
  private let nodeIndices: [Int16]
  /// By CPU number: its node's index, -1 where there is none.
  private let homes: HostArray<Int16>
  /// By CPU number and highest zone kind: the zone that is asked first, where it is of the CPU's own node; else `none`.
  private let localZones: HostArray<UInt16>
  /// By node index and highest zone kind: the zones that may serve, best first (Linux's zonelists).
  private let lists: [[UInt16]]
  static let none = UInt16.max
  /// Kinds of zones that the machine has.
  private let kinds: Set<ZoneKind>
  /// By section of 2^sectionShift frames: the zone's index + 1, 0 where there is no memory, `mixed` where there are several.
  let sections: HostArray<UInt16>
  let sectionShift: Int
  static let mixed = UInt16.max
  /// All memory, ascending: the first frames, and what lies there.
  private let starts: [Int]
  let parts: [(frames: Range<Int>, zone: Int)]
  /// Holds the tables that the hot paths read.
  private let mapping: HostMapping

  init(_ description: MachineDescription, _ layout: MachineLayout) throws(MemoryError) {
    let nodes = description.nodes
    var hasMemory = [Bool](repeating: false, count: nodes.count)
    for zone in layout.zones { hasMemory[zone.nodeIndex] = true }
    orders = FallbackOrder.orders(of: description, hasMemory: hasMemory)
    var nodeIndices = [Int16](repeating: -1, count: (nodes.map(\.id.rawValue).max() ?? -1) + 1)
    for (index, node) in nodes.enumerated() { nodeIndices[node.id.rawValue] = Int16(index) }
    self.nodeIndices = nodeIndices
    cpuCounts = nodes.map { node in description.cpus.count { $0.node == node.id } }
    kinds = Set(layout.zones.map(\.kind))
    var lists: [[UInt16]] = []
    for order in orders {
      for kind in ZoneKind.allCases {
        // Node by node; within a node from the highest zone down (`build_zonerefs_node`).
        lists.append(
          order.flatMap { node in
            layout.zones.indices.reversed().filter {
              layout.zones[$0].nodeIndex == node && layout.zones[$0].kind <= kind
            }
            .map { UInt16($0) }
          })
      }
    }
    self.lists = lists
    // At most 65536 sections, of a block at least.
    let limit = layout.frameLimit
    var shift = 9
    while limit >> shift > 1 << 16 { shift += 1 }
    sectionShift = shift
    let sectionCount = limit >> shift + 1
    let cpuCount = (description.cpus.map(\.id.rawValue).max() ?? -1) + 1
    mapping = try HostMapping(size: (sectionCount + cpuCount * 7) * 2, access: .readWrite)
    // SAFETY: three arrays one behind the other in a mapping of their joint size.
    unsafe sections = HostArray(mapping.base, count: sectionCount)
    unsafe homes = HostArray(mapping.base + sectionCount * 2, count: cpuCount)
    unsafe localZones = HostArray(mapping.base + (sectionCount + cpuCount) * 2, count: cpuCount * 6)
    for cpu in 0..<cpuCount { homes[cpu] = -1 }
    for cpu in description.cpus {
      let node = Int(nodeIndices[cpu.node.rawValue])
      homes[cpu.id.rawValue] = Int16(node)
      for kind in 0..<6 {
        let first = lists[node * 6 + kind].first
        let isLocal = first.map { layout.zones[Int($0)].nodeIndex == node } ?? false
        localZones[cpu.id.rawValue * 6 + kind] = isLocal ? first ?? Self.none : Self.none
      }
    }
    parts = layout.zones.enumerated().flatMap { index, zone in zone.present.map { (frames: $0, zone: index) } }
      .sorted { $0.frames.lowerBound < $1.frames.lowerBound }
    starts = parts.map(\.frames.lowerBound)
    for part in parts {
      let first = part.frames.lowerBound >> shift
      let last = (part.frames.upperBound - 1) >> shift
      for section in first...last {
        let whole = part.frames.lowerBound <= section << shift && part.frames.upperBound >= (section + 1) << shift
        sections[section] = whole ? UInt16(part.zone + 1) : Self.mixed
      }
    }
  }

  func nodeIndex(_ node: NodeID) -> Int? {
    guard nodeIndices.indices.contains(node.rawValue), nodeIndices[node.rawValue] >= 0 else { return nil }
    return Int(nodeIndices[node.rawValue])
  }

  /// The index of the CPU's node, -1 where there is no such CPU.
  @inline(__always)
  func home(_ cpu: CPUID) -> Int {
    UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: homes.count) ? Int(homes[cpu.rawValue]) : -1
  }

  /// The zone index to ask first for a CPU that is known to exist; `none` where it is not of its own node.
  @inline(__always)
  func localZone(_ cpu: CPUID, _ kind: ZoneKind) -> UInt16 { localZones[cpu.rawValue &* 6 &+ Int(kind.rawValue)] }

  @inline(__always)
  func zoneList(_ node: Int, _ kind: ZoneKind) -> [UInt16] { lists[node * 6 + Int(kind.rawValue)] }

  func has(_ kind: ZoneKind) -> Bool { kinds.contains(kind) }

  /// The zone of a frame in a section that has several; -1 where there is no memory.
  func searchZone(of frame: Int) -> Int {
    var low = 0
    var high = starts.count
    while low < high {
      let middle = (low + high) / 2
      if starts[middle] <= frame { low = middle + 1 } else { high = middle }
    }
    return low > 0 && parts[low - 1].frames.contains(frame) ? parts[low - 1].zone : -1
  }
}
