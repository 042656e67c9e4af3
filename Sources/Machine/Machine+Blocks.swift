internal import AddressSpaces
public import MemoryTypes
public import PhysicalMemory
internal import Topology
internal import Translation

extension Machine {
  /// The blocks of memory, in ascending order.
  public var blocks: [MemoryBlock] { memoryBlocks.all }
  public func block(_ index: Int) -> MemoryBlock? { memoryBlocks[index] }
  public func state(of block: MemoryBlock) -> MemoryBlock.State { memoryBlocks.state(of: block.index) }

  private func frames(of block: MemoryBlock) -> FrameRange {
    memory.frameSize.framesInside(
      PhysicalRange(start: address(ofBlock: block.index), size: description.memoryBlockSize))
  }
  private func address(ofBlock index: Int) -> PhysicalAddress {
    PhysicalAddress(UInt64(index) * description.memoryBlockSize.rawValue)
  }

  /// Takes a block out of use; without effect where it is so already. What `PhysicalMemory.offline` throws.
  public func setOffline(_ block: MemoryBlock) throws(MemoryError) {
    guard state(of: block) == .online else { return }
    try memory.offline(frames(of: block))
    memoryBlocks.setState(of: block.index, to: .offline)
    users.followMemory()
  }

  /// Puts a block into use; without effect where it is so already. What `PhysicalMemory.online` throws.
  public func setOnline(_ block: MemoryBlock, as place: OnlinePlace = .automatic) throws(MemoryError) {
    guard state(of: block) == .offline else { return }
    try memory.online(frames(of: block), as: place)
    memoryBlocks.setState(of: block.index, to: .online)
    users.followMemory()
  }

  /// The zones that a block's memory is in or may go to, as `valid_zones` has them: the one that it is in where it is in use, none where
  /// that is several; else the one that it goes to by itself, and behind it those that may be asked for.
  public func validZones(of block: MemoryBlock) -> [ZoneKind] {
    switch state(of: block) {
    case .online: memory.onlyZone(of: frames(of: block)).map { [$0] } ?? []
    case .offline: memory.possibleZones(for: frames(of: block))
    }
  }

  /// The node that a frame of memory belongs to, in use or not.
  public func node(of frame: FrameNumber) -> NodeID? { memory.node(of: frame) }

  // MARK: Adding

  /// Adds memory of whole blocks to a node: maps it for the kernel, and sets its blocks online if `onlinePolicy` says so (`add_memory`).
  ///
  /// - Parameter node: nil for the node whose memory lies around the address, or that of the lowest memory (`memory_add_physaddr_to_nid`).
  /// - Throws: `notPluggable` for what is not of whole blocks; `memoryExists` where there is memory, or a device in part of it;
  ///   `noSuchNode`, `beyondReach`, `hostRefusedMapping`; `outOfMemory` for the kernel's page tables. Nothing is added then.
  @discardableResult
  public func addMemory(_ range: PhysicalRange, to node: NodeID?) throws(MemoryError) -> NodeID {
    let size = description.memoryBlockSize.rawValue
    let frames = memory.frameSize.framesInside(range)
    guard range.size.rawValue > 0, range.start.rawValue % size == 0, range.size.rawValue % size == 0 else {
      throw .notPluggable(frames, reason: "it is not of whole blocks of \(description.memoryBlockSize)")
    }
    // What encloses the range is a window in which memory may appear; all else is in the way (`register_memory_resource`).
    let obstacle = description.reserved.first { region in
      region.range.overlaps(range) && !(region.range.start <= range.start && range.end <= region.range.end)
    }
    if let obstacle {
      throw .memoryExists(range, what: obstacle.description.isEmpty ? "a hole" : obstacle.description)
    }
    let chosen = node ?? Self.node(around: range.start, description)
    try memory.add(frames, to: chosen)
    do throws(MemoryError) { try map(range) } catch {
      do throws(MemoryError) { try memory.remove(frames) } catch {
        preconditionFailure("memory that was just added cannot be removed: \(error)")
      }
      throw error
    }
    let indices = Int(range.start.rawValue / size)..<Int(range.end.rawValue / size)
    memoryBlocks.add(indices, to: chosen)
    addedMemory.append(range)
    if let place = onlinePolicy.place {
      // As Linux: a block that cannot be set online stays offline.
      for index in indices { if let block = block(index) { try? setOnline(block, as: place) } }
    }
    return chosen
  }

  /// The first address behind all memory at which a block begins.
  public var nextBlockAddress: PhysicalAddress {
    let size = description.memoryBlockSize.rawValue
    let end = memory.frameSize.address(of: memory.memoryEnd).rawValue
    return PhysicalAddress((end + size - 1) / size * size)
  }

  private static func node(around address: PhysicalAddress, _ description: MachineDescription) -> NodeID {
    let around = description.nodes.first { $0.memory.contains { $0.contains(address) } }
    let lowest = description.nodes.filter { !$0.memory.isEmpty }.min {
      ($0.memory.first?.start ?? address) < ($1.memory.first?.start ?? address)
    }
    return (around ?? lowest)?.id ?? description.nodes.first?.id ?? NodeID(0)
  }

  /// Maps memory at its place in the kernel's map of physical memory, as far as that reaches.
  private func map(_ range: PhysicalRange) throws(MemoryError) {
    let map = format.layout.physicalMap
    let end = min(range.end.rawValue, map.size.rawValue)
    guard range.start.rawValue < end else { return }
    let part = PhysicalRange(start: range.start, size: ByteCount(end - range.start.rawValue))
    try kernelTable.map(
      map.first + ByteCount(range.start.rawValue), to: memory.frameSize.framesInside(part),
      flags: [.present, .writable, .global, .accessed, .dirty])
  }
}

/// What becomes of memory that is added (`auto_online_blocks`).
public enum OnlinePolicy: String, CaseIterable, Sendable {
  case offline, online
  case onlineKernel = "online_kernel"
  case onlineMovable = "online_movable"

  /// Where it goes; nil: it stays offline.
  public var place: OnlinePlace? {
    switch self {
    case .offline: nil
    case .online: .automatic
    case .onlineKernel: .kernel
    case .onlineMovable: .movable
    }
  }
}
