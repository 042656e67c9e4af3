public import SystemPackage

/// A tree of files as a server sees it: inodes, names, handles and errors, nothing of what the files mean.
///
/// All methods are synchronous and may be called from any thread at any time. Every error is the errno that the caller of the
/// system call shall see.
public protocol ServedTree: AnyObject, Sendable {
  /// The entry `name` (UTF-8, no slash, no NUL) of the directory `parent`; ENOENT where there is none.
  func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode) throws(Errno) -> FileAttributes
  /// ENOENT where `inode` is gone (a process that ended).
  func attributes(of inode: Inode) throws(Errno) -> FileAttributes
  /// chmod, chown, truncate, utimes: what the file's file system says of each to `uid`; the attributes afterwards.
  func change(_ change: AttributeChange, of inode: Inode, uid: UInt32) throws(Errno) -> FileAttributes
  /// What a symbolic link holds.
  func target(ofLink inode: Inode) throws(Errno) -> String
  /// A snapshot of a directory's entries, `.` and `..` left out, in the order in which they are shown.
  func entries(of directory: Inode) throws(Errno) -> [DirectoryEntry]
  /// Opens a file for `uid`. `flags` are open(2)'s, O_CREAT, O_EXCL and O_NOCTTY taken out as FUSE does.
  func open(_ inode: Inode, flags: Int32, uid: UInt32) throws(Errno) -> any OpenFile
  /// What an attempt to change the tree's names is answered with: nothing ever succeeds.
  func refusal(of operation: NameOperation, _ name: UnsafeRawBufferPointer, in parent: Inode) -> Errno
  /// What access(2) shall say: nil if `mask` (R_OK, W_OK, X_OK) is granted to `uid`.
  func refusal(ofAccess mask: Int32, to inode: Inode, uid: UInt32) -> Errno?
}

/// An inode's number. 1 is the root. Packed from a row of the table and its instance; never reused for anything else.
public struct Inode: RawRepresentable, Hashable, Sendable {
  public var rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
  public static var root: Inode { Inode(rawValue: 1) }
}

public struct FileAttributes: Sendable {
  public enum Kind: Sendable { case file, directory, link }
  public var inode: Inode
  public var kind: Kind
  /// The permission bits: 0 to 0o777.
  public var permissions: UInt16
  /// st_size, in bytes. st_blocks is 0 always.
  public var size: Int64
  public var links: UInt32
  /// Who owns the file where chown(2) has said so; nil is the user who mounted the tree.
  public var owner: UInt32?
  public var group: UInt32?
  /// How long, in seconds, a kernel may believe these attributes. `.infinity` where nothing can change them, 0 where they may change at
  /// any time.
  public var lifetime: Double
  /// How long it may believe the name that led to them: as long, unless something else is said.
  public var nameLifetime: Double
  public init(
    inode: Inode, kind: Kind, permissions: UInt16, size: Int64, links: UInt32 = 1, owner: UInt32? = nil,
    group: UInt32? = nil,
    lifetime: Double, nameLifetime: Double? = nil
  ) {
    self.inode = inode
    self.kind = kind
    self.permissions = permissions
    self.size = size
    self.links = links
    self.owner = owner
    self.group = group
    self.lifetime = lifetime
    self.nameLifetime = nameLifetime ?? lifetime
  }
}

public struct DirectoryEntry: Sendable {
  public var name: String
  public var inode: Inode
  public var kind: FileAttributes.Kind
  public init(name: String, inode: Inode, kind: FileAttributes.Kind) {
    self.name = name
    self.inode = inode
    self.kind = kind
  }
}

/// What setattr(2)'s kin want changed; nil fields are left alone.
public struct AttributeChange: Sendable {
  public var permissions: UInt16?
  public var owner: UInt32?
  public var group: UInt32?
  public var size: Int64?
  public var times = false
  public init() {}
}

/// The ways in which a caller may try to change names.
public enum NameOperation: Sendable {
  case create, makeNode, makeDirectory, unlink, removeDirectory, rename, link, symlink
}

/// An open file: its state is its own, and its life ends with the last reference. Methods may be called from several threads at once.
public protocol OpenFile: AnyObject, Sendable {
  /// Copies what lies at `offset` into `buffer`; how many bytes that was, 0 at the end.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int
  /// Takes bytes; how many of them (at least 1, unless `bytes` is empty).
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int
  /// lseek(2) with SEEK_DATA (3) or SEEK_HOLE (4), which alone reach a server.
  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64
  /// The poll(2) events that hold now. `waiter` is called once, from any thread, when they may have changed; a new one replaces an
  /// earlier one, and nil leaves the earlier one where it is: it comes from a caller who will not sleep.
  func poll(_ waiter: (any PollWaiter)?) -> UInt32
  /// The last close: what was held back takes effect now.
  func release()
}

/// Somebody who sleeps in poll(2).
public protocol PollWaiter: AnyObject, Sendable {
  func wake()
}
