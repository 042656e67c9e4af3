internal import CFuse
internal import FileTree
internal import MemoryTypes

/// What a kernel's file handle stands for. It belongs to its `HandleList` from open to release.
class Handle {
  /// The neighbour before it in the list, which owns this one. Guarded by the list's lock.
  fileprivate unowned var previous: Handle?
  /// The neighbour behind it. Guarded by the list's lock.
  fileprivate var next: Handle?

  /// The last close.
  func release() {}
}

/// An open file.
final class FileHandle: Handle {
  let file: any OpenFile
  init(_ file: any OpenFile) { self.file = file }
  override func release() { file.release() }
}

/// An open directory: what it held when its reader began at offset 0.
final class DirectoryHandle: Handle {
  private let lock = Lock()
  /// Guarded by `lock`. Nil until the first read.
  private var entries: [DirectoryEntry]?

  /// The entries that a reader at `offset` goes through: a fresh snapshot at offset 0, where a reader starts and where
  /// rewinddir(3) returns to, and the same one at any other.
  func snapshot<Failure: Error>(
    at offset: Int, fresh: () throws(Failure) -> [DirectoryEntry]
  ) throws(Failure) -> [DirectoryEntry] {
    if offset != 0, let entries = lock.withLock({ self.entries }) { return entries }
    let snapshot = try fresh()
    lock.withLock { entries = snapshot }
    return snapshot
  }
}

/// The handles that are open, so that those which no release was sent for (the mount was cut off under its users) are
/// released at the end nevertheless.
///
/// A list through the handles themselves: opening and closing allocate nothing for it.
final class HandleList: @unchecked Sendable {
  private let lock = Lock()
  /// Guarded by `lock`. The list owns its members.
  private var first: Handle?

  /// What `fuse_file_info.fh` shall hold. Valid until `remove`.
  func add(_ handle: Handle) -> UInt64 {
    lock.withLock {
      handle.next = first
      first?.previous = handle
      first = handle
    }
    // SAFETY: the list owns the handle, so the address stays its own until it is removed.
    return unsafe UInt64(UInt(bitPattern: Unmanaged.passUnretained(handle).toOpaque()))
  }

  /// The handle that `add` gave this number to.
  static func handle<Kind: Handle>(_ number: UInt64, as kind: Kind.Type) -> Kind {
    // SAFETY: the kernel gives back what open answered, on the operations of the kind that was opened, and only before release.
    unsafe Unmanaged<Kind>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(number))!).takeUnretainedValue()
  }

  /// Takes the handle off the list and releases it.
  func remove(_ handle: Handle) {
    lock.withLock {
      let next = handle.next
      next?.previous = handle.previous
      if let previous = handle.previous { previous.next = next } else { first = next }
      handle.next = nil
      handle.previous = nil
    }
    handle.release()
  }

  /// Releases whatever is open. The session must have ended.
  func removeAll() {
    while let handle = lock.withLock({ first }) { remove(handle) }
  }
}
