internal import CFuse
internal import FileTree
internal import Glibc
internal import SystemPackage

/// The server that a request belongs to.
private func server(_ request: fuse_req_t) -> FuseServer {
  // SAFETY: the user data is the server that made the session, and lives until the session is destroyed.
  unsafe Unmanaged<FuseServer>.fromOpaque(fuse_req_userdata(request)!).takeUnretainedValue()
}

private func bytes(_ name: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
  // SAFETY: libfuse passes names that end with NUL, and live as long as the request.
  unsafe UnsafeRawBufferPointer(start: name, count: strlen(name!))
}

/// Names change by the machine alone, never by a user's wish: the tree says with which error.
private func refuseName(
  _ operation: NameOperation, _ name: UnsafePointer<CChar>?, in parent: fuse_ino_t, _ request: fuse_req_t?
) {
  let refusal = unsafe server(request!).tree.refusal(of: operation, bytes(name), in: Inode(rawValue: parent))
  unsafe Reply<NoAnswer>(to: request!).fail(refusal)
}

extension FuseServer {
  /// What libfuse calls for each kind of request.
  ///
  /// SAFETY, for all of them: libfuse passes pointers that are not nil, where its documentation does not say otherwise, and
  /// that live until the request is answered; a handle number is what open or opendir answered.
  ///
  /// What is not here is answered ENOSYS by libfuse, whereupon the kernel asks no more: flush (nothing is held back that close
  /// could fail to write), fsync, extended attributes, locks (the kernel keeps those itself). Forget needs nothing, since inode
  /// numbers are computed and never kept.
  static var operations: fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    unsafe operations.`init` = { server, connection in
      // Lookups and listings of one directory may overlap. Truncation arrives with open, as libfuse asks for by default.
      unsafe connection!.pointee.want |= connection!.pointee.capable & UInt32(FUSE_CAP_PARALLEL_DIROPS)
      unsafe Unmanaged<FuseServer>.fromOpaque(server!).takeUnretainedValue().began()
    }
    unsafe operations.lookup = { request, parent, name in
      unsafe server(request!).lookup(bytes(name), in: Inode(rawValue: parent), reply: Reply(to: request!))
    }
    unsafe operations.getattr = { request, inode, _ in
      unsafe server(request!).getAttributes(of: Inode(rawValue: inode), reply: Reply(to: request!))
    }
    unsafe operations.setattr = { request, inode, status, which, _ in
      unsafe server(request!).setAttributes(
        of: Inode(rawValue: inode), to: status!.pointee, which: which, uid: fuse_req_ctx(request!).pointee.uid,
        reply: Reply(to: request!))
    }
    unsafe operations.access = { request, inode, mask in
      unsafe server(request!).access(
        Inode(rawValue: inode), mask: mask, uid: fuse_req_ctx(request!).pointee.uid, reply: Reply(to: request!))
    }
    unsafe operations.statfs = { request, _ in unsafe server(request!).fileSystem(reply: Reply(to: request!)) }
    unsafe operations.readlink = { request, inode in
      unsafe server(request!).readLink(Inode(rawValue: inode), reply: Reply(to: request!))
    }

    unsafe operations.opendir = { request, inode, info in
      unsafe server(request!).openDirectory(Inode(rawValue: inode), info: info!, reply: Reply(to: request!))
    }
    unsafe operations.readdir = { request, inode, size, offset, info in
      unsafe server(request!).readDirectory(
        Inode(rawValue: inode), handle: HandleList.handle(info!.pointee.fh, as: DirectoryHandle.self), size: size,
        offset: offset, withAttributes: false, request: request!, reply: Reply(to: request!))
    }
    unsafe operations.readdirplus = { request, inode, size, offset, info in
      unsafe server(request!).readDirectory(
        Inode(rawValue: inode), handle: HandleList.handle(info!.pointee.fh, as: DirectoryHandle.self), size: size,
        offset: offset, withAttributes: true, request: request!, reply: Reply(to: request!))
    }
    unsafe operations.releasedir = { request, _, info in
      unsafe server(request!).release(
        HandleList.handle(info!.pointee.fh, as: DirectoryHandle.self), reply: Reply(to: request!))
    }

    unsafe operations.open = { request, inode, info in
      unsafe server(request!).open(
        Inode(rawValue: inode), info: info!, uid: fuse_req_ctx(request!).pointee.uid, reply: Reply(to: request!))
    }
    unsafe operations.read = { request, _, size, offset, info in
      unsafe server(request!).read(
        HandleList.handle(info!.pointee.fh, as: FileHandle.self).file, size: size, offset: Int64(offset),
        reply: Reply(to: request!))
    }
    unsafe operations.write = { request, _, bytes, size, offset, info in
      unsafe server(request!).write(
        UnsafeRawBufferPointer(start: bytes, count: size),
        to: HandleList.handle(info!.pointee.fh, as: FileHandle.self).file, offset: Int64(offset),
        reply: Reply(to: request!))
    }
    unsafe operations.release = { request, _, info in
      unsafe server(request!).release(
        HandleList.handle(info!.pointee.fh, as: FileHandle.self), reply: Reply(to: request!))
    }
    unsafe operations.lseek = { request, _, offset, whence, info in
      unsafe server(request!).seek(
        HandleList.handle(info!.pointee.fh, as: FileHandle.self).file, to: Int64(offset), whence: whence,
        reply: Reply(to: request!))
    }
    unsafe operations.poll = { request, _, info, sleeper in
      unsafe server(request!).poll(
        HandleList.handle(info!.pointee.fh, as: FileHandle.self).file, sleeper: sleeper, reply: Reply(to: request!))
    }
    // No file has any: what isatty(3) gets from a file that is no terminal.
    unsafe operations.ioctl = { request, _, _, _, _, _, _, _, _ in
      unsafe Reply<NoAnswer>(to: request!).fail(Errno(rawValue: ENOTTY))
    }

    unsafe operations.create = { request, parent, name, _, _ in unsafe refuseName(.create, name, in: parent, request) }
    unsafe operations.mknod = { request, parent, name, _, _ in unsafe refuseName(.makeNode, name, in: parent, request) }
    unsafe operations.mkdir = { request, parent, name, _ in unsafe refuseName(.makeDirectory, name, in: parent, request)
    }
    unsafe operations.unlink = { request, parent, name in unsafe refuseName(.unlink, name, in: parent, request) }
    unsafe operations.rmdir = { request, parent, name in unsafe refuseName(.removeDirectory, name, in: parent, request)
    }
    unsafe operations.rename = { request, parent, name, _, _, _ in unsafe refuseName(.rename, name, in: parent, request)
    }
    unsafe operations.link = { request, _, parent, name in unsafe refuseName(.link, name, in: parent, request) }
    unsafe operations.symlink = { request, _, parent, name in unsafe refuseName(.symlink, name, in: parent, request) }
    return operations
  }
}
