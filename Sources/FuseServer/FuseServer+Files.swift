internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

extension FuseServer {
  func open(
    _ inode: Inode, info: UnsafeMutablePointer<fuse_file_info>, uid: uid_t, reply: consuming Reply<HandleAnswer>
  ) {
    let handle: FileHandle
    do { handle = unsafe FileHandle(try tree.open(inode, flags: info.pointee.flags, uid: uid)) } catch {
      return reply.fail(error)
    }
    unsafe info.pointee.fh = handles.add(handle)
    // Past the page cache, always: a file whose size is said to be 0 would read as empty.
    unsafe info.pointee.direct_io = 1
    if unsafe !reply.opened(info) { handles.remove(handle) }
  }

  func read(_ file: any OpenFile, size: Int, offset: Int64, reply: consuming Reply<BytesAnswer>) {
    let buffer = unsafe readBuffer.bytes(size)
    let count: Int
    do { count = try unsafe file.read(into: buffer, at: offset) } catch { return reply.fail(error) }
    unsafe reply.bytes(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
  }

  func write(_ bytes: UnsafeRawBufferPointer, to file: any OpenFile, offset: Int64, reply: consuming Reply<CountAnswer>)
  {
    let count: Int
    do { count = try unsafe file.write(bytes, at: offset) } catch { return reply.fail(error) }
    reply.written(count)
  }

  func release(_ handle: Handle, reply: consuming Reply<NoAnswer>) {
    handles.remove(handle)
    reply.done()
  }

  func seek(_ file: any OpenFile, to offset: Int64, whence: Int32, reply: consuming Reply<OffsetAnswer>) {
    let result: Int64
    do { result = try file.seek(offset, whence: whence) } catch { return reply.fail(error) }
    reply.offset(result)
  }

  /// `sleeper` is there where the caller will sleep unless an event holds now.
  func poll(_ file: any OpenFile, sleeper: OpaquePointer?, reply: consuming Reply<EventsAnswer>) {
    reply.events(file.poll(unsafe sleeper.map { unsafe notifier.ticket(for: $0) }))
  }
}
