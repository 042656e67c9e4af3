public import MemoryTypes
internal import Topology

/// Moving frames to nodes that are less used (`numa_balance`, VeridianOS's rule).
extension PhysicalMemory {
  /// A node is a target while its load is below this many percent of the source's.
  static let balanceThreshold = 70

  /// Moves movable allocations of the most loaded node to the nearest whose load is under 70 % of its, for as long as it is.
  ///
  /// Pools of huge pages are their node's. Guarded as moving is: by whoever holds the machine.
  /// - Parameters:
  ///   - budget: how many frames may be moved.
  ///   - scan: how many allocations may be looked at.
  ///   - cursor: the first frame to look at; behind the last that was, when this returns.
  ///   - mayMove: whether an allocation's holder lets it go to another node.
  /// - Returns: how many frames were moved.
  /// - Complexity: O(zones * CPUs whose lists were used) and the copies.
  public func balanceStep(
    frames budget: Int, scan: Int, cursor: inout FrameNumber, mayMove: (Allocation) -> Bool
  ) -> FrameCount {
    guard let (source, target) = imbalance(usage()) else { return .zero }
    var candidates: [Allocation] = []
    var seen = 0
    let parts = router.parts.filter { nodeIndex(ofZone: $0.zone) == source }
    // From the cursor to the node's end, then from its beginning.
    for isWrapped in [false, true] {
      for part in parts {
        let from = isWrapped ? part.frames.lowerBound : max(part.frames.lowerBound, Int(cursor.rawValue))
        guard from < part.frames.upperBound, seen < scan else { continue }
        let range = FrameRange(
          start: FrameNumber(UInt64(from)), count: FrameCount(UInt64(part.frames.upperBound - from)))
        forEachAllocation(in: range) { allocation in
          seen += 1
          cursor = allocation.range.end
          if allocation.isMovable, allocation.owner.kind != .hugePage, allocation.references == 1 {
            candidates.append(allocation)
          }
          return seen < scan
        }
      }
      if seen >= scan { break }
    }
    var moved = FrameCount.zero
    for allocation in candidates {
      guard moved.rawValue + allocation.range.count.rawValue <= UInt64(budget), mayMove(allocation) else { continue }
      let nodes = usage()
      guard isLess(nodes[target], than: nodes[source], percent: Self.balanceThreshold) else { break }
      if case .moved = moveAway(allocation, to: [target], .balancing) { moved += allocation.range.count }
    }
    return moved
  }

  private struct Usage {
    var used: Int
    var managed: Int
  }

  private func usage() -> [Usage] {
    description.nodes.map { node in
      let totals = totals(of: node.id) ?? NodeTotals()
      return Usage(used: totals.managed - totals.free, managed: totals.managed)
    }
  }

  /// Whether the first's load is below `percent` of the second's.
  private func isLess(_ a: Usage, than b: Usage, percent: Int) -> Bool {
    let left = UInt64(a.used * 100).multipliedFullWidth(by: UInt64(b.managed))
    let right = UInt64(b.used * percent).multipliedFullWidth(by: UInt64(a.managed))
    return (left.high, left.low) < (right.high, right.low)
  }

  /// The most loaded node, and the nearest to it whose load is low enough; nil where there is none.
  private func imbalance(_ nodes: [Usage]) -> (source: Int, target: Int)? {
    var source: Int?
    for node in nodes.indices where nodes[node].managed > 0 {
      if source.map({ isLess(nodes[$0], than: nodes[node], percent: 100) }) ?? true { source = node }
    }
    guard let source else { return nil }
    let target = router.orders[source].first {
      $0 != source && nodes[$0].managed > 0
        && isLess(nodes[$0], than: nodes[source], percent: Self.balanceThreshold)
    }
    return target.map { (source, $0) }
  }
}
