internal import MemoryTypes

/// What a shared or file mapping shows: bytes with a size, some of whose pages are in memory (an inode and its page cache).
public final class MemoryFile: PageOwner {
  public enum Kind: Hashable, Sendable {
    /// `/dev/zero (deleted)`, which MAP_SHARED|MAP_ANONYMOUS makes (shmem).
    case sharedMemory
    /// A file on a disk: its pages are read when they are first needed.
    case regular
    /// `/dev/mem`: what it shows are frames as they are, which others hold.
    case physicalMemory
    /// `/anon_hugepage (deleted)`: pages come from the huge-page pools.
    case hugePages
  }

  public let kind: Kind
  /// The inode's number.
  public let number: UInt64
  /// As the last column of maps prints it.
  public let path: String
  /// In bytes. Pages behind it raise SIGBUS.
  public internal(set) var size: UInt64
  /// Pages that were promised to shared memory, and go back with it (`shmem_acct_size`); 0: each counts as it is made (`shmem_acct_block`).
  var promised: UInt64 = 0
  var countsPages: Bool { kind == .sharedMemory && promised == 0 }
  /// The level of the pages that it is made of: 0 but in files of huge pages.
  var pageLevel = 0
  /// Pages of a file of huge pages that are reserved, or were before they were made (`inode_resv_map`), by their first base page.
  var reservedPages: Set<UInt64> = []
  /// Areas and descriptors that hold the file; its pages go with the last.
  var users = 0
  /// What a regular file's disk has, by page index: whole pages. What it has not reads zero. Changed by `UserMemory.setDisk` alone.
  var disk: [UInt64: [UInt8]] = [:]
  /// Pages that were evicted, and when (`workingset.c`'s shadow entries).
  private(set) var shadows: [UInt64: Shadow] = [:]
  /// From how many shadows on those that can tell nothing any more are forgotten.
  var shadowLimit = 4096
  struct Shadow {
    var node: Int
    var age: UInt64
    var wasWorking: Bool
  }
  /// What the 64 entries of a node of Linux's page cache hold (`struct xa_node`), by index / 64.
  private struct CacheNode {
    var pages = 0
    var shadows = 0
    /// The memory node that has got it to reclaim, while it holds nothing but shadows; else nil.
    var waitsOn: Int?
  }
  private var cacheNodes: [UInt64: CacheNode] = [:]
  /// Nodes of the cache that hold nothing but shadows, by the memory node of what was evicted last (`WORKINGSET_NODES`).
  private var shadowNodes: [Int: Int] = [:]
  /// Pages in the order in which they were written to, oldest first from `written` on; those that are clean again are passed over.
  private var writtenPages: [UInt64] = []
  private var written = 0
  /// Pages in memory, by their index.
  private(set) var pages: [UInt64: FrameNumber] = [:]
  /// Policies by page range, ascending and disjoint: every process that maps the page goes by them (`shared_policy`).
  private(set) var policies: [(pages: Range<UInt64>, policy: MemoryPolicy)] = []

  init(kind: Kind, number: UInt64, path: String, size: UInt64) {
    self.kind = kind
    self.number = number
    self.path = path
    self.size = size
  }

  @inline(__always) func page(_ index: UInt64) -> FrameNumber? { pages[index] }
  /// Whether any page of the range is in memory. O(the smaller of its length and of the pages in memory).
  func hasPage(in range: Range<UInt64>) -> Bool {
    if pages.count < range.count { return pages.keys.contains { range.contains($0) } }
    return range.contains { pages[$0] != nil }
  }
  func setPage(_ index: UInt64, _ frame: FrameNumber?) {
    let was = pages[index]
    pages[index] = frame
    if kind == .regular, (was == nil) != (frame == nil) { count(index, on: nil) { $0.pages += frame == nil ? -1 : 1 } }
  }

  /// Remembers that a page was evicted, or forgets it.
  func setShadow(_ index: UInt64, _ shadow: Shadow?) {
    let was = shadows[index]
    shadows[index] = shadow
    if (was == nil) != (shadow == nil) {
      count(index, on: shadow?.node ?? was?.node) { $0.shadows += shadow == nil ? -1 : 1 }
    }
  }

  /// Counts an entry in its node (`workingset_update_node`).
  private func count(_ index: UInt64, on node: Int?, _ change: (inout CacheNode) -> Void) {
    var entry = cacheNodes[index >> 6] ?? CacheNode()
    change(&entry)
    let waits = entry.pages == 0 && entry.shadows > 0
    if waits, entry.waitsOn == nil {
      entry.waitsOn = node ?? shadows[index & ~63]?.node ?? 0
      shadowNodes[entry.waitsOn!, default: 0] += 1
    } else if !waits, let left = entry.waitsOn {
      entry.waitsOn = nil
      shadowNodes[left, default: 0] -= 1
    }
    cacheNodes[index >> 6] = entry.pages == 0 && entry.shadows == 0 ? nil : entry
  }

  /// Nodes of the cache that hold nothing but shadows, in the memory of a node. A file's first page alone needs none.
  func shadowNodes(on node: Int) -> Int {
    let count = shadowNodes[node] ?? 0
    return count > 0 && pages.isEmpty && shadows.count == 1 && shadows[0] != nil ? 0 : count
  }

  /// A page is dirty from now on. `isDirty` tells which still are, where the order has grown beyond the pages that there are.
  func noteWritten(_ index: UInt64, isDirty: (FrameNumber) -> Bool) {
    writtenPages.append(index)
    guard writtenPages.count > 2 * pages.count + 1024 else { return }
    var seen: Set<UInt64> = []
    writtenPages = writtenPages[written...].filter { index in
      guard let frame = pages[index], isDirty(frame) else { return false }
      return seen.insert(index).inserted
    }
    written = 0
  }

  /// The page that was written to the longest ago, or one that was and is clean again; nil where none is left.
  func takeOldestWritten() -> UInt64? {
    guard written < writtenPages.count else {
      writtenPages = []
      written = 0
      return nil
    }
    written += 1
    return writtenPages[written - 1]
  }

  /// In ascending order of their indices.
  var cachedIndices: [UInt64] { pages.keys.sorted() }
  /// How many pages are in memory.
  public var cachedPages: Int { pages.count }

  /// `mpol_shared_policy_lookup`.
  func policy(of page: UInt64) -> MemoryPolicy? {
    policies.first { $0.pages.contains(page) }?.policy
  }

  /// Puts `policy` (nil: none) over `range`, cutting what was there (`mpol_set_shared_policy`).
  func setPolicy(_ policy: MemoryPolicy?, over range: Range<UInt64>) {
    var kept: [(pages: Range<UInt64>, policy: MemoryPolicy)] = []
    for entry in policies {
      if entry.pages.lowerBound < range.lowerBound {
        kept.append((entry.pages.lowerBound..<min(entry.pages.upperBound, range.lowerBound), entry.policy))
      }
      if entry.pages.upperBound > range.upperBound {
        kept.append((max(entry.pages.lowerBound, range.upperBound)..<entry.pages.upperBound, entry.policy))
      }
    }
    if let policy { kept.append((range, policy)) }
    policies = kept.sorted { $0.pages.lowerBound < $1.pages.lowerBound }
  }
}
