import FileTree
import Glibc
import MemoryTypes
import SystemPackage

typealias Inode = FileTree.Inode

/// A tree of a few files, each with one peculiarity, that records what a server asks of it.
final class FakeTree: ServedTree, @unchecked Sendable {
  struct Store: Equatable {
    var bytes: [UInt8]
    var offset: Int64
  }
  struct Change: Equatable {
    var inode: UInt64
    var permissions: UInt16?
    var owner: UInt32?
    var group: UInt32?
    var size: Int64?
    var times: Bool
    var uid: UInt32
  }
  struct Refused: Equatable {
    var operation: NameOperation
    var name: String
    var parent: UInt64
  }
  /// What has been asked for so far.
  struct Record {
    var stores: [Store] = []
    var changes: [Change] = []
    var refused: [Refused] = []
    var flags: [Int32] = []
    var openers: [UInt32] = []
    var lookups = 0
    var attributeReads = 0
    var opened = 0
    var released = 0
    var waiters: [any PollWaiter] = []
    var events: UInt32 = 0
  }

  private let lock = Lock()
  private var state = Record()
  var record: Record { lock.withLock { state } }
  func update(_ body: (inout Record) -> Void) { lock.withLock { body(&state) } }

  struct Row {
    var inode: UInt64
    var name: String
    var kind: FileAttributes.Kind = .file
    var permissions: UInt16 = 0o644
    var size: Int64 = 4096
    var lifetime = Double.infinity
    var owner: UInt32?
  }
  static let manyEntries = 5000
  static let bigSize = (1 << 20) + 5017
  static let text = "hello\n"
  static let rows = [
    Row(inode: 2, name: "plain"),
    Row(inode: 3, name: "sizeless", permissions: 0o444, size: 0),
    Row(inode: 4, name: "big", permissions: 0o444, size: 0),
    Row(inode: 5, name: "write-only", permissions: 0o200),
    Row(inode: 6, name: "link", kind: .link, permissions: 0o777, size: 5),
    Row(inode: 7, name: "many", kind: .directory, permissions: 0o755, size: 0),
    Row(inode: 8, name: "broken", owner: 7),
    Row(inode: 9, name: "event"),
    Row(inode: 10, name: "fleeting", lifetime: 0),
  ]

  private func attributes(_ row: Row) -> FileAttributes {
    FileAttributes(
      inode: Inode(rawValue: row.inode), kind: row.kind, permissions: row.permissions, size: row.size,
      owner: row.owner, group: row.owner.map { $0 + 1 }, lifetime: row.lifetime)
  }

  func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode) throws(Errno) -> FileAttributes {
    update { $0.lookups += 1 }
    let name = unsafe String(decoding: name, as: UTF8.self)
    if parent.rawValue == 7, let number = UInt64(name.dropFirst(6)), number < Self.manyEntries {
      return try attributes(of: Inode(rawValue: 1000 + number))
    }
    guard parent == .root, let row = Self.rows.first(where: { $0.name == name }) else {
      throw .noSuchFileOrDirectory
    }
    return attributes(row)
  }

  func attributes(of inode: Inode) throws(Errno) -> FileAttributes {
    update { $0.attributeReads += 1 }
    if inode == .root {
      return FileAttributes(
        inode: .root, kind: .directory, permissions: 0o755, size: 0, links: 3, lifetime: .infinity)
    }
    if inode.rawValue >= 1000 {
      return FileAttributes(inode: inode, kind: .file, permissions: 0o400, size: 1, lifetime: .infinity)
    }
    guard let row = Self.rows.first(where: { $0.inode == inode.rawValue }) else { throw .noSuchFileOrDirectory }
    return attributes(row)
  }

  func change(_ change: AttributeChange, of inode: Inode, uid: UInt32) throws(Errno) -> FileAttributes {
    update {
      $0.changes.append(
        Change(
          inode: inode.rawValue, permissions: change.permissions, owner: change.owner, group: change.group,
          size: change.size, times: change.times, uid: uid))
    }
    if change.owner != nil { throw .notPermitted }
    return try attributes(of: inode)
  }

  func target(ofLink inode: Inode) throws(Errno) -> String { "plain" }

  func entries(of directory: Inode) throws(Errno) -> [DirectoryEntry] {
    if directory.rawValue == 7 {
      return (0..<Self.manyEntries).map {
        DirectoryEntry(name: "entry-\($0)", inode: Inode(rawValue: UInt64(1000 + $0)), kind: .file)
      }
    }
    return Self.rows.map { DirectoryEntry(name: $0.name, inode: Inode(rawValue: $0.inode), kind: $0.kind) }
  }

  func open(_ inode: Inode, flags: Int32, uid: UInt32) throws(Errno) -> any OpenFile {
    if inode.rawValue == 5, flags & O_ACCMODE != O_WRONLY { throw .permissionDenied }
    update {
      $0.opened += 1
      $0.flags.append(flags)
      $0.openers.append(uid)
    }
    return FakeFile(inode, of: self)
  }

  func refusal(of operation: NameOperation, _ name: UnsafeRawBufferPointer, in parent: Inode) -> Errno {
    let name = unsafe String(decoding: name, as: UTF8.self)
    update { $0.refused.append(Refused(operation: operation, name: name, parent: parent.rawValue)) }
    return operation == .create ? .permissionDenied : .notPermitted
  }

  func refusal(ofAccess mask: Int32, to inode: Inode, uid: UInt32) -> Errno? {
    inode.rawValue == 5 && mask & R_OK != 0 ? .permissionDenied : nil
  }

  /// Every waiter so far is woken, with these events holding from now on.
  func raise(_ events: UInt32) {
    var waiters: [any PollWaiter] = []
    update {
      $0.events = events
      waiters = $0.waiters
      $0.waiters = []
    }
    for waiter in waiters { waiter.wake() }
  }
}

final class FakeFile: OpenFile {
  private let inode: Inode
  private let tree: FakeTree

  init(_ inode: Inode, of tree: FakeTree) {
    self.inode = inode
    self.tree = tree
  }

  /// The bytes of `big`: what stands at a place depends on the place.
  static func bigByte(at offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: (offset >> 12) &* 31 &+ offset) }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    if inode.rawValue == 8 { throw .ioError }
    let offset = Int(offset)
    if inode.rawValue == 4 {
      let count = max(0, min(buffer.count, FakeTree.bigSize - offset))
      for i in 0..<count { unsafe buffer[i] = Self.bigByte(at: offset + i) }
      return count
    }
    let text = Array(FakeTree.text.utf8)
    let count = max(0, min(buffer.count, text.count - offset))
    for i in 0..<count { unsafe buffer[i] = text[offset + i] }
    return count
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    if inode.rawValue == 8 { throw .invalidArgument }
    let count = min(bytes.count, 4096)
    let stored = unsafe Array(bytes.prefix(count))
    tree.update { $0.stores.append(.init(bytes: stored, offset: offset)) }
    return count
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    if offset >= 8192 { throw .noSuchAddressOrDevice }
    return whence == 3 ? max(offset, 4096) : offset
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 {
    var events: UInt32 = 0
    tree.update {
      if let waiter { $0.waiters = [waiter] }
      events = $0.events
    }
    return events
  }

  func release() { tree.update { $0.released += 1 } }
}
