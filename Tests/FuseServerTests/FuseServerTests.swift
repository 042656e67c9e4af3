import FileTree
import FuseServer
import Glibc
import SystemPackage
import Testing

/// Every operation, asked for by plain system calls over a real mount of a tree that records what arrives.
@Suite(.serialized, .enabled(if: mountingObstacle == nil, "\(mountingObstacle ?? "")"))
struct FuseServerTests {
  @Test(arguments: [1, 4]) func attributesAreTheTrees(threads: Int) throws {
    let tree = FakeTree()
    try withMount(tree, threads: threads) { path, _ in
      var status = stat()
      #expect(unsafe stat("\(path)/plain", &status) == 0)
      #expect(status.st_ino == 2)
      #expect(status.st_mode == S_IFREG | 0o644)
      #expect(status.st_size == 4096)
      #expect(status.st_blocks == 0)
      #expect(status.st_blksize == 4096)
      #expect(status.st_nlink == 1)
      #expect(status.st_uid == getuid() && status.st_gid == getgid())
      #expect(abs(status.st_mtim.tv_sec - time(nil)) < 60)
      #expect(unsafe stat("\(path)/broken", &status) == 0)
      #expect(status.st_uid == 7 && status.st_gid == 8)
      #expect(unsafe stat(path, &status) == 0)
      #expect(status.st_ino == 1 && status.st_mode == S_IFDIR | 0o755 && status.st_nlink == 3)
      #expect(unsafe lstat("\(path)/link", &status) == 0)
      #expect(status.st_mode == S_IFLNK | 0o777 && status.st_size == 5)
      #expect(unsafe failure(stat("\(path)/absent", &status)) == ENOENT)
    }
  }

