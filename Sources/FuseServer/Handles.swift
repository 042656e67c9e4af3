internal import CFuse
internal import FileTree
internal import MemoryTypes

/// What a kernel's file handle stands for. It belongs to its `HandleList` from open to release.
@safe class Handle {
  /// The neighbours in the list, which holds a reference to each of its members. Guarded by the list's lock.
  fileprivate final var previous: Unmanaged<Handle>?
  fileprivate final var next: Unmanaged<Handle>?

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
@safe final class HandleList: @unchecked Sendable {
  private let lock = Lock()
  /// Guarded by `lock`.
  private var first: Unmanaged<Handle>?

  /// What `fuse_file_info.fh` shall hold. Valid until `remove`, which is to be called once.
  func add(_ handle: consuming Handle) -> UInt64 {
    // SAFETY, for all of them: a member of the list is held by it, so that its neighbours' references to it lead to it.
    let added = unsafe Unmanaged.passRetained(handle)
    lock.lock()
    unsafe added._withUnsafeGuaranteedRef { unsafe $0.next = first }
    unsafe first?._withUnsafeGuaranteedRef { unsafe $0.previous = added }
    unsafe first = added
    lock.unlock()
    return unsafe UInt64(UInt(bitPattern: added.toOpaque()))
  }

  /// The handle that `add` gave this number to.
  static func handle<Kind: Handle>(_ number: UInt64, as kind: Kind.Type) -> Kind {
    // SAFETY: the kernel gives back what open answered, on the operations of the kind that was opened, and only before release.
    unsafe Unmanaged<Kind>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(number))!).takeUnretainedValue()
  }

  /// Takes the handle off the list and releases it.
  func remove(_ handle: Handle) {
    lock.lock()
    let (previous, next) = unsafe (handle.previous, handle.next)
    unsafe next?._withUnsafeGuaranteedRef { unsafe $0.previous = previous }
    if let previous = unsafe previous {
      unsafe previous._withUnsafeGuaranteedRef { unsafe $0.next = next }
    } else {
      unsafe first = next
    }
    lock.unlock()
    handle.release()
    // SAFETY: the reference that the list held.
    unsafe Unmanaged.passUnretained(handle).release()
  }

  /// Releases whatever is open. The session must have ended.
  func removeAll() {
    while let handle = lock.withLock({ unsafe first?.takeUnretainedValue() }) { remove(handle) }
  }
}
