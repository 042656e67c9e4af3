internal import Commands
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#endif

/// What poll(2) says of a file on which nothing ever blocks (Linux's DEFAULT_POLLMASK).
private let alwaysReady = UInt32(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)

/// lseek(2)'s SEEK_HOLE, which the C library hides from those who do not ask for it; what else reaches a server is SEEK_DATA.
private let seekHole: Int32 = 4

/// What SEEK_DATA and SEEK_HOLE say of a file without holes (generic_file_llseek).
private func seekInPlainFile(_ offset: Int64, whence: Int32, size: Int64) throws(Errno) -> Int64 {
  guard offset >= 0, offset < size else { throw .noSuchAddressOrDevice }
  return whence == seekHole ? size : offset
}

/// An open text, attribute or action.
final class AttributeHandle: OpenFile, @unchecked Sendable {
  private let tree: MachineTree
  private let inode: Inode
  private let row: Row
  private let rules: FileSystemRules
  private let instance: Instance

  // Guarded by the machine's lock.
  /// What the last read at offset 0 rendered.
  private var text = TextBuffer(capacity: 16)
  private var isRendered = false
  /// The change of the file's content that this handle has seen.
  private var seen = 0

  init(tree: MachineTree, inode: Inode, row: Row, rules: FileSystemRules, instance: Instance) {
    self.tree = tree
    self.inode = inode
    self.row = row
    self.rules = rules
    self.instance = instance
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let machine = tree.machine
    machine.lock.lock()
    defer { machine.lock.unlock() }
    if offset == 0 || !isRendered {
      text.removeAll()
      switch row.content {
      case .text(let render), .attribute(let render, _): try render(machine, instance, &text)
      default: throw rules.notReadable
      }
      isRendered = true
      seen = tree.watches[inode]?.changes ?? 0
    }
    return unsafe text.copy(from: Int(offset), into: buffer)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let taken = min(bytes.count, rules.longestStore)
    do {
      let machine = tree.machine
      machine.lock.lock()
      defer { machine.lock.unlock() }
      switch row.content {
      case .attribute(_, let store), .action(let store):
        defer { machine.endLine() }
        unsafe try store(machine, instance, Array(bytes[..<taken]))
      default: throw rules.notWritable
      }
    }
    tree.wakePollers()
    return taken
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    try seekInPlainFile(offset, whence: whence, size: row.size ?? rules.fileSize)
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 {
    guard row.notify else { return alwaysReady }
    return tree.machine.withLock {
      let changes = tree.watch(inode, row, instance, for: ObjectIdentifier(self), waiter)
      return changes == seen ? alwaysReady : alwaysReady | UInt32(POLLERR | POLLPRI)
    }
  }

  func release() { if row.notify { tree.unwatch(inode, for: ObjectIdentifier(self)) } }
}

/// An open command file.
final class CommandFileHandle: OpenFile, @unchecked Sendable {
  private let tree: MachineTree
  private let handle: CommandHandle

  init(tree: MachineTree, handle: CommandHandle) {
    self.tree = tree
    self.handle = handle
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    unsafe handle.read(into: buffer, at: offset)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    defer { tree.wakePollers() }
    return unsafe try handle.write(bytes, at: offset)
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    try seekInPlainFile(offset, whence: whence, size: 0)
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 { alwaysReady }

  func release() {
    handle.release()
    tree.wakePollers()
  }
}

/// Open physical memory: the bytes at their addresses. What was never touched, and what is no memory, reads zero.
final class MemoryFileHandle: OpenFile, @unchecked Sendable {
  private let machine: Machine

  init(machine: Machine) { self.machine = machine }

  private var size: Int64 { Int64(machine.memory.bytes.size.rawValue) }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    guard offset >= 0, offset < size else { return 0 }
    let length = min(Int64(buffer.count), size - offset)
    machine.withLock {
      unsafe machine.memory.bytes.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(length)]), at: PhysicalAddress(UInt64(offset)))
    }
    return Int(length)
  }

  /// A write that runs into a place without memory ends there; one that begins at such a place is ENXIO.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    guard offset >= 0, offset < size else { throw .noSuchAddressOrDevice }
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let start = PhysicalAddress(UInt64(offset))
    do throws(MemoryError) {
      unsafe try machine.memory.bytes.write(bytes, at: start)
      return bytes.count
    } catch {
      guard case .noMemoryAt(let hole) = error, hole > start else { throw Errno(error) }
      let count = Int(hole.rawValue - start.rawValue)
      do throws(MemoryError) {
        unsafe try machine.memory.bytes.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: start)
      } catch { throw Errno(error) }
      return count
    }
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    guard offset >= 0, offset < size else { throw .noSuchAddressOrDevice }
    let start = PhysicalAddress(UInt64(offset))
    return try machine.withLock { () throws(Errno) in
      if whence == seekHole { return Int64(machine.memory.bytes.nextHole(from: start).rawValue) }
      guard let data = machine.memory.bytes.nextData(from: start) else { throw Errno.noSuchAddressOrDevice }
      return Int64(data.rawValue)
    }
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 { alwaysReady }
  func release() {}
}