  @Test func whatCannotChangeIsAskedForOnce() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      var status = stat()
      for _ in 0..<10 { unsafe stat("\(path)/plain", &status) }
      #expect(tree.record.lookups == 1)
      #expect(tree.record.attributeReads == 0)
      for _ in 0..<10 { unsafe stat("\(path)/fleeting", &status) }
      #expect(tree.record.lookups + tree.record.attributeReads >= 11)
    }
  }

  @Test func namesThatAreAbsentAreAskedForAgain() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      for _ in 0..<3 { #expect(unsafe failure(access("\(path)/absent", F_OK)) == ENOENT) }
      #expect(tree.record.lookups == 3)
    }
  }

  @Test(arguments: [1, 2, 6, 4096]) func aFileOfSizeZeroIsReadWhole(chunk: Int) throws {
    try withMount(FakeTree()) { path, _ in
      #expect(contents("\(path)/sizeless", chunk: chunk) == Array(FakeTree.text.utf8))
    }
  }

  @Test(arguments: [4095, 1 << 17, 2 << 20], [1, 3]) func longReadsAgree(chunk: Int, threads: Int) throws {
    try withMount(FakeTree(), threads: threads) { path, _ in
      let bytes = try #require(contents("\(path)/big", chunk: chunk))
      #expect(bytes.count == FakeTree.bigSize)
      #expect(bytes.indices.allSatisfy { bytes[$0] == FakeFile.bigByte(at: $0) })
    }
  }

  @Test func writesArriveWithTheirOffsets() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      let file = unsafe open("\(path)/plain", O_WRONLY | O_TRUNC)
      #expect(unsafe write(file, "ab", 2) == 2)
      #expect(unsafe write(file, "c", 1) == 1)
      #expect(unsafe pwrite(file, "d", 1, 77) == 1)
      close(file)
      // Neither truncating nor writing changes what the tree says of the size.
      var status = stat()
      #expect(unsafe stat("\(path)/plain", &status) == 0)
      #expect(status.st_size == 4096)
      let appending = unsafe open("\(path)/plain", O_WRONLY | O_APPEND)
      #expect(unsafe write(appending, "e", 1) == 1)
      close(appending)
      #expect(
        tree.record.stores == [
          .init(bytes: [97, 98], offset: 0), .init(bytes: [99], offset: 2), .init(bytes: [100], offset: 77),
          .init(bytes: [101], offset: 4096),
        ])
      // Truncation came with open, in one request.
      #expect(tree.record.flags[0] & O_TRUNC != 0)
      #expect(tree.record.changes.isEmpty)
    }
  }

  @Test func aShortWriteIsPassedOn() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      let file = unsafe open("\(path)/plain", O_WRONLY)
      defer { close(file) }
      let bytes = [UInt8](repeating: 120, count: 10000)
      #expect(unsafe write(file, bytes, bytes.count) == 4096)
      #expect(tree.record.stores.map(\.bytes.count) == [4096])
    }
  }

  @Test func errorsAreTheTrees() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      let file = unsafe open("\(path)/broken", O_RDWR)
      var byte: UInt8 = 0
      #expect(unsafe failure(read(file, &byte, 1)) == EIO)
      #expect(unsafe failure(write(file, &byte, 1)) == EINVAL)
      close(file)
      #expect(unsafe failure(open("\(path)/write-only", O_RDONLY)) == EACCES)
      #expect(unsafe failure(open("\(path)/write-only", O_RDWR)) == EACCES)
      let writer = unsafe open("\(path)/write-only", O_WRONLY)
      #expect(writer >= 0)
      close(writer)
      #expect(unsafe failure(access("\(path)/write-only", R_OK)) == EACCES)
      #expect(unsafe failure(access("\(path)/write-only", W_OK)) == 0)
    }
  }

  @Test func changesOfAttributesArrive() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      let plain = "\(path)/plain"
      #expect(unsafe failure(truncate(plain, 10)) == 0)
      #expect(unsafe failure(chmod(plain, 0o600)) == 0)
      #expect(unsafe failure(chown(plain, 3, 4)) == EPERM)
      #expect(unsafe failure(utimes(plain, nil)) == 0)
      let file = unsafe open(plain, O_WRONLY)
      #expect(failure(ftruncate(file, 20)) == 0)
      close(file)
      let changes = tree.record.changes
      #expect(changes.count == 5)
      #expect(changes.map(\.inode) == [2, 2, 2, 2, 2])
      #expect(changes.map(\.size) == [10, nil, nil, nil, 20])
      #expect(changes.map { $0.permissions.map { $0 & 0o777 } } == [nil, 0o600, nil, nil, nil])
      #expect(changes.map(\.owner) == [nil, nil, 3, nil, nil])
      #expect(changes.map(\.group) == [nil, nil, 4, nil, nil])
      #expect(changes[3].times)
      #expect(changes.allSatisfy { $0.uid == getuid() })
      #expect(tree.record.openers == [getuid()])
    }
  }

  @Test func noNameCanBeChanged() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      #expect(unsafe failure(open("\(path)/new", O_WRONLY | O_CREAT, 0o644)) == EACCES)
      #expect(unsafe failure(mknod("\(path)/node", S_IFREG | 0o600, 0)) == EPERM)
      #expect(unsafe failure(mkdir("\(path)/directory", 0o755)) == EPERM)
      #expect(unsafe failure(unlink("\(path)/plain")) == EPERM)
      #expect(unsafe failure(rmdir("\(path)/many")) == EPERM)
      #expect(unsafe failure(rename("\(path)/plain", "\(path)/other")) == EPERM)
      #expect(unsafe failure(link("\(path)/plain", "\(path)/hard")) == EPERM)
      #expect(unsafe failure(symlink("anything", "\(path)/soft")) == EPERM)
      let expected: [(NameOperation, String)] = [
        (.create, "new"), (.makeNode, "node"), (.makeDirectory, "directory"), (.unlink, "plain"),
        (.removeDirectory, "many"), (.rename, "plain"), (.link, "hard"), (.symlink, "soft"),
      ]
      #expect(tree.record.refused == expected.map { .init(operation: $0, name: $1, parent: 1) })
      // What exists is not created, whatever the flags.
      let file = unsafe open("\(path)/plain", O_WRONLY | O_CREAT, 0o644)
      #expect(file >= 0)
      close(file)
      #expect(unsafe failure(open("\(path)/plain", O_WRONLY | O_CREAT | O_EXCL, 0o644)) == EEXIST)
    }
  }

  @Test func linksAreFollowed() throws {
    try withMount(FakeTree()) { path, _ in
      var buffer = [CChar](repeating: 0, count: 64)
      #expect(unsafe readlink("\(path)/link", &buffer, buffer.count) == 5)
      #expect(contents("\(path)/link") == Array(FakeTree.text.utf8))
    }
  }

  @Test(arguments: [false, true]) func directoriesAreListedInOrder(withAttributes: Bool) throws {
    try withMount(FakeTree()) { path, _ in
      let directory = unsafe try #require(opendir("\(path)/many"))
      defer { unsafe closedir(directory) }
      let expected = [".", ".."] + (0..<FakeTree.manyEntries).map { "entry-\($0)" }
      func list() -> [String] {
        var names: [String] = []
        var status = stat()
        while let entry = unsafe readdir(directory) {
          let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
          }
          // Statting on the way makes the kernel ask for attributes with the names.
          if withAttributes, name.hasPrefix("entry-") {
            #expect(unsafe lstat("\(path)/many/\(name)", &status) == 0)
            #expect(unsafe status.st_ino == entry.pointee.d_ino)
            #expect(status.st_mode == S_IFREG | 0o400)
          }
          names.append(name)
        }
        return names
      }
      #expect(list() == expected)
      unsafe rewinddir(directory)
      #expect(list() == expected)
    }
  }

  @Test func seekingForDataAndHolesReachesTheFile() throws {
    try withMount(FakeTree()) { path, _ in
      let file = unsafe open("\(path)/plain", O_RDONLY)
      defer { close(file) }
      #expect(lseek(file, 0, 3) == 4096)
      #expect(lseek(file, 5, 4) == 5)
      #expect(failure(lseek(file, 8192, 3)) == ENXIO)
      #expect(lseek(file, 0, SEEK_END) == 4096)
    }
  }

  @Test(arguments: [1, 3]) func pollingWakes(threads: Int) throws {
    let tree = FakeTree()
    try withMount(tree, threads: threads) { path, _ in
      let file = unsafe open("\(path)/event", O_RDONLY)
      defer { close(file) }
      var request = pollfd(fd: file, events: Int16(POLLPRI), revents: 0)
      #expect(unsafe poll(&request, 1, 0) == 0)
      // The sleeper's registration is what the waker waits for.
      let waker = PlainThread<Void> {
        while tree.record.waiters.isEmpty { usleep(1000) }
        tree.raise(UInt32(POLLPRI))
      }
      #expect(unsafe poll(&request, 1, 10_000) == 1)
      #expect(request.revents == Int16(POLLPRI))
      waker.join()
    }
  }

  @Test func aWaiterMayOutliveItsMount() throws {
    let tree = FakeTree()
    try withMount(tree) { path, _ in
      let file = unsafe open("\(path)/event", O_RDONLY)
      defer { close(file) }
      var request = pollfd(fd: file, events: Int16(POLLPRI), revents: 0)
      #expect(unsafe poll(&request, 1, 10) == 0)
    }
    #expect(!tree.record.waiters.isEmpty)
    tree.raise(UInt32(POLLPRI))
  }

  @Test func whatIsNoTerminalSaysSo() throws {
    try withMount(FakeTree()) { path, _ in
      let file = unsafe open("\(path)/plain", O_RDONLY)
      defer { close(file) }
      #expect(isatty(file) == 0)
      #expect(errno == ENOTTY)
      #expect(fsync(file) == 0)
      #expect(failure(flock(file, LOCK_EX)) == 0)
    }
  }

  @Test func theFileSystemIsEmptyAndNamed() throws {
    try withMount(FakeTree()) { path, _ in
      var status = statvfs()
      #expect(unsafe statvfs(path, &status) == 0)
      #expect(status.f_blocks == 0 && status.f_bsize == 4096 && status.f_namemax == 255)
      let mounts = String(decoding: try #require(contents("/proc/self/mountinfo")), as: UTF8.self)
      let line = try #require(mounts.split(separator: "\n").first { $0.contains(" \(path) ") })
      #expect(line.contains(" - fuse.veridianfs veridianfs "))
    }
  }

  @Test(arguments: [1, 4]) func everyHandleIsReleasedOnce(threads: Int) throws {
    let tree = FakeTree()
    var leftOpen: Int32 = -1
    try withMount(tree, threads: threads) { path, _ in
      let clients = (0..<4).map { _ in
        PlainThread<Int> {
          (0..<200).count { _ in contents("\(path)/sizeless") == Array(FakeTree.text.utf8) }
        }
      }
      #expect(clients.map { $0.join() } == [200, 200, 200, 200])
      // One that is still open when the mount ends.
      leftOpen = unsafe open("\(path)/plain", O_RDONLY)
    }
    #expect(tree.record.opened == 801)
    #expect(tree.record.released == 801)
    close(leftOpen)
  }

  @Test(arguments: [1, 4]) func unmountingEndsServing(threads: Int) throws {
    let end = try withMount(FakeTree(), threads: threads) { path, _ in
      // A request first, since a mount may be asked away before it has begun.
      #expect(contents("\(path)/plain") != nil)
      #expect(unsafe umount2(path, 0) == 0)
    }
    #expect(end == nil)
  }

  @Test func stoppingBeforeServingEndsAtOnce() throws {
    let server = try FuseServer(tree: FakeTree(), mountpoint: "/nonexistent")
    server.stop()
    try server.serve()
  }

  @Test func aMountpointThatIsMissingIsSaid() throws {
    let server = try FuseServer(tree: FakeTree(), mountpoint: "/nonexistent/veridianfs")
    #expect(throws: Errno.noSuchFileOrDirectory) { try server.mount() }
  }

  @Test func readinessIsToldBeforeTheFirstAnswer() throws {
    let ready = Flag()
    try withMount(FakeTree(), whenReady: { ready.set() }) { path, _ in
      #expect(contents("\(path)/plain") != nil)
      #expect(ready.isSet)
    }
  }
}
