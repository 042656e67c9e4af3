/// How large a CPU's translation caches are. Sets are powers of two.
public struct TLBGeometry: Hashable, Sendable {
  public struct Cache: Hashable, Sendable {
    public var sets: Int
    public var ways: Int
    public init(sets: Int, ways: Int) {
      self.sets = sets
      self.ways = ways
    }
    public var entries: Int { sets * ways }
  }

  /// First level: one cache for each level of pages, base pages first; levels above the last have one like it.
  public var first: [Cache]
  /// Second level, shared by all page sizes.
  public var second: Cache
  /// Cached table entries a level (paging-structure caches): direct-mapped, a power of two.
  public var walkEntries: Int

  public init(first: [Cache], second: Cache, walkEntries: Int) {
    self.first = first
    self.second = second
    self.walkEntries = walkEntries
  }

  /// As on current x86 (data TLBs of 64, 32 and 4 entries and a shared one of 2048, as Intel's Sunny Cove and AMD's Zen 3
  /// have them or nearly so).
  public static let standard = TLBGeometry(
    first: [Cache(sets: 16, ways: 4), Cache(sets: 8, ways: 4), Cache(sets: 1, ways: 4)],
    second: Cache(sets: 256, ways: 8),
    walkEntries: 32)

  /// The first-level cache for pages of `level`.
  func first(level: Int) -> Cache { first[min(level, first.count - 1)] }

  var isValid: Bool {
    !first.isEmpty
      && (first + [second]).allSatisfy { (1...256).contains($0.ways) && $0.sets > 0 && $0.sets & ($0.sets - 1) == 0 }
      && walkEntries > 0 && walkEntries & (walkEntries - 1) == 0
  }
}
