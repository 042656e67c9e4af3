public import Commands
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
public import SystemPackage

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

/// What a file told of when it was opened. The number in its path may come to stand for another, which is none of its readers' business.
struct OpenSubject {
  private let find: @Sendable (Machine, Int) -> AnyObject?
  private let number: Int
  /// Weak: whoever has a process's file open does not keep its machine from ending.
  private weak var subject: AnyObject?

  /// Nil where the number in an entry's path always stands for the same. The caller holds the machine.
  init?(_ entry: Trie.Entry, _ instance: Instance, _ machine: Machine) {
    guard let find = entry.subject else { return nil }
    self.find = find
    number = instance.outer
    subject = find(machine, number)
  }

  /// The caller holds the machine.
  func isThere(_ machine: Machine) -> Bool {
    guard let subject else { return false }
    return find(machine, number) === subject
  }
}

/// An open text, attribute or action.
final class AttributeHandle: OpenFile, @unchecked Sendable {
  private let tree: MachineTree
  private let inode: Inode
  private let entry: Trie.Entry
  private let row: Row
  /// Whoever opened the file is root, or has mounted the tree.
  private let isPrivileged: Bool
  private let subject: OpenSubject?

  // Guarded by the machine's lock.
  /// What the last read at offset 0 rendered; nil before the first.
  private var text: SpareText?
  /// The change of the file's content that this handle has seen.
  private var seen = 0

  /// The caller holds the machine.
  init(tree: MachineTree, inode: Inode, entry: Trie.Entry, row: Row, isPrivileged: Bool) {
    self.tree = tree
    self.inode = inode
    self.entry = entry
    self.row = row
    self.isPrivileged = isPrivileged
    subject = OpenSubject(entry, inode.instance, tree.machine)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let machine = tree.machine
    machine.lock.lock()
    defer { machine.lock.unlock() }
    if offset != 0, case .number = row.content { return 0 }
    if let text, offset != 0 { return unsafe text.buffer.pointee.copy(from: Int(offset), into: buffer) }
    let fresh = text ?? tree.takeText()
    // Where rendering fails there is no text, whatever there was before.
    text = nil
    unsafe fresh.buffer.pointee.removeAll()
    do throws(Errno) {
      try checkSubject()
      switch row.content {
      case .text(let render), .attribute(let render, _), .number(let render, _):
        unsafe try render(machine, inode.instance, &fresh.buffer.pointee)
      case .guarded(let render):
        unsafe try render(machine, inode.instance, isPrivileged, &fresh.buffer.pointee)
      default: throw entry.rules.notReadable
      }
    } catch {
      tree.give(back: fresh)
      throw error
    }
    text = fresh
    if row.notify { seen = tree.changes(of: inode) }
    return unsafe fresh.buffer.pointee.copy(from: Int(offset), into: buffer)
  }

  /// ESRCH where the process has ended that the file is of, as `get_proc_task` finds none.
  private func checkSubject() throws(Errno) {
    if let subject, !subject.isThere(tree.machine) { throw .noSuchProcess }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    var taken = min(bytes.count, row.longestStore ?? entry.rules.longestStore)
    do {
      let machine = tree.machine
      machine.lock.lock()
      defer { machine.lock.unlock() }
      try checkSubject()
      switch row.content {
      case .attribute(_, let store), .action(let store):
        defer { machine.endLine() }
        if machine.keepsPageOwners { machine.putDown(to: tree.path(of: inode)) }
        unsafe try store(machine, inode.instance, Array(bytes[..<taken]))
      case .number(_, let store):
        defer { machine.endLine() }
        // Elsewhere than at the beginning nothing is stored, and nobody is told.
        if offset == 0, taken > 0 { taken = unsafe try store(machine, Array(bytes[..<taken])) }
      default: throw entry.rules.notWritable
      }
    }
    tree.wakePollers()
    return taken
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    try seekInPlainFile(offset, whence: whence, size: row.size ?? entry.rules.fileSize)
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 {
    guard row.notify else { return alwaysReady }
    return tree.machine.withLock {
      let changes = tree.watch(inode, row, inode.instance, for: ObjectIdentifier(self), waiter)
      return changes == seen ? alwaysReady : alwaysReady | UInt32(POLLERR | POLLPRI)
    }
  }

  func release() {
    tree.machine.withLock {
      if let text { tree.give(back: text) }
      text = nil
    }
    if row.notify { tree.unwatch(inode, for: ObjectIdentifier(self)) }
  }

  deinit { text?.discard() }
}

/// A buffer that handles pass on to each other: a text's memory is then at hand, and warm. Used under the machine's lock.
@safe struct SpareText {
  /// Initialised, and its owner's alone.
  let buffer: UnsafeMutablePointer<TextBuffer>

  init() {
    unsafe buffer = .allocate(capacity: 1)
    unsafe buffer.initialize(to: TextBuffer())
  }

  /// The end of it.
  func discard() {
    unsafe buffer.deinitialize(count: 1)
    unsafe buffer.deallocate()
  }

