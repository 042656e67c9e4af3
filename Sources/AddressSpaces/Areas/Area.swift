/// A range of a process's addresses with one set of rights, one policy and one backing (Linux's `vm_area_struct`).
///
/// Addresses are raw here, as sums of them wrap where Linux's do. Bounds change through `AreaIndex.resize` alone, which keeps its keys
/// in step.
public final class Area {
  /// The first byte's address: a multiple of the page size.
  @safe @exclusivity(unchecked) public internal(set) var start: UInt64
  /// The address behind the last byte: above `start`, a multiple of the page size.
  @safe @exclusivity(unchecked) public internal(set) var end: UInt64
  @safe @exclusivity(unchecked) public internal(set) var flags: AreaFlags
  /// Where `start` lies in the file, in pages; for private anonymous memory `start` when the area's first page was made, in pages.
  @safe @exclusivity(unchecked) public internal(set) var pageOffset: UInt64
  /// What shared and file mappings show; nil for private anonymous memory.
  @safe @exclusivity(unchecked) public internal(set) var file: MemoryFile?
  /// The policy of mbind; nil: the process's.
  @safe @exclusivity(unchecked) public internal(set) var policy: MemoryPolicy?
  /// The level of its entries where they show frames as they are, or huge pages of a pool: the area is cut at pages of that size alone
  /// (hugetlb's `may_split`).
  var pageLevel = 0
  /// What a private mapping of huge pages has used of its reservation; nil where there is none, as after a fork.
  var reserves: HugeReserves?
  /// A page was taken from here for the sake of the mapping's maker: what is missing is not made anew (HPAGE_RESV_UNMAPPED).
  var hasLostPages = false
  @safe @exclusivity(unchecked) var links = GroupLinks()
  /// The space that the area lies in, from `enter` on.
  unowned var space: AddressSpace!
  /// The area's place among those of its file; without meaning where it has none.
  var filePlace = 0

  init(
    start: UInt64, end: UInt64, flags: AreaFlags, pageOffset: UInt64, file: MemoryFile? = nil,
    policy: MemoryPolicy? = nil
  ) {
    self.start = start
    self.end = end
    self.flags = flags
    self.pageOffset = pageOffset
    self.file = file
    self.policy = policy
  }

  public var size: UInt64 { end - start }
  /// Private memory without a file (`vma_is_anonymous`).
  public var isAnonymous: Bool { file == nil }
  @inline(__always) public func contains(_ address: UInt64) -> Bool { address >= start && address < end }

  /// `linear_page_index`: the page of the file, or of the group's linear space, at `address`.
  @inline(__always) func pageIndex(at address: UInt64, shift: UInt64) -> UInt64 {
    pageOffset &+ (address &- start) >> shift
  }

  /// `vm_start_gap`: the lowest address that must stay free for a stack to grow into.
  func startWithGap(_ gap: UInt64) -> UInt64 {
    flags.contains(.growsDown) ? (start > gap ? start - gap : 0) : start
  }

  /// A copy with the same file, policy and groups (`vm_area_dup`, `anon_vma_clone`).
  func duplicated() -> Area {
    let copy = Area(start: start, end: end, flags: flags, pageOffset: pageOffset, file: file, policy: policy)
    copy.links = links.cloned(for: copy)
    copy.pageLevel = pageLevel
    copy.reserves = reserves
    copy.hasLostPages = hasLostPages
    file?.users += 1
    return copy
  }
}
