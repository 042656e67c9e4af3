import FileTree
import Glibc
import Machine
import MemoryTypes
import SystemPackage
import Testing
import Topology
import Translation

/// How files behave at the system calls, as measured on Linux 6.1.
@Suite struct RuleTests {
  private let pool = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
  private let meminfo = "sys/devices/system/node/node1/meminfo"

  private func refusal(_ served: Served, _ operation: NameOperation, in path: String) throws -> Errno {
    let parent = try served.attributes(path).inode
    var name = "new"
    return name.withUTF8 { bytes in
      // SAFETY: the name is read while the string is held.
      unsafe served.tree.refusal(of: operation, UnsafeRawBufferPointer(bytes), in: parent)
    }
  }

  @Test func refusesToChangeNames() throws {
    let served = try Served()
    for path in ["sys/devices/system/node", "sys/kernel/debug"] {
      #expect(try refusal(served, .create, in: path) == .permissionDenied, "\(path)")
      for operation: NameOperation in [.unlink, .makeDirectory, .rename, .link, .symlink, .removeDirectory, .makeNode] {
        #expect(try refusal(served, operation, in: path) == .notPermitted, "\(path) \(operation)")
      }
    }
    for operation: NameOperation in [.create, .makeDirectory, .rename, .link, .symlink, .makeNode] {
      #expect(try refusal(served, operation, in: "proc") == .noSuchFileOrDirectory, "\(operation)")
    }
  }

  @Test func keepsASnapshotFromEachReadAtTheStart() throws {
    let served = try Served()
    let whole = try served.text(meminfo)
    let file = try served.open(meminfo)
    let other = try served.open(meminfo)
    let head = try file.read(40, at: 0)
    _ = try served.command("alloc order=10 node=1")
    let tail = try file.text(from: 40)
    #expect(String(decoding: head, as: UTF8.self) + tail == whole, "partial reads agree")
    let now = try served.text(meminfo)
    #expect(now != whole)
    #expect(try other.text() == now, "each handle has its own")
    #expect(try file.text() == now, "a read at 0 begins anew")
  }

  @Test func ignoresTheOffsetOfAWriteAndTruncation() throws {
    let served = try Served()
    let file = try served.open(pool, O_WRONLY | O_TRUNC)
    #expect(try served.text(pool) == "0\n", "O_TRUNC is without effect")
    #expect(try file.write("3\n", at: 0) == 2)
    #expect(try file.write("5\n", at: 2) == 2, "two writes on one handle are two stores")
    #expect(try served.text(pool) == "5\n")
    #expect(try file.write("4\n", at: 4096) == 2, "O_APPEND arrives as an offset")
    #expect(try served.text(pool) == "4\n")
    var change = AttributeChange()
    change.size = 0
    let inode = try served.attributes(pool).inode
    #expect(try served.tree.change(change, of: inode, uid: 0).size == 4096, "truncate is accepted, without effect")
    change.size = 1 << 40
    #expect(try served.tree.change(change, of: inode, uid: 0).size == 4096)
    #expect(try served.text(pool) == "4\n")
  }

  @Test func takesAPageOfAnAttributeAtMost() throws {
    let served = try Served()
    let zeros = String(repeating: "0", count: 5000)
    #expect(try served.write(zeros, to: pool) == 4096, "a short write")
    #expect(try served.write(String(zeros.prefix(4094)) + "2\n" + "rubbish", to: pool) == 4096)
    #expect(try served.text(pool) == "2\n")
    // Command files take any length.
    #expect(try served.command(String(repeating: "\n", count: 100_000) + "check").hasPrefix("no difference, state "))
  }