  /// What is kept for the next: larger ones are given back to the host.
  static let kept = 1 << 16
}

/// The command file's handles are the commands' own.
extension CommandHandle: OpenFile {
  public func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    try seekInPlainFile(offset, whence: whence, size: 0)
  }

  public func poll(_ waiter: (any PollWaiter)?) -> UInt32 { alwaysReady }
}

/// An open file of bytes that are looked up where they are read. Of a process that has ended nothing is left.
final class BytesHandle: OpenFile, @unchecked Sendable {
  private let tree: MachineTree
  private let inode: Inode
  private let entry: Trie.Entry
  private let reading: Row.ReadBytes
  private let writing: Row.WriteBytes?
  private let subject: OpenSubject?

  /// The caller holds the machine.
  init(
    tree: MachineTree, inode: Inode, entry: Trie.Entry, reading: @escaping Row.ReadBytes, writing: Row.WriteBytes?
  ) {
    self.tree = tree
    self.inode = inode
    self.entry = entry
    self.reading = reading
    self.writing = writing
    subject = OpenSubject(entry, inode.instance, tree.machine)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let bytes = try carryOut(else: []) { (machine) throws(Errno) in
      try reading(machine, inode.instance, UInt64(bitPattern: offset), buffer.count)
    }
    unsafe buffer.copyBytes(from: bytes)
    return bytes.count
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    guard let writing else { throw entry.rules.notWritable }
    let bytes = unsafe Array(bytes)
    return try carryOut(else: 0) { (machine) throws(Errno) in
      try writing(machine, inode.instance, UInt64(bitPattern: offset), bytes)
    }
  }

  /// Reading may change the machine as well: it takes faults.
  private func carryOut<Result>(
    else nothing: Result, _ body: (Machine) throws(Errno) -> Result
  ) throws(Errno) -> Result {
    defer { tree.wakePollers() }
    let machine = tree.machine
    machine.lock.lock()
    defer { machine.lock.unlock() }
    if let subject, !subject.isThere(machine) { return nothing }
    defer { machine.endLine() }
    if machine.keepsPageOwners { machine.putDown(to: tree.path(of: inode)) }
    return try body(machine)
  }

  /// There is no telling data from holes (`mem_lseek`).
  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 { throw .invalidArgument }
  func poll(_ waiter: (any PollWaiter)?) -> UInt32 { alwaysReady }
  func release() {}
}

/// Open physical memory: the bytes at their addresses. What was never touched, and what is no memory, reads zero.
final class MemoryFileHandle: OpenFile, @unchecked Sendable {
  private let machine: Machine

  init(machine: Machine) { self.machine = machine }

  private var size: Int64 { Int64(machine.bytes.size.rawValue) }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    guard offset >= 0, offset < size else { return 0 }
    let length = min(Int64(buffer.count), size - offset)
    machine.withLock {
      unsafe machine.bytes.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(length)]), at: PhysicalAddress(UInt64(offset)))
    }
    return Int(length)
  }

  /// A write that runs into a page table or a place without memory ends there; one that begins in a page table is EPERM (as Linux's
  /// STRICT_DEVMEM has it of all of memory), one where there is no memory ENXIO.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    guard offset >= 0, offset < size else { throw .noSuchAddressOrDevice }
    if unsafe bytes.isEmpty { return 0 }
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let start = PhysicalAddress(UInt64(offset))
    let frameSize = machine.memory.frameSize
    let (first, last) = (frameSize.frame(of: start), frameSize.frame(of: start + ByteCount(UInt64(bytes.count - 1))))
    var count = bytes.count
    let frames = FrameRange(start: first, count: FrameCount(last.rawValue - first.rawValue + 1))
    if let table = machine.firstPageTable(in: frames) {
      guard frameSize.address(of: table) > start else { throw .notPermitted }
      count = Int(frameSize.address(of: table).rawValue - start.rawValue)
    }
    do throws(MemoryError) {
      unsafe try machine.bytes.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: start)
      return count
    } catch {
      guard case .noMemoryAt(let hole) = error, hole > start else { throw Errno(error) }
      count = Int(hole.rawValue - start.rawValue)
      do throws(MemoryError) {
        unsafe try machine.bytes.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: start)
      } catch { throw Errno(error) }
      return count
    }
  }

  func seek(_ offset: Int64, whence: Int32) throws(Errno) -> Int64 {
    guard offset >= 0, offset < size else { throw .noSuchAddressOrDevice }
    let start = PhysicalAddress(UInt64(offset))
    return try machine.withLock { () throws(Errno) in
      if whence == seekHole { return Int64(machine.bytes.nextHole(from: start).rawValue) }
      guard let data = machine.bytes.nextData(from: start) else { throw Errno.noSuchAddressOrDevice }
      return Int64(data.rawValue)
    }
  }

  func poll(_ waiter: (any PollWaiter)?) -> UInt32 { alwaysReady }
  func release() {}
}
