import FileTree
import Glibc
import Machine
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// What holds for every entry of every machine, whatever its row.
@Suite struct EveryEntryTests {
  static let presets: [Preset] =
    [
      .fourNode, .hmat, .cxl, .i386HighMemory, .aarch64, .riscv64, .laptop, .dualSocket, .eightSocket,
    ] + (isSanitized ? [] : [.tera])

  private static func isProc(_ path: String) -> Bool { path.hasPrefix("proc") }
  /// Numbers of /proc/sys are read and written at their beginning alone, and root is held to their mode.
  private static func isSysctl(_ path: String) -> Bool { path.hasPrefix("proc/sys/") }
  private static func isDebug(_ path: String) -> Bool { path.hasPrefix("sys/kernel/debug") }
  private static func isSys(_ path: String) -> Bool { path.hasPrefix("sys") && !isDebug(path) }
  private static func isProcess(_ path: String) -> Bool { path.numbersFolded.hasPrefix("proc/N/") }
  /// Command file, memory, and what is read in binary: not text that is rendered.
  private static func isSpecial(_ path: String) -> Bool {
    path == "sys/kernel/debug/memory" || path == "dev/mem"
      || isProcess(path) && ["/mem", "/pagemap", "/cmdline"].contains(where: path.hasSuffix)
  }

  @Test(arguments: presets)
  func canBeLookedUpAndStatted(preset: Preset) throws {
    let served = try Served(preset)
    var inodes: Set<Inode> = [.root]
    try served.walk { entry in
      let attributes = entry.attributes
      #expect(attributes.inode == entry.listed.inode && attributes.kind == entry.listed.kind, "\(entry.path)")
      #expect(inodes.insert(attributes.inode).inserted, "\(entry.path) has another's inode number")
      let again = try served.tree.attributes(of: attributes.inode)
      #expect(
        again.inode == attributes.inode && again.kind == attributes.kind && again.size == attributes.size
          && again.permissions == attributes.permissions && again.links == attributes.links, "\(entry.path)")
      #expect(attributes.owner == nil && attributes.group == nil, "\(entry.path) belongs to who mounted the tree")
      switch attributes.kind {
      case .directory:
        let listed = try served.tree.entries(of: attributes.inode)
        let directories = listed.filter { $0.kind == .directory }.count
        #expect(attributes.size == 0 && attributes.links == 2 + UInt32(directories), "\(entry.path)")
        #expect(Set(listed.map(\.name)).count == listed.count, "\(entry.path) lists a name twice")
        #expect(Set(listed.map(\.inode)).count == listed.count, "\(entry.path) lists an inode twice")
        #expect(attributes.permissions & 0o500 == 0o500, "\(entry.path)")
      case .link: #expect(attributes.permissions == 0o777 && attributes.links == 1, "\(entry.path)")
      case .file:
        #expect(attributes.links == 1 && attributes.permissions & 0o111 == 0, "\(entry.path)")
        if Self.isProc(entry.path) || Self.isDebug(entry.path) { #expect(attributes.size == 0, "\(entry.path)") }
        if Self.isSys(entry.path) {
          let isList =
            entry.path.hasSuffix("cpulist") || entry.path.contains("/topology/") && entry.path.hasSuffix("_list")
          #expect(attributes.size == (isList ? 28672 : 4096), "\(entry.path)")
        }
      }
    }
    #expect(inodes.count > 200)
  }

