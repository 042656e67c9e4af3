internal import AddressSpaces
internal import MemoryTypes
internal import PhysicalMemory

/// Leads whoever holds movable frames to others, by the kind of their owner.
final class MachineMover: FrameMover, @unchecked Sendable {
  /// SAFETY: the machine holds the memory, which holds this, and nothing is moved without the machine. Guarded by the machine's lock.
  private unowned let machine: Machine

  init(_ machine: Machine) { self.machine = machine }

  func split(_ allocation: Allocation) -> Bool {
    (allocation.owner.kind == .anonymous || allocation.owner.kind == .pageCache)
      && allocation.range.count > FrameCount(1) && machine.isBooted && machine.users.splitPage(allocation.range.start)
  }

  func move(_ allocation: Allocation, to target: FrameRange) -> Bool {
    switch allocation.owner.kind {
    case .anonymous, .pageCache:
      return machine.isBooted && machine.users.migrate(allocation.range.start, to: target.start)
    case .command:
      // A line's frames are found by asking where they are: `list`, `page_owner`. What `map` shows stays where it is.
      if machine.isBooted, machine.users.mappedFrame(in: allocation.range) != nil { return false }
      machine.memory.copyFrames(allocation.range, to: target)
      machine.compaction.counts.moved += 1
      return true
    case .hugePage:
      // A pool is of one node.
      guard machine.isBooted, machine.users.moveHugePage(allocation.range, to: target) else {
        machine.compaction.counts.notMoved += 1
        return false
      }
      machine.compaction.counts.moved += 1
      return true
    case .kernel, .pageTable, .slab:
      machine.compaction.counts.notMoved += 1
      return false
    }
  }
}
