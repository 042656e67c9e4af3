public import MemoryTypes
public import PhysicalMemory
internal import Topology

extension Machine {
  /// Calls `body` for every zone of every node, by node, lowest zone first: with what it holds, nil where it has no memory.
  public func forEachZone(_ body: (NodeID, ZoneKind, PhysicalSnapshot.ZoneSnapshot?) -> Void) {
    let kinds = description.resolvedZones
    for node in memory.snapshot().nodes {
      for kind in kinds {
        body(node.node, kind, node.zones.first { $0.kind == kind && $0.present.rawValue > 0 })
      }
    }
  }

  /// The kinds of zones that the machine has, memory or not, ascending.
  public var zoneKinds: [ZoneKind] { description.resolvedZones }

  /// By how much a CPU's counters of a zone may be off on a real machine (`calculate_normal_threshold`). Here they never are; what is
  /// shown is what Linux would allow.
  public func statisticsThreshold(managed: FrameCount) -> Int {
    func bits(_ value: UInt64) -> Int { 64 - value.leadingZeroBitCount }
    let units = memory.frameSize.bytes(managed).rawValue >> 27
    return min(125, 2 * bits(UInt64(description.cpus.count)) * (1 + bits(units)))
  }

  /// The frames of a node that no request may count on: each zone's reserve against lower requests, and its high watermark
  /// (`calculate_totalreserve_pages`).
  static func reserve(_ node: PhysicalSnapshot.NodeSnapshot) -> Int {
    node.zones.reduce(0) { sum, zone in
      let largest = zone.watermarks.protection.map(\.rawValue).max() ?? 0
      return sum + Int(min(zone.managed.rawValue, largest + zone.watermarks.high.rawValue))
    }
  }

  /// How many pages may be dirty before writers are made to write back, and before background writing begins
  /// (`domain_dirty_limits` over `global_dirtyable_memory`).
  public func dirtyThresholds() -> (limit: Int, background: Int) {
    let usage = usage()
    var dirtyable = usage.node[.nrActiveFile] + usage.node[.nrInactiveFile]
    for node in memory.snapshot().nodes { dirtyable += max(0, Int(node.free.rawValue) - Self.reserve(node)) }
    let page = Int(memory.frameSize.bytes.rawValue)
    // A number of bytes without a sign, whose sum wraps near its end as Linux's does.
    func pages(bytes: Int, ratio: Int) -> Int {
      if bytes == 0 { return ratio * page / 100 * dirtyable / page }
      return Int((UInt(bitPattern: bytes) &+ UInt(page - 1)) / UInt(page))
    }
    let limit = pages(bytes: sysctls[.dirtyBytes], ratio: sysctls[.dirtyRatio])
    var background = pages(bytes: sysctls[.dirtyBackgroundBytes], ratio: sysctls[.dirtyBackgroundRatio])
    if background >= limit { background = limit / 2 }
    return (limit, background)
  }
}