  @Test(arguments: presets)
  func hasALinkTargetInsideTheTree(preset: Preset) throws {
    let served = try Served(preset)
    var links = 0
    try served.walk { entry in
      guard entry.attributes.kind == .link else {
        #expect(
          failure { () throws(Errno) in try served.tree.target(ofLink: entry.attributes.inode) } == .invalidArgument)
        return
      }
      links += 1
      let target = try served.tree.target(ofLink: entry.attributes.inode)
      #expect(!target.hasPrefix("/"), "\(entry.path)")
      var path = entry.path.split(separator: "/").dropLast()
      for part in target.split(separator: "/") {
        if part == ".." {
          #expect(path.popLast() != nil, "\(entry.path) -> \(target) leads above the mount")
        } else {
          path.append(part)
        }
      }
      let end = failure { () throws(Errno) in try served.attributes(path.joined(separator: "/")) }
      #expect(end == nil, "\(entry.path) -> \(target)")
      #expect(
        failure { () throws(Errno) in try served.tree.open(entry.attributes.inode, flags: O_RDONLY, uid: 0) }
          == .tooManySymbolicLinkLevels)
    }
    #expect(links > 10)
  }

  @Test(arguments: presets)
  func readsTheSameWholeAndInPieces(preset: Preset) throws {
    let served = try Served(preset)
    var files = 0
    try served.walk(most: 3) { entry in
      guard entry.attributes.kind == .file, !Self.isSpecial(entry.path), entry.attributes.permissions & 0o444 != 0
      else { return }
      files += 1
      let file = try served.tree.open(entry.attributes.inode, flags: O_RDONLY, uid: 0)
      defer { file.release() }
      if entry.path.hasSuffix("power/autosuspend_delay_ms") {
        #expect(failure { () throws(Errno) in try file.read(1, at: 0) } == .ioError)
        return
      }
      let whole = try file.text()
      #expect(try file.text() == whole, "\(entry.path)")
      if !Self.isSysctl(entry.path) {
        #expect(try file.text(pieces: 7) == whole, "\(entry.path)")
        if files % 8 == 0 { #expect(try file.text(pieces: 1) == whole, "\(entry.path)") }
      }
      let end = Int64(whole.utf8.count)
      #expect(try file.read(100, at: end) == [] && file.read(100, at: end + 1) == [], "\(entry.path)")
      #expect(try file.read(100, at: Int64.max - 200) == [], "\(entry.path)")
      #expect(whole.isEmpty || whole.hasSuffix("\n"), "\(entry.path): \(whole)")
      #expect(whole.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 == 0x0A || $0 == 0x09 }, "\(entry.path)")
      #expect(try served.text(entry.path) == whole, "\(entry.path): another handle reads the same")
    }
    #expect(files > 100)
  }

  @Test(arguments: presets)
  func refusesForbiddenDirections(preset: Preset) throws {
    let served = try Served(preset)
    try served.walk(most: 2) { entry in
      guard entry.attributes.kind == .file, entry.path != "dev/mem" else {
        if entry.attributes.kind == .directory {
          #expect(
            failure { () throws(Errno) in try served.tree.open(entry.attributes.inode, flags: O_RDONLY, uid: 0) }
              == .isDirectory, "\(entry.path)")
        }
        return
      }
      func open(_ flags: Int32, uid: UInt32 = 0) -> Errno? {
        failure { () throws(Errno) in try served.tree.open(entry.attributes.inode, flags: flags, uid: uid).release() }
      }
      let mode = entry.attributes.permissions
      let reads = mode & 0o444 != 0
      let writes = mode & 0o222 != 0
      if Self.isSys(entry.path) {
        // kernfs refuses root as well.
        #expect(open(O_RDONLY) == (reads ? nil : .permissionDenied), "\(entry.path)")
        #expect(open(O_WRONLY) == (writes ? nil : .permissionDenied), "\(entry.path)")
        #expect(open(O_RDWR) == (reads && writes ? nil : .permissionDenied), "\(entry.path)")
        #expect(open(O_WRONLY | O_TRUNC | O_APPEND) == (writes ? nil : .permissionDenied), "\(entry.path)")
      } else if Self.isSysctl(entry.path) {
        #expect(open(O_RDONLY) == (mode & 0o400 != 0 ? nil : .permissionDenied), "\(entry.path)")
        #expect(open(O_WRONLY) == (mode & 0o200 != 0 ? nil : .permissionDenied), "\(entry.path)")
        #expect(open(O_RDWR) == (mode & 0o600 == 0o600 ? nil : .permissionDenied), "\(entry.path)")
      } else {
        for flags in [O_RDONLY, O_WRONLY, O_RDWR] { #expect(open(flags) == nil, "\(entry.path)") }
      }
      // Somebody else: what the last three bits say, but for the memory of processes that are not theirs.
      let other: UInt32 = 65534
      let readable =
        mode & 0o4 != 0 && !(Self.isProcess(entry.path) && entry.path.hasSuffix("maps"))
        && !entry.path.hasSuffix("/smaps_rollup")
      #expect(open(O_RDONLY, uid: other) == (readable ? nil : .permissionDenied), "\(entry.path)")
      #expect(open(O_WRONLY, uid: other) == (mode & 0o2 != 0 ? nil : .permissionDenied), "\(entry.path)")
      if Self.isProc(entry.path), !writes {
        // Of a process's directory the kernel finds that there is no function for it, elsewhere proc itself does.
        let refusal: Errno = Self.isProcess(entry.path) ? .invalidArgument : .ioError
        #expect(failure { () throws(Errno) in try served.write("1\n", to: entry.path) } == refusal, "\(entry.path)")
      }
    }
  }

  /// Bytes that no attribute takes, and numbers that none holds.
  private static let malformed = [
    "\u{1}", "rubbish\n", "-1x\n", "\u{e9}", String(repeating: "z", count: 4096), "1 2\n",
  ]

  @Test(arguments: presets)
  func refusesMalformedWritesAndChangesNothing(preset: Preset) throws {
    let served = try Served(preset)
    var attributes = 0
    try served.walk(most: 2) { entry in
      guard entry.attributes.kind == .file, entry.attributes.permissions & 0o222 != 0, !Self.isSpecial(entry.path)
      else { return }
      // What is written to it is not looked at, or errors in it are not.
      if ["compact", "compact_memory", "stat_refresh", "lowmem_reserve_ratio"].contains(where: entry.path.hasSuffix) {
        return
      }
      attributes += 1
      let reads = entry.attributes.permissions & 0o444 != 0
      let broken = entry.path.hasSuffix("power/autosuspend_delay_ms")
      let before = reads && !broken ? try served.text(entry.path) : ""
      for text in Self.malformed {
        // strtobool looks no further than the first letters.
        if entry.path.hasSuffix("/online"), text.hasPrefix("1") { continue }
        // A number of /proc/sys is the first word.
        if Self.isSysctl(entry.path), text.hasPrefix("1"), !entry.path.hasSuffix("order") { continue }
        let errno = failure { () throws(Errno) in try served.write(text, to: entry.path) }
        #expect(errno == (broken ? .ioError : .invalidArgument), "\(entry.path): \(text.prefix(20))")
      }
      if reads, !broken { #expect(try served.text(entry.path) == before, "\(entry.path)") }
    }
    #expect(attributes >= 5)
    #expect(served.machine.withLock { served.machine.memory.verify() } == [])
  }

  @Test(arguments: presets)
  func knowsNoOtherNames(preset: Preset) throws {
    let served = try Served(preset)
    try served.walk(most: 1) { entry in
      guard entry.attributes.kind == .directory else {
        #expect(
          failure { () throws(Errno) in try served.lookup("x", in: entry.attributes.inode) } == .notDirectory,
          "\(entry.path)")
        #expect(failure { () throws(Errno) in try served.tree.entries(of: entry.attributes.inode) } == .notDirectory)
        return
      }
      let listed = try served.tree.entries(of: entry.attributes.inode).map(\.name)
      let known = Set(listed)
      var wrong = ["", " ", "nothing", "\u{0}", "0", "é"]
      for name in listed.prefix(40) {
        wrong += [name + " ", " " + name, name + "0x", name.uppercased(), String(name.dropLast()), name + "/"]
        let prefix = name.prefix { !$0.isNumber }
        let digits = name.dropFirst(prefix.count).prefix { $0.isNumber }
        guard !digits.isEmpty, prefix != "access" else { continue }
        let suffix = name.dropFirst(prefix.count + digits.count)
        for number in [
          "0\(digits)", "00\(digits)", "-\(digits)", "+\(digits)", "", "999999999", "9999999999", "\(digits)x",
        ] { wrong.append(prefix + number + suffix) }
        wrong.append(prefix + "18446744073709551616" + suffix)
      }
      for name in wrong where !known.contains(name) {
        let errno = failure { () throws(Errno) in try served.lookup(name, in: entry.attributes.inode) }
        #expect(errno == .noSuchFileOrDirectory, "\(entry.path)/\(name)")
      }
    }
  }

  @Test func knowsNoNumbersOfNothing() throws {
    let served = try Served()
    for path in [
      "sys/devices/system/node/node4", "sys/devices/system/cpu/cpu8", "sys/devices/system/memory/memory24",
      "sys/devices/system/memory/memory40", "sys/devices/system/node/node0/cpu4",
      "sys/devices/system/node/node0/memory8",
      "sys/devices/system/node/node2/cpu0", "sys/devices/system/cpu/cpu0/node1",
      "sys/devices/system/cpu/cpu0/cache/index4",
      "sys/devices/system/memory/memory0/node1", "proc/2", "proc/0", "proc/01",
      "sys/devices/system/node/node0/hugepages/hugepages-4kB", "sys/devices/system/node/node0/access0",
      "sys/devices/system/node/node0/hugepages/hugepages-2048kB/demote",
    ] {
      #expect(failure { () throws(Errno) in try served.attributes(path) } == .noSuchFileOrDirectory, "\(path)")
    }
    for number: UInt64 in [0, .max, 1 << 63, 1 << 52 * 4000] {
      #expect(
        failure { () throws(Errno) in try served.tree.attributes(of: Inode(rawValue: number)) }
          == .noSuchFileOrDirectory)
    }
  }

  /// The same entry has the same number whenever it is asked for, and on every machine.
  @Test func keepsInodeNumbers() throws {
    let one = try Served()
    let two = try Served()
    try one.walk { entry in
      let same = try two.attributes(entry.path).inode
      #expect(same == entry.attributes.inode, "\(entry.path)")
    }
  }
}
