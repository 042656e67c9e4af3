internal import Machine
internal import MemoryTypes
internal import SystemPackage

/// Which of the entries that a row stands for: the values of its path's placeholders, outermost first.
struct Instance: Hashable, Sendable {
  /// 0 where the path has no placeholder. Below 2^28.
  var outer = 0
  /// 0 where the path has at most one. Below 2^24.
  var inner = 0

  var outerNode: NodeID { NodeID(outer) }
  var innerNode: NodeID { NodeID(inner) }
  var outerCPU: CPUID { CPUID(outer) }
}

/// A file, a link or a directory of the tree, or all those that differ in their instance only: one row of the one table.
final class Row: Sendable {
  typealias Render = @Sendable (Machine, Instance, inout TextBuffer) throws(Errno) -> Void
  typealias RenderGuarded =
    @Sendable (Machine, Instance, _ isPrivileged: Bool, inout TextBuffer) throws(Errno) -> Void
  /// Stores what one write(2) brought. The caller holds the machine; an error has changed nothing.
  typealias Store = @Sendable (Machine, Instance, [UInt8]) throws(Errno) -> Void
  /// The same, of which the store says how many bytes it took.
  typealias CountingStore = @Sendable (Machine, [UInt8]) throws(Errno) -> Int

  /// What lies at an offset, up to so many bytes.
  typealias ReadBytes = @Sendable (Machine, Instance, _ offset: UInt64, _ count: Int) throws(Errno) -> [UInt8]
  /// Takes bytes for an offset; how many of them.
  typealias WriteBytes = @Sendable (Machine, Instance, _ offset: UInt64, [UInt8]) throws(Errno) -> Int

  enum Content: Sendable {
    /// Text, rendered whole when it is read from its beginning.
    case text(Render)
    /// Text that takes writes as well.
    case attribute(Render, Store)
    /// Takes writes, and reads as nothing.
    case action(Store)
    /// Bytes that are looked up where they are read, at any offset; nil where they cannot be written.
    case bytes(ReadBytes, WriteBytes?)
    /// A number of `/proc/sys`: read at its beginning alone, and stored from there alone (kernel/sysctl.c, `sysctl_writes_strict`).
    case number(Render, CountingStore)
    /// Text that says less to readers without privilege: true for root and whoever mounted the tree.
    case guarded(RenderGuarded)
    /// A symbolic link and its target.
    case link(@Sendable (Instance) -> String)
    case directory
    /// The command file.
    case command
    /// Physical memory, byte by byte.
    case memory
  }

  /// From the mount's root, with `{placeholder}`s.
  let path: String
  /// The permission bits.
  let mode: UInt16
  let content: Content
  /// The document that defines the file, or the Linux function that prints it.
  let document: String
  /// st_size where it is not the file system's own.
  let size: Int64?
  /// The most bytes that one write takes where that is not the file system's own.
  let longestStore: Int?
  /// Whether only those may open it who might trace the process that it tells of, whatever the mode says (`proc_mem_open`): root, and
  /// whoever mounted the tree.
  let opensToTracersOnly: Bool
  /// Whether pollers are woken when the content changes.
  let notify: Bool
  /// Whether a machine, or an instance of the outer placeholders, has the entry at all.
  let exists: @Sendable (Machine, Instance) -> Bool

  init(
    _ path: String, _ mode: UInt16, _ content: Content, _ document: String, size: Int64? = nil,
    longestStore: Int? = nil,
    opensToTracersOnly: Bool = false, notify: Bool = false,
    exists: @escaping @Sendable (Machine, Instance) -> Bool = { _, _ in true }
  ) {
    self.path = path
    self.mode = mode
    self.content = content
    self.document = document
    self.size = size
    self.longestStore = longestStore
    self.opensToTracersOnly = opensToTracersOnly
    self.notify = notify
    self.exists = exists
  }
}
