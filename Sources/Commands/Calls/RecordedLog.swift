internal import AddressSpaces
public import Machine
internal import MemoryTypes

/// Carries out what a real program did, from the log that strace(1) (`-f`, `-o`) or valgrind's lackey (`--trace-mem=yes`) made of it.
///
/// What the log says of results is taken over where it fixes something: an area's address, the break, a child's number. A recorded
/// process becomes a process of the machine when it first appears. Descriptors stand for files of their own, as large as what is mapped of
/// them. Calls that are not about memory are skipped and counted.
public struct RecordedLog {
  private let machine: Machine
  /// Of which boot of the machine the processes and files are: a reset takes them away.
  private var boot = 0
  private var memory: UserMemory { machine.unsettledUsers }
  /// The machine's process of each recorded one; -1: of a log that names none.
  private var processes: [Int: ProcessID] = [:]
  private var files: [FileKey: MemoryFile] = [:]
  /// The beginnings of calls that were interrupted, by process.
  private var unfinished: [Int: String] = [:]
  private var current: Int = -1
  /// The beginning of a line that strace broke off to say something.
  private var torn = ""
  /// Whether a line goes on with one that was broken off.
  public func continuesLine(_ bytes: some Sequence<UInt8>) -> Bool {
    !torn.isEmpty && bytes.first { _ in true }.map { ", )".utf8.contains($0) } ?? false
  }
  /// Calls that make a process or thread and have not returned yet, oldest first.
  private var births: [(parent: Int, isThread: Bool)] = []
  /// Who was heard of before the call that made it returned.
  private var early: Set<Int> = []
  public private(set) var counts = Counts()

  private struct FileKey: Hashable {
    var process: Int
    var descriptor: Int
  }

  public struct Counts: Equatable, Sendable {
    /// Calls that were carried out, and how many of them came to something else than recorded.
    public var calls: UInt64 = 0
    public var differing: UInt64 = 0
    /// Lines that are not about memory.
    public var skipped: UInt64 = 0
    /// Accesses of a lackey log, with how many of them raised a signal.
    public var accesses: UInt64 = 0
    public var signals: UInt64 = 0
  }

  public init(_ machine: Machine) { self.machine = machine }

  /// Carries out a line. Answers what came of it where that is not what was recorded.
  public mutating func take(_ line: some StringProtocol) throws(CallSyntaxError) -> String? {
    let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
    // SAFETY: bytes have no padding.
    if unsafe takeAccesses(bytes.span.bytes) == bytes.count { return nil }
    if line.hasPrefix("==") || line.hasPrefix("strace: ") || line.isEmpty {
      counts.skipped += 1
      return nil
    }
    let whole = continuesLine(line.utf8) ? torn + line : String(line)
    torn = ""
    if let notice = Self.notice(in: whole) {
      torn = String(whole[..<notice])
      counts.skipped += 1
      return nil
    }
    let (process, body) = Self.head(Substring(whole))
    if let process { current = process }
    return try take(body: String(body))
  }

  /// Drops what was of the machine before a reset.
  private mutating func followMachine() {
    if boot == machine.boots { return }
    boot = machine.boots
    processes = [:]
    files = [:]
    unfinished = [:]
    torn = ""
    births = []
    early = []
  }

  private mutating func take(body: String) throws(CallSyntaxError) -> String? {
    if body.hasPrefix("+++ ") {
      end()
      return nil
    }
    if body.hasSuffix(Self.unfinishedMark) {
      let begin = String(body.dropLast(Self.unfinishedMark.count).trimmingBlanks())
      unfinished[current] = begin
      // What is born may be heard of before its parent is told.
      if let open = begin.firstIndex(of: "("), Self.births.contains(String(begin[..<open])) {
        births.append((parent: current, isThread: Self.makesThread(begin)))
      }
      return nil
    }
    if body.hasPrefix("<... "), let mark = body.range(of: " resumed>") {
      guard let begin = unfinished.removeValue(forKey: current) else {
        counts.skipped += 1
        return nil
      }
      births.removeAll { $0.parent == current }
      return try take(body: begin + body[mark.upperBound...])
    }
    guard let (call, result) = Self.splitResult(body), let open = call.firstIndex(of: "(") else {
      counts.skipped += 1
      return nil
    }
    return try carryOut(String(call[..<open]), call, result)
  }

