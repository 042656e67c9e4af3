internal import AddressSpaces
internal import MemoryTypes
public import PhysicalMemory

extension Machine {
  /// Frames that one line may move to other nodes, and allocations that it may look at for that.
  private static let balanceBudget = (frames: 512, scan: 4096)

  /// What may be set of the allocator, at once; what follows in the background begins with the next line. The caller holds `lock`.
  public func setTunables(_ tunables: MemoryTunables) {
    memory.setTunables(tunables)
    background.balancesNodes = tunables.balancesNodes
  }

  /// A step of `numa_balance`. What a policy has placed stays where it is.
  func balanceNodes() {
    balancedFrames +=
      memory.balanceStep(
        frames: Self.balanceBudget.frames, scan: Self.balanceBudget.scan, cursor: &balanceCursor
      ) { allocation in
        switch allocation.owner.kind {
        case .anonymous, .pageCache: users.isPlacedFreely(allocation.range.start)
        case .command: true
        case .kernel, .pageTable, .slab, .hugePage: false
        }
      }.rawValue
  }
}
