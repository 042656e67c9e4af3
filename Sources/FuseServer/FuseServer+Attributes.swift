internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

extension FuseServer {
  func getAttributes(of inode: Inode, reply: consuming Reply<AttributesAnswer>) {
    let attributes: FileAttributes
    do { attributes = try tree.attributes(of: inode) } catch { return reply.fail(error) }
    reply.attributes(attributes, of: self)
  }

  /// `which` is a set of libfuse's FUSE_SET_ATTR flags: which fields of `status` are meant.
  func setAttributes(
    of inode: Inode, to status: stat, which: Int32, uid: uid_t, reply: consuming Reply<AttributesAnswer>
  ) {
    var change = AttributeChange()
    if which & FUSE_SET_ATTR_MODE != 0 { change.permissions = UInt16(status.st_mode & 0o7777) }
    if which & FUSE_SET_ATTR_UID != 0 { change.owner = status.st_uid }
    if which & FUSE_SET_ATTR_GID != 0 { change.group = status.st_gid }
    if which & FUSE_SET_ATTR_SIZE != 0 { change.size = Int64(status.st_size) }
    change.times =
      which & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW) != 0
    let attributes: FileAttributes
    do { attributes = try tree.change(change, of: inode, uid: uid) } catch { return reply.fail(error) }
    reply.attributes(attributes, of: self)
  }

  func access(_ inode: Inode, mask: Int32, uid: UInt32, reply: consuming Reply<NoAnswer>) {
    if let refusal = tree.refusal(ofAccess: mask, to: inode, uid: uid) { return reply.fail(refusal) }
    reply.done()
  }

  /// As statfs(2) of sysfs says: no blocks, names of up to 255 bytes.
  func fileSystem(reply: consuming Reply<FileSystemAnswer>) {
    var status = statvfs()
    status.f_bsize = 4096
    status.f_frsize = 4096
    status.f_namemax = 255
    reply.fileSystem(status)
  }

  func status(_ attributes: FileAttributes) -> stat {
    var status = stat()
    status.st_ino = ino_t(attributes.inode.rawValue)
    status.st_mode = Self.mode(attributes.kind) | mode_t(attributes.permissions)
    status.st_nlink = nlink_t(attributes.links)
    status.st_uid = attributes.owner ?? owner.user
    status.st_gid = attributes.group ?? owner.group
    status.st_size = off_t(attributes.size)
    status.st_blksize = 4096
    status.st_atim = birth
    status.st_mtim = birth
    status.st_ctim = birth
    return status
  }

  func entryParameters(_ attributes: FileAttributes) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = attributes.inode.rawValue
    entry.attr = status(attributes)
    entry.attr_timeout = Self.timeout(attributes.lifetime)
    entry.entry_timeout = Self.timeout(attributes.nameLifetime)
    return entry
  }

  static func mode(_ kind: FileAttributes.Kind) -> mode_t {
    switch kind {
    case .file: S_IFREG
    case .directory: S_IFDIR
    case .link: S_IFLNK
    }
  }

  /// Seconds, as the kernel can count them: 2^30 of them, 34 years, stand for "for ever".
  static func timeout(_ lifetime: Double) -> Double { min(lifetime, 0x1p30) }
}
