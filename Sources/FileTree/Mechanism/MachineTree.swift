public import Commands
public import Machine
internal import MemoryTypes
internal import PhysicalMemory
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#endif

/// The machine's files: the table, served.
public final class MachineTree: ServedTree, LineObserver, @unchecked Sendable {
  let machine: Machine
  let trie: Trie
  private let commands: CommandFile
  /// Who mounts the tree and so owns its entries.
  private let mountingUser = geteuid()

  // Guarded by the machine's lock.
  /// What chmod(2) and chown(2) have changed.
  private var overrides: [Inode: Override] = [:]
  /// The files that somebody has polled and that wake pollers.
  var watches: [Inode: Watch] = [:]
  /// What the handle that was released last has rendered into.
  private var spareText: SpareText?

  private struct Override {
    var permissions: UInt16?
    var owner: UInt32?
    var group: UInt32?
  }

  public init(machine: Machine) {
    self.machine = machine
    trie = Trie(rows: Table.rows, placeholders: Table.placeholders)
    commands = CommandFile(machine: machine)
  }

  deinit { spareText?.discard() }

  // MARK: Names

  public func lookup(_ name: UnsafeRawBufferPointer, in parent: Inode) throws(Errno) -> FileAttributes {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let (index, instance) = try resolve(parent)
    guard trie.entries[index].isDirectory else { throw .notDirectory }
    guard let found = unsafe trie.lookup(name, below: index, instance, machine) else { throw .noSuchFileOrDirectory }
    return attributes(found.index, found.instance)
  }

  public func entries(of directory: Inode) throws(Errno) -> [DirectoryEntry] {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let (index, instance) = try resolve(directory)
    guard trie.entries[index].isDirectory else { throw .notDirectory }
    var result: [DirectoryEntry] = []
    forEachChild(of: index, instance) { child, childInstance, value in
      result.append(
        DirectoryEntry(
          name: trie.entries[child].name(value), inode: Inode(entry: child, childInstance),
          kind: kind(trie.entries[child])))
    }
    return result
  }

  public func target(ofLink inode: Inode) throws(Errno) -> String {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let (index, instance) = try resolve(inode)
    guard case .link(let target)? = trie.entries[index].row?.content else { throw .invalidArgument }
    return target(instance)
  }

  public func refusal(of operation: NameOperation, _ name: UnsafeRawBufferPointer, in parent: Inode) -> Errno {
    guard parent.entry < trie.entries.count else { return .noSuchFileOrDirectory }
    return trie.entries[parent.entry].rules.refusal(of: operation)
  }

  /// From the mount's root, of an inode that there is.
  func path(of inode: Inode) -> String {
    var names: [String] = []
    var position = inode.entry
    while position != 0 {
      let entry = trie.entries[position]
      names.append(entry.name(entry.depth == 1 ? inode.instance.outer : inode.instance.inner))
      position = entry.parent
    }
    return names.reversed().joined(separator: "/")
  }

  /// The entry and instance that an inode number stands for; ENOENT where the machine has none such (any more).
  private func resolve(_ inode: Inode) throws(Errno) -> (index: Int, instance: Instance) {
    let index = inode.entry
    let instance = inode.instance
    guard index < trie.entries.count else { throw .noSuchFileOrDirectory }
    var position = trie.entries[index].mayChange ? index : 0
    while position != 0 {
      let entry = trie.entries[position]
      if let placeholder = entry.placeholder {
        let value = entry.depth == 1 ? instance.outer : instance.inner
        // The values of other entries cannot change: only those that can are asked for again.
        if placeholder.changes, !placeholder.contains(machine, instance, value) { throw .noSuchFileOrDirectory }
      }
      position = entry.parent
    }
    return (index, instance)
  }

  private func forEachChild(of index: Int, _ instance: Instance, _ body: (Int, Instance, Int) -> Void) {
    for child in trie.entries[index].children {
      let entry = trie.entries[child]
      for value in entry.placeholder?.values(machine, instance) ?? [0] {
        let childInstance = trie.instance(of: entry, below: instance, value)
        if entry.exists(machine, childInstance) { body(child, childInstance, value) }
      }
    }
  }

  // MARK: Attributes

  public func attributes(of inode: Inode) throws(Errno) -> FileAttributes {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let (index, instance) = try resolve(inode)
    return attributes(index, instance)
  }

  public func change(_ change: AttributeChange, of inode: Inode, uid: UInt32) throws(Errno) -> FileAttributes {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let (index, instance) = try resolve(inode)
    let entry = trie.entries[index]
    if change.permissions != nil || change.owner != nil || change.group != nil {
      if let refusal = entry.rules.modeChange { throw refusal }
      guard uid == 0 || uid == owner(of: inode) else { throw .notPermitted }
      var override = overrides[inode] ?? Override()
      override.permissions = change.permissions ?? override.permissions
      override.owner = change.owner ?? override.owner
      override.group = change.group ?? override.group
      overrides[inode] = override
    }
    // A new size is accepted, and nothing comes of it: simple_setattr and kernfs_iop_setattr alike.
    return attributes(index, instance)
  }

