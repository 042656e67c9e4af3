internal import AddressSpaces
internal import MemoryTypes
internal import PhysicalMemory
internal import Topology
internal import Translation

extension Machine {
  /// A number for everything that the machine is at this instant: two machines of one description that carried out the same lines have the
  /// same one. What only the host measures is left out, and how many lines there have been.
  ///
  /// - Complexity: O(what of memory was used, with its bytes): see `PhysicalMemory.addState`.
  public func digest() -> UInt64 {
    var digest = StateDigest()
    memory.addState(to: &digest)
    users.addState(to: &digest)
    addSettings(to: &digest)
    addBlocks(to: &digest)
    addFiles(to: &digest)
    addReclaim(to: &digest)
    return digest.value
  }

  private func addSettings(to digest: inout StateDigest) {
    for sysctl in Sysctl.all { digest.add(values(of: sysctl.key)) }
    digest.add(onlinePolicy.rawValue)
    digest.add([droppedCaches.pages, droppedCaches.slab])
  }

  private func addBlocks(to digest: inout StateDigest) {
    for block in blocks where state(of: block) == .offline { digest.add(block.index) }
    for range in addedMemory { digest.add([range.start.rawValue, range.size.rawValue]) }
    digest.add([balanceCursor.rawValue, balancedFrames])
  }

  private func addFiles(to digest: inout StateDigest) {
    for name in fileNames {
      digest.add(name)
      digest.add(file(named: name)?.number ?? 0)
    }
  }

  private func addReclaim(to digest: inout StateDigest) {
    let events = eventCounts()
    for event in VMEvent.allCases { digest.add(events[event]) }
    digest.add([compaction.proactiveness, compaction.fragmentationThreshold, compaction.mayMoveUnevictable ? 1 : 0])
    for node in memory.nodes {
      digest.add([reclaimCounts.failures[node] ?? 0, reclaimCounts.balanced[node].map { Int($0) } ?? -1])
    }
    let deferrals = compaction.deferrals.sorted {
      ($0.key.node, $0.key.kind.rawValue) < ($1.key.node, $1.key.kind.rawValue)
    }
    for (place, deferral) in deferrals {
      digest.add([
        place.node.rawValue, Int(place.kind.rawValue), deferral.considered, deferral.shift, deferral.failedOrder,
      ])
    }
  }
}
