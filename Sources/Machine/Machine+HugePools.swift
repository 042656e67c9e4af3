public import AddressSpaces
public import MemoryTypes

/// The pools of huge pages, which processes share.
extension Machine {
  public var hugePages: HugePools {
    get { users.hugePools }
    set { users.hugePools = newValue }
  }

  /// `UserMemory.resizeHugePages`.
  public func resizeHugePages(_ node: NodeID, _ size: ByteCount, to wanted: UInt64) {
    users.resizeHugePages(node, size, to: wanted)
  }
  public func resizeHugePages(_ size: ByteCount, to wanted: UInt64) { users.resizeHugePages(size, to: wanted) }

  /// `UserMemory.demoteHugePages`.
  public func demoteHugePages(_ node: NodeID, _ size: ByteCount, _ wanted: UInt64) {
    users.demoteHugePages(node, size, wanted)
  }
  public func demoteHugePages(_ size: ByteCount, _ wanted: UInt64) { users.demoteHugePages(size, wanted) }
}