  private mutating func carryOut(_ name: String, _ call: String, _ result: String) throws(CallSyntaxError) -> String? {
    guard let process = process() else {
      counts.skipped += 1
      return nil
    }
    switch name {
    case _ where Self.births.contains(name):
      guard let child = Int(result.prefix { $0 != " " }), child > 0 else { break }
      if early.remove(child) == nil, processes[child] == nil {
        bear(child, of: process, isThread: Self.makesThread(call))
      }
      counts.calls += 1
      return nil
    case "execve", "execveat":
      if result.hasPrefix("0") {
        files = files.filter { $0.key.process != current }
        memory.exec(process)
        counts.calls += 1
        return nil
      }
    case "exit_group", "exit":
      counts.calls += 1
      if name == "exit_group" { end() }
      return nil
    case "brk": return brk(process, call, result)
    case "mmap", "mmap2": return try map(process, call, result)
    case "mprotect", "mremap", "madvise", "mlock", "mlock2", "munlock", "msync":
      return try plain(process, call, result, needsAreas: true)
    case "munmap", "mlockall", "munlockall", "mbind", "set_mempolicy":
      return try plain(process, call, result, needsAreas: false)
    // Of longer lists strace prints the beginning.
    case "get_mempolicy", "move_pages", "migrate_pages", "sched_setaffinity":
      if !call.contains("...") { return try ofProcess(process, call, result) }
    default: break
    }
    counts.skipped += 1
    return nil
  }

  private static let births: Set = ["clone", "clone3", "fork", "vfork"]

  /// Threads share their process's memory.
  private static func makesThread(_ call: String) -> Bool {
    call.contains("CLONE_VM") && !call.contains("CLONE_VFORK")
  }

  /// A recorded process appears as another's child or thread.
  private mutating func bear(_ child: Int, of parent: Process, isThread: Bool) {
    if isThread {
      processes[child] = parent.pid
    } else if let made = try? memory.fork(parent) {
      processes[child] = made.pid
    }
  }

  /// Calls whose arguments say all; the place that a moved area got is part of the result. `needsAreas`: it fails where no area holds all
  /// of its range.
  private mutating func plain(_ process: Process, _ call: String, _ result: String, needsAreas: Bool)
    throws(CallSyntaxError) -> String?
  {
    var syntax = try CallSyntax(call)
    if needsAreas, !result.hasPrefix("-"), syntax.arguments.count >= 2, case .number(let start) = syntax.arguments[0],
      case .number(let length) = syntax.arguments[1]
    {
      // What lies there without a call that says so is the program's image, which execve mapped.
      memory.mapImage(process, start, length)
    }
    if syntax.name == "mremap", let target = Self.address(result), syntax.arguments.count >= 4,
      case .number(let flags) = syntax.arguments[3], case .number(let old) = syntax.arguments[0], flags & 1 != 0,
      target != old
    {
      syntax.arguments = Array(syntax.arguments.prefix(3)) + [.number(flags | 2), .number(target)]
    }
    return perform(syntax, process, result)
  }

  /// Calls that name a recorded process; one that the log does not know is the caller, as a log without `-f` has it.
  private mutating func ofProcess(_ process: Process, _ call: String, _ result: String) throws(CallSyntaxError)
    -> String?
  {
    var syntax = try CallSyntax(call)
    if case .number(let pid) = syntax.arguments.first, pid != 0 {
      let known = processes[Int(truncatingIfNeeded: pid)]
      syntax.arguments[0] = .number(UInt64(known?.rawValue ?? 0))
    }
    try CallRow.byName[syntax.name]?.check(syntax)
    return perform(syntax, process, result)
  }

  private mutating func map(_ process: Process, _ call: String, _ result: String) throws(CallSyntaxError) -> String? {
    var plain = call
    // A descriptor is printed with its path with -y: `3</lib/libc.so>`.
    if let open = plain.firstIndex(of: "<"), let close = plain.lastIndex(of: ">"), open < close {
      plain.removeSubrange(open...close)
    }
    let syntax = try CallSyntax(plain)
    let context = CallContext(memory: memory, process: process, arguments: syntax.arguments)
    guard let address = Self.address(result) else {
      counts.skipped += 1
      return nil
    }
    var flags = context.number(3) | 0x10
    flags &= ~0x100000
    counts.calls += 1
    var file: MemoryFile?
    if flags & 0x20 == 0 {
      let end = context.number(5) &+ context.number(1)
      let key = FileKey(process: current, descriptor: Int(truncatingIfNeeded: context.number(4)))
      let known = files[key] ?? memory.makeFile(path: "/descriptor/\(key.descriptor)", size: end)
      memory.extend(known, to: end)
      files[key] = known
      file = known
    }
    defer { _ = memory.reap(process) }
    do throws(CallError) {
      _ = try memory.mmap(
        process, address, context.number(1), protection: context.number(2), flags: flags, file: file,
        offset: context.number(5))
      return nil
    } catch {
      counts.differing += 1
      return "\(call) = -1 \(error.name), recorded \(result)"
    }
  }

