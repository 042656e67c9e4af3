public import MemoryTypes

/// Frames out of which nothing is allocated, until `endIsolation` or `offline` consumes this: one that is dropped traps.
@safe public struct Isolation: ~Copyable, @unchecked Sendable {
  public let range: FrameRange
  let zone: Int
  /// SAFETY: retained by `init`, released by `settle`, the one end of this value's life.
  private let memory: Unmanaged<Memory>

  /// What `endIsolation` needs.
  final class Memory: Sendable {
    /// The mobilities that the blocks had.
    let mobilities: [UInt8]
    /// What lay in CPUs' lists, in the order in which it was taken out of them.
    let pulled: [PulledFrames]
    init(mobilities: [UInt8], pulled: [PulledFrames]) {
      self.mobilities = mobilities
      self.pulled = pulled
    }
  }

  init(_ range: FrameRange, zone: Int, _ memory: Memory) {
    self.range = range
    self.zone = zone
    unsafe self.memory = unsafe .passRetained(memory)
  }

  deinit { Self.trap() }

  private static func trap() { preconditionFailure("an isolation was dropped") }

  /// The end of its life, by whoever does what it stands for.
  consuming func settle() -> Memory {
    let result = unsafe memory.takeRetainedValue()
    discard self
    return result
  }
}

/// Free frames that lay in a CPU's list.
struct PulledFrames: Sendable {
  let cpu: Int
  let slot: Int
  let mobility: Int
  let frame: Int
  /// How many lay before them in their list then.
  let position: Int
}
