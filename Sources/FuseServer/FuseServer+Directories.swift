internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

extension FuseServer {
  func openDirectory(
    _ inode: Inode, info: UnsafeMutablePointer<fuse_file_info>, reply: consuming Reply<HandleAnswer>
  ) {
    let handle = DirectoryHandle()
    unsafe info.pointee.fh = handles.add(handle)
    if unsafe !reply.opened(info) { handles.remove(handle) }
  }

  /// Answers as many entries as fit into `size` bytes. Offset 0 is `.`, 1 is `..`, and the entries follow.
  ///
  /// With `attributes`, each entry is a lookup too, which saves the kernel one for each when somebody lists and stats. An entry
  /// that is gone by then is shown without.
  func readDirectory(
    _ inode: Inode, handle: DirectoryHandle, size: Int, offset: Int, withAttributes: Bool,
    request: fuse_req_t, reply: consuming Reply<BytesAnswer>
  ) {
    let entries: [DirectoryEntry]
    do {
      entries = try handle.snapshot(at: offset) { () throws(Errno) in try tree.entries(of: inode) }
    } catch {
      return reply.fail(error)
    }
    let buffer = unsafe readBuffer.bytes(size)
    var filled = 0
    var position = offset
    while position < entries.count + 2 {
      let next = position + 1
      let entry: DirectoryEntry
      switch position {
      case 0: entry = DirectoryEntry(name: ".", inode: inode, kind: .directory)
      case 1: entry = DirectoryEntry(name: "..", inode: Self.unknownInode, kind: .directory)
      default: entry = entries[position - 2]
      }
      // A zero inode number tells the kernel that the entry comes without attributes, as `.` and `..` must.
      var parameters = fuse_entry_param()
      parameters.attr.st_ino = ino_t(entry.inode.rawValue)
      parameters.attr.st_mode = Self.mode(entry.kind)
      if withAttributes, position >= 2, let attributes = try? tree.attributes(of: entry.inode) {
        parameters = entryParameters(attributes)
      }
      // SAFETY: libfuse writes the entry only where the whole of it fits into the space left, and says how long it is.
      let space = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      let start = unsafe space.baseAddress?.assumingMemoryBound(to: CChar.self)
      let length =
        if withAttributes {
          unsafe fuse_add_direntry_plus(request, start, space.count, entry.name, &parameters, off_t(next))
        } else {
          unsafe fuse_add_direntry(request, start, space.count, entry.name, &parameters.attr, off_t(next))
        }
      guard length <= space.count else { break }
      filled += length
      position = next
    }
    unsafe reply.bytes(UnsafeRawBufferPointer(rebasing: buffer[..<filled]))
  }

  /// The number of a directory's parent, which is shown by `..` and read by nobody: libfuse's FUSE_UNKNOWN_INO.
  private static let unknownInode = Inode(rawValue: 0xffff_ffff)
}
