internal import MemoryTypes
public import Translation

/// Where a process's parts lie: its format's layout, moved by chance where the machine randomizes.
public struct UserLayout: Equatable, Sendable {
  /// The address behind the last that may be mapped (Linux's `TASK_SIZE`).
  public private(set) var userEnd: UInt64
  /// The same for those who do not ask for an address above it (`DEFAULT_MAP_WINDOW`).
  public private(set) var windowEnd: UInt64
  /// Where the break begins.
  public internal(set) var heapStart: UInt64
  /// Where the search for free addresses goes down from (`mmap_base`).
  public private(set) var mapBase: UInt64
  /// Where it goes up from when nothing is left below (`TASK_UNMAPPED_BASE`).
  public private(set) var bottomUpBase: UInt64
  public private(set) var stackTop: UInt64
  /// RLIMIT_STACK, in bytes.
  public var stackLimit: UInt64 = 8 << 20

  public init(_ format: PageFormat) {
    let page = UInt64(1) << format.pageShift
    let last = format.layout.user.last.rawValue
    // x86-64 keeps the last page below the hole of non-canonical addresses free (TASK_SIZE_MAX).
    userEnd = format.architecture == .x86_64 ? last - (page - 1) : last + 1
    windowEnd = format.architecture == .x86_64 ? min(userEnd, 1 << 47 - page) : userEnd
    heapStart = format.layout.heapBase.rawValue
    mapBase = format.layout.mmapBase.rawValue
    stackTop = format.layout.stackTop.rawValue
    bottomUpBase = (windowEnd / 3 + page - 1) & ~(page - 1)
  }

  /// Moves stack, heap and map base by up to 28 bits of pages, as VeridianOS does, or by what the half has room for.
  mutating func randomize(_ random: inout SplitMix64, pageShift: UInt64) {
    let bits = min(28, UInt64(63 - userEnd.leadingZeroBitCount) - pageShift - 4)
    func step() -> UInt64 { (random.next() & (1 << bits - 1)) << pageShift }
    heapStart += step()
    mapBase -= step()
    // Never so far that a full stack would reach the areas below it.
    stackTop -= step() & (stackTop - mapBase - stackLimit) / 2 & ~((1 << pageShift) - 1)
  }
}

/// Steele, Lea and Flood's generator: small, seedable, the same everywhere.
struct SplitMix64: Sendable {
  private(set) var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