  private func owner(of inode: Inode) -> UInt32 { overrides[inode]?.owner ?? mountingUser }

  private func kind(_ entry: Trie.Entry) -> FileAttributes.Kind {
    switch entry.row?.content {
    case nil, .directory: .directory
    case .link: .link
    default: .file
    }
  }

  private func attributes(_ index: Int, _ instance: Instance) -> FileAttributes {
    let entry = trie.entries[index]
    let inode = Inode(entry: index, instance)
    let override = overrides[inode]
    var size: Int64 = 0
    var links: UInt32 = 1
    var mode = entry.mode
    switch entry.row?.content {
    case nil, .directory:
      links = 2
      forEachChild(of: index, instance) { child, _, _ in if trie.entries[child].isDirectory { links += 1 } }
    case .link: mode = 0o777
    case .memory: size = Int64(machine.bytes.size.rawValue)
    default: size = entry.row?.size ?? entry.rules.fileSize
    }
    return FileAttributes(
      inode: inode, kind: kind(entry), permissions: override?.permissions ?? mode, size: size, links: links,
      owner: override?.owner, group: override?.group,
      lifetime: entry.mayChange || entry.attributesChange ? 0 : .infinity,
      nameLifetime: entry.mayChange ? 0 : .infinity)
  }

  // MARK: Handles

  /// A text for a handle to render into. The caller holds the machine.
  func takeText() -> SpareText {
    guard let text = spareText else { return SpareText() }
    spareText = nil
    return text
  }

  /// A text that its handle needs no more. The caller holds the machine.
  func give(back text: SpareText) {
    if spareText == nil, unsafe text.buffer.pointee.room <= SpareText.kept { spareText = text } else { text.discard() }
  }

  public func refusal(ofAccess mask: Int32, to inode: Inode, uid: UInt32) -> Errno? {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    guard let (index, _) = try? resolve(inode) else { return .noSuchFileOrDirectory }
    let entry = trie.entries[index]
    let mode = overrides[inode]?.permissions ?? entry.mode
    if case .link? = entry.row?.content { return nil }
    if uid == 0, entry.rules.modeCheck != .everybodyOwnBits || entry.isDirectory {
      // Root may do all but execute what nobody may.
      return mask & X_OK != 0 && mode & 0o111 == 0 ? .permissionDenied : nil
    }
    let granted = Int32(classBits(mode, inode, uid))
    return mask & ~granted & 7 == 0 ? nil : .permissionDenied
  }

  private func classBits(_ mode: UInt16, _ inode: Inode, _ uid: UInt32) -> UInt16 {
    uid == 0 || uid == owner(of: inode) ? mode >> 6 & 7 : mode & 7
  }

  public func open(_ inode: Inode, flags: Int32, uid: UInt32) throws(Errno) -> any OpenFile {
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let entry = trie.entries[try resolve(inode).index]
    try checkMode(inode, entry, flags: flags, uid: uid)
    let reads = flags & O_ACCMODE != O_WRONLY
    let writes = flags & O_ACCMODE != O_RDONLY
    guard let row = entry.row else { throw .isDirectory }
    let isPrivileged = uid == 0 || uid == mountingUser
    if row.opensToTracersOnly, !isPrivileged { throw .permissionDenied }
    switch row.content {
    case .directory: throw .isDirectory
    case .link: throw .tooManySymbolicLinkLevels
    case .command:
      return commands.open(reads: reads, writes: writes, appends: flags & O_APPEND != 0, observer: self)
    case .memory: return MemoryFileHandle(machine: machine)
    case .bytes(let reading, let writing):
      return BytesHandle(tree: self, inode: inode, entry: entry, reading: reading, writing: writing)
    case .text, .attribute, .action, .number, .guarded:
      return AttributeHandle(tree: self, inode: inode, entry: entry, row: row, isPrivileged: isPrivileged)
    }
  }

  private func checkMode(_ inode: Inode, _ entry: Trie.Entry, flags: Int32, uid: UInt32) throws(Errno) {
    var wanted: UInt16 = 0
    if flags & O_ACCMODE != O_WRONLY { wanted |= 4 }
    if flags & O_ACCMODE != O_RDONLY { wanted |= 2 }
    let mode = overrides.isEmpty ? entry.mode : overrides[inode]?.permissions ?? entry.mode
    let own = classBits(mode, inode, uid)
    switch entry.rules.modeCheck {
    case .everybodyAnyBit:
      let any = mode >> 6 & 7 | mode >> 3 & 7 | mode & 7
      if wanted & ~any != 0 || (uid != 0 && wanted & ~own != 0) || !entry.serves(wanted) { throw .permissionDenied }
    case .everybodyOwnBits: if wanted & ~own != 0 { throw .permissionDenied }
    case .everybodyButRoot: if uid != 0 && wanted & ~own != 0 { throw .permissionDenied }
    }
  }
}

extension Trie.Entry {
  /// Whether there is something to read (4) and something to write to (2), whatever the mode says: kernfs asks for both.
  func serves(_ wanted: UInt16) -> Bool {
    switch row?.content {
    case .text, .guarded: wanted & 2 == 0
    case .action: wanted & 4 == 0
    default: true
    }
  }
}
