public import MemoryTypes

/// Frames that were handed out together and have not come back.
public struct Allocation: Equatable, Sendable {
  public var range: FrameRange
  public var owner: FrameOwner
  public var mobility: Mobility
  /// How many hold it: 1 to 2^20.
  public var references: Int
  /// What the holder stored with it: 0 to 2^44 - 1.
  public var mapping: UInt64
}
