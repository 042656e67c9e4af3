public import MemoryTypes
internal import PhysicalMemory
internal import Topology

extension Machine {
  public func state(of block: MemoryBlock) -> MemoryBlock.State { .online }

  /// Sets a block online or offline; without effect where it is so already. Throws `busy` where its memory cannot be taken away.
  public func setState(of block: MemoryBlock, to wanted: MemoryBlock.State) throws(MemoryError) {
    guard state(of: block) != wanted else { return }
    throw .busy(frames(of: block), reason: "memory cannot be taken away from this machine")
  }

  private func frames(of block: MemoryBlock) -> FrameRange {
    let size = description.memoryBlockSize
    return memory.frameSize.framesInside(
      PhysicalRange(start: PhysicalAddress(UInt64(block.index) * size.rawValue), size: size))
  }

  /// The zone that all of a block's memory lies in; nil where it lies in several, or on several nodes.
  public func onlyZone(of block: MemoryBlock) -> ZoneKind? {
    let size = description.memoryBlockSize
    let whole = PhysicalRange(start: PhysicalAddress(UInt64(block.index) * size.rawValue), size: size)
    let frames = frames(of: block)
    let nodes = description.nodes.filter { node in node.memory.contains { $0.overlaps(whole) } }
    guard nodes.count == 1 else { return nil }
    let spans = description.zoneSpans.filter { $0.start < frames.end && frames.start < $0.end }
    return spans.count == 1 ? spans[0].kind : nil
  }

  /// Moves what can be moved, so that free frames lie together.
  public func compact(_ node: NodeID) { memory.drainLists() }
}

extension Machine {
  /// The node that a frame of memory belongs to.
  public func node(of frame: FrameNumber) -> NodeID? {
    let address = memory.frameSize.address(of: frame)
    return description.nodes.first { node in node.memory.contains { $0.contains(address) } }?.id
  }
}