  private mutating func brk(_ process: Process, _ call: String, _ result: String) -> String? {
    guard let end = Self.address(result) else {
      counts.skipped += 1
      return nil
    }
    counts.calls += 1
    if call == "brk(NULL)" {
      memory.placeBreak(process, at: end)
      return nil
    }
    defer { _ = memory.reap(process) }
    if memory.brk(process, to: end) == end { return nil }
    counts.differing += 1
    return "\(call) = 0x\(String(memory.brk(process, to: 0), radix: 16)), recorded \(result)"
  }

  private mutating func perform(_ syntax: CallSyntax, _ process: Process, _ result: String) -> String? {
    counts.calls += 1
    guard let row = CallRow.byName[syntax.name] else { return nil }
    let outcome = row.outcome(CallContext(memory: memory, process: process, arguments: syntax.arguments))
    // The text of an error, in brackets behind its name, is strace's own, and so is the time that a call took (`-T`).
    let recorded = result.prefix { $0 != "(" && $0 != "<" }.trimmingBlanks()
    let ours = outcome.suffix.dropFirst(3)
    // What is behind a result of 0 stands among the arguments in strace's logs.
    if ours == recorded || recorded == "0" && ours.hasPrefix("0 ") { return nil }
    counts.differing += 1
    return "\(syntax.text) = \(ours), recorded \(recorded)"
  }

  // MARK: Processes

  /// The machine's process of the current recorded one: made when it first appears. Nil where none is left and none can be made.
  private mutating func process() -> Process? {
    if let pid = processes[current], let process = memory.process(pid) { return process }
    if let birth = births.first, birth.parent != current, let parent = processes[birth.parent].flatMap(memory.process) {
      births.removeFirst()
      early.insert(current)
      bear(current, of: parent, isThread: birth.isThread)
      if let process = processes[current].flatMap(memory.process) { return process }
    }
    do throws(MemoryError) {
      let made = try memory.spawn(name: current < 0 ? "recorded" : "recorded-\(current)")
      processes[current] = made.pid
      return made
    } catch {
      // Without memory for another one, the first process stands in.
      return memory.pids.first.flatMap(memory.process)
    }
  }

  private mutating func end() {
    guard let pid = processes.removeValue(forKey: current) else { return }
    for (key, file) in files where key.process == current {
      memory.close(file)
      files[key] = nil
    }
    // A process that threads still stand for goes with the last of them.
    if !processes.values.contains(pid), let process = memory.process(pid) { memory.exit(process) }
  }

  /// Carries out the accesses that a part of a log begins with, of lines that end in it; how many bytes these are. What follows is a line of
  /// another kind, or its beginning.
  public mutating func takeAccesses(_ bytes: RawSpan) -> Int {
    followMachine()
    let memory = memory
    var position = 0
    while let access = LackeyAccess(bytes, at: &position) {
      counts.accesses &+= 1
      guard let process = process() else {
        counts.signals += 1
        continue
      }
      var isDone = touch(access, process, memory)
      // A process that is out of memory may be gone.
      while isDone, let next = LackeyAccess(bytes, at: &position) {
        counts.accesses &+= 1
        isDone = touch(next, process, memory)
      }
    }
    return position
  }

  /// False after a signal.
  @inline(__always)
  private mutating func touch(_ access: LackeyAccess, _ process: Process, _ memory: UserMemory) -> Bool {
    var isDone = true
    if access.reads, !memory.touch(process, access.address, access.size, write: false) {
      counts.signals += 1
      isDone = false
    }
    if access.writes, !memory.touch(process, access.address, access.size, write: true) {
      counts.signals += 1
      isDone = false
    }
    return isDone
  }
}
