internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

extension FuseServer {
  func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode, reply: consuming Reply<EntryAnswer>) {
    let attributes: FileAttributes
    do { attributes = try unsafe tree.lookup(name, in: parent) } catch { return reply.fail(error) }
    reply.entry(attributes, of: self)
  }

  func readLink(_ inode: Inode, reply: consuming Reply<LinkAnswer>) {
    let target: String
    do { target = try tree.target(ofLink: inode) } catch { return reply.fail(error) }
    reply.link(target)
  }
}
