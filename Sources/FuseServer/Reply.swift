internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

/// The obligation to answer one request of the kernel's, which is owned and met exactly once.
///
/// `Answer` says with what: an operation can be answered only as the protocol has it, or with an error. Every way of
/// answering consumes the value. One that is dropped unanswered, which would let its caller sleep for ever, is a broken
/// invariant: it traps in debug builds, and is answered EIO in others.
@safe struct Reply<Answer>: ~Copyable {
  private let request: fuse_req_t

  init(to request: fuse_req_t) { unsafe self.request = request }

  deinit {
    assertionFailure("a request was dropped unanswered")
    // SAFETY: the request is alive until the first reply, which this is.
    unsafe fuse_reply_err(request, EIO)
  }

  consuming func fail(_ error: Errno) {
    // SAFETY: the request is alive until the first reply, which this is; so in every other method here.
    unsafe fuse_reply_err(request, error.rawValue)
    discard self
  }

  /// The request itself, given up by the one who answers it now.
  fileprivate consuming func take() -> fuse_req_t {
    let request = unsafe self.request
    discard self
    return unsafe request
  }
}

/// The kinds of answers.
enum NoAnswer {}
enum EntryAnswer {}
enum AttributesAnswer {}
enum BytesAnswer {}
enum LinkAnswer {}
enum CountAnswer {}
enum HandleAnswer {}
enum OffsetAnswer {}
enum EventsAnswer {}
enum FileSystemAnswer {}

extension Reply where Answer == NoAnswer {
  consuming func done() { unsafe fuse_reply_err(take(), 0) }
}

extension Reply where Answer == EntryAnswer {
  consuming func entry(_ attributes: FileAttributes, of server: FuseServer) {
    var entry = server.entryParameters(attributes)
    unsafe fuse_reply_entry(take(), &entry)
  }
}

extension Reply where Answer == AttributesAnswer {
  consuming func attributes(_ attributes: FileAttributes, of server: FuseServer) {
    var status = server.status(attributes)
    unsafe fuse_reply_attr(take(), &status, FuseServer.timeout(attributes.lifetime))
  }
}

extension Reply where Answer == LinkAnswer {
  consuming func link(_ target: String) {
    let request = unsafe take()
    unsafe target.withCString { _ = unsafe fuse_reply_readlink(request, $0) }
  }
}

extension Reply where Answer == BytesAnswer {
  consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    unsafe fuse_reply_buf(take(), bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }
}

extension Reply where Answer == CountAnswer {
  consuming func written(_ count: Int) { unsafe fuse_reply_write(take(), count) }
}

extension Reply where Answer == HandleAnswer {
  /// Whether the opener got the handle. Where not (a signal came first), the kernel never sends a release for it.
  consuming func opened(_ info: UnsafeMutablePointer<fuse_file_info>) -> Bool {
    unsafe fuse_reply_open(take(), info) == 0
  }
}

extension Reply where Answer == OffsetAnswer {
  consuming func offset(_ offset: Int64) { unsafe fuse_reply_lseek(take(), off_t(offset)) }
}

extension Reply where Answer == EventsAnswer {
  consuming func events(_ events: UInt32) { unsafe fuse_reply_poll(take(), events) }
}

extension Reply where Answer == FileSystemAnswer {
  consuming func fileSystem(_ status: statvfs) {
    var status = status
    unsafe fuse_reply_statfs(take(), &status)
  }
}