  @Test func tellsMalformedFromTooLarge() throws {
    let served = try Served()
    func errno(_ text: String) -> Errno? { failure { () throws(Errno) in try served.write(text, to: pool) } }
    for text in ["", "\n", "x", "1x", "-1", " 1", "1 ", "1\n\n", "0x10", "1\u{0}", "++1", "1.0"] {
      if text.isEmpty { continue }
      #expect(errno(text) == .invalidArgument, "\(text.debugDescription)")
    }
    for text in ["18446744073709551616", "99999999999999999999999\n"] { #expect(errno(text) == .outOfRange, "\(text)") }
    #expect(try served.text(pool) == "0\n")
    for text in ["1", "1\n", "+1", "01\n", "0001"] {
      #expect(errno(text) == nil)
      #expect(try served.text(pool) == "1\n", "\(text.debugDescription)")
      try served.write("0", to: pool)
    }
  }

  @Test func obeysModesThatChmodSets() throws {
    let served = try Served()
    let inode = try served.attributes(meminfo).inode
    func open(uid: UInt32) -> Errno? {
      failure { () throws(Errno) in try served.tree.open(inode, flags: O_RDONLY, uid: uid) }
    }
    #expect(open(uid: 1000) == nil)
    var change = AttributeChange()
    change.permissions = 0o400
    #expect(failure { () throws(Errno) in try served.tree.change(change, of: inode, uid: 1000) } == .notPermitted)
    #expect(try served.tree.change(change, of: inode, uid: 0).permissions == 0o400)
    #expect(open(uid: 1000) == .permissionDenied)
    #expect(open(uid: 0) == nil)
    change.permissions = nil
    change.owner = 1000
    #expect(try served.tree.change(change, of: inode, uid: 0).owner == 1000)
    #expect(open(uid: 1000) == nil)
    change.permissions = 0o644
    _ = try served.tree.change(change, of: inode, uid: 0)
    let writing = failure { () throws(Errno) in try served.tree.open(inode, flags: O_WRONLY, uid: 0) }
    #expect(writing == .permissionDenied, "there is nothing to write to, whatever the mode says")
  }

  @Test func grantsWhatAccessAsksFor() throws {
    let served = try Served()
    func access(_ path: String, _ mask: Int32, _ uid: UInt32) throws -> Errno? {
      served.tree.refusal(ofAccess: mask, to: try served.attributes(path).inode, uid: uid)
    }
    #expect(try access(meminfo, R_OK, 1000) == nil)
    #expect(try access(meminfo, W_OK, 1000) == .permissionDenied)
    #expect(try access(meminfo, X_OK, 0) == .permissionDenied)
    #expect(try access("sys/kernel/debug", X_OK, 1000) == .permissionDenied)
    #expect(try access("sys/kernel/debug", R_OK | X_OK, 0) == nil)
    #expect(try access("sys/devices/system/node/node1/compact", R_OK, 1000) == .permissionDenied)
    #expect(try access("proc", X_OK, 1000) == nil)
  }

  // MARK: Physical memory

  @Test func readsAndWritesTheBytesOfMemory() throws {
    let served = try Served()
    let memory = try served.open("dev/mem", O_RDWR)
    #expect(try served.attributes("dev/mem").size == 5 << 30)
    let address = Int64(try #require(UInt64(served.command("alloc node=3").dropFirst(2).dropLast(), radix: 16)))
    #expect(try memory.write(Array("hello".utf8), at: address + 10) == 5)
    #expect(try memory.read(7, at: address + 9) == [0] + Array("hello".utf8) + [0])
    // What the kernel keeps there can be seen: the entry of process 1's page.
    let walk = try served.command("dump_pt 0x1000").lines[3].split(separator: " ")
    let entry = UInt64(walk[6].dropFirst(2), radix: 16)!
    let bytes = try memory.read(8, at: Int64(UInt64(walk[2].dropFirst(2), radix: 16)! << 12 + 8))
    #expect(bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } == entry)
    #expect(try memory.read(10, at: 5 << 30) == [])
    #expect(try memory.read(100, at: 5 << 30 - 10).count == 10)
    #expect(try memory.read(16, at: 0xD000_0000) == [UInt8](repeating: 0, count: 16), "what is no memory reads zero")
  }

  @Test func refusesToWriteWhereThereIsNoMemory() throws {
    let served = try Served()
    let memory = try served.open("dev/mem", O_RDWR)
    for address: Int64 in [0xD000_0000, 5 << 30, 1 << 45] {
      #expect(failure { () throws(Errno) in try memory.write([1, 2, 3], at: address) } == .noSuchAddressOrDevice)
    }
    #expect(try memory.write([UInt8](repeating: 7, count: 100), at: 5 << 30 - 40) == 40, "up to where memory ends")
  }

  @Test func refusesToWriteOverPageTables() throws {
    let served = try Served()
    let memory = try served.open("dev/mem", O_RDWR)
    let root = Int64(served.machine.withLock { served.machine.kernelTable.rootFrame.rawValue } << 12)
    for address in [root, root + 4095] {
      #expect(failure { () throws(Errno) in try memory.write([1], at: address) } == .notPermitted)
    }
    #expect(try memory.write([], at: root) == 0)
    #expect(try memory.write([UInt8](repeating: 7, count: 100), at: root - 40) == 40, "up to where the table begins")
  }

  @Test(.enabled(if: !isSanitized, "a sanitizer leaves no room for 16 TiB")) func showsWhatWasNeverTouchedAsHoles()
    throws
  {
    let (data, hole): (Int32, Int32) = (3, 4)
    let served = try Served(.tera)
    let memory = try served.open("dev/mem", O_RDWR)
    let size = try served.attributes("dev/mem").size
    #expect(size == 16 << 40)
    _ = try memory.write([1], at: 7 << 40)
    var ranges: [Range<Int64>] = []
    var position: Int64 = 0
    while let start = try? memory.seek(position, whence: data) {
      let end = try memory.seek(start, whence: hole)
      #expect(end > start)
      ranges.append(start..<end)
      if end >= size { break }
      position = end
    }
    #expect(ranges.contains { $0.contains(7 << 40) })
    #expect(ranges.reduce(0) { $0 + $1.count } < 256 << 20, "little of 16 TiB is data")
    #expect(failure { () throws(Errno) in try memory.seek(size, whence: hole) } == .noSuchAddressOrDevice)
    #expect(
      failure { () throws(Errno) in try memory.seek(9 << 40, whence: data) } == nil || ranges.last!.upperBound < 9 << 40
    )
  }

  // MARK: poll

  private final class Waiter: PollWaiter, @unchecked Sendable {
    var woken = 0
    func wake() { woken += 1 }
  }

  @Test func wakesPollersWhenWhatTheyReadChanges() throws {
    let served = try Served()
    let changed = UInt32(POLLERR | POLLPRI)
    let file = try served.open(pool)
    _ = try file.text()
    let waiter = Waiter()
    #expect(file.poll(waiter) & changed == 0)
    try served.write("0\n", to: pool)
    #expect(waiter.woken == 0, "it is as it was")
    try served.write("2\n", to: pool)
    #expect(waiter.woken == 1)
    #expect(file.poll(nil) & changed == changed)
    #expect(try file.text() == "2\n")
    #expect(file.poll(waiter) & changed == 0, "seen")
    _ = try served.command("reset")
    #expect(waiter.woken == 2, "however it came about")
    file.release()
    let plain = try served.open(meminfo)
    #expect(plain.poll(Waiter()) & changed == 0 && plain.poll(nil) & UInt32(POLLIN) != 0)
  }
}
