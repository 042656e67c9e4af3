/// Where things lie in a user's half of the address space. On x86-64 the seed's table; smaller halves are divided in the same way.
public struct AddressLayout: Equatable, Sendable {
  /// The address behind the last that a process may map (Linux's `TASK_SIZE`).
  public var userEnd: UInt64
  /// Where the break begins.
  public var heapStart: UInt64
  /// What the search for a free range goes down from, and where it goes up from when nothing is left below (`mmap_base`,
  /// `TASK_UNMAPPED_BASE`).
  public var mapBase: UInt64
  public var bottomUpBase: UInt64
  public var stackTop: UInt64
  /// RLIMIT_STACK, in bytes.
  public var stackLimit: UInt64

  /// The layout for a user half that ends at `userEnd`, in a machine with pages of `1 << pageShift` bytes.
  public init(userEnd: UInt64, pageShift: UInt64) {
    let page = UInt64(1) << pageShift
    self.userEnd = userEnd
    stackLimit = 8 << 20
    if userEnd > 1 << 46 {
      heapStart = 0x2000_0000_0000
      mapBase = 0x4000_0000_0000
      stackTop = 0x7FFF_FFFF_0000
    } else {
      heapStart = userEnd / 4
      mapBase = userEnd / 2
      stackTop = (userEnd - 0x1_0000) & ~(page - 1)
    }
    bottomUpBase = (userEnd / 3 + page - 1) & ~(page - 1)
  }

  /// The layout moved by `bits` (28 on 64-bit halves) of `random`, a page a step, as VeridianOS moves stack, heap and mmap base.
  func randomized(_ random: inout SplitMix64, pageShift: UInt64) -> AddressLayout {
    var moved = self
    let room = userEnd > 1 << 40 ? UInt64(28) : UInt64(8)
    func step() -> UInt64 { random.next() & (1 << room - 1) << 0 }
    moved.heapStart &+= step() << pageShift
    moved.mapBase &-= step() << pageShift
    moved.stackTop &-= step() << 4 & ~((1 << pageShift) - 1)
    return moved
  }
}

/// Steele, Lea and Flood's generator: small, seedable, the same everywhere.
struct SplitMix64: Sendable {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
