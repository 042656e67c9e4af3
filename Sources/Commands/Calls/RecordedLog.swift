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
  private var memory: UserMemory { machine.users }
  /// The machine's process of each recorded one; -1: of a log that names none.
  private var processes: [Int: ProcessID] = [:]
  private var files: [FileKey: MemoryFile] = [:]
  /// The beginnings of calls that were interrupted, by process.
  private var unfinished: [Int: String] = [:]
  private var current: Int = -1
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

  /// Whether a line is one of a recorded log rather than of a script: lackey's, or a call with its result.
  public static func isRecorded(_ line: some StringProtocol) -> Bool {
    guard let first = line.utf8.first else { return false }
    if line.hasPrefix("I  ") || line.hasPrefix(" L ") || line.hasPrefix(" S ") || line.hasPrefix(" M ")
      || line.hasPrefix("==")
    {
      return true
    }
    if (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) { return true }
    if line.hasPrefix("+++ ") || line.hasPrefix("--- ") { return true }
    return splitResult(line) != nil
  }

  /// Carries out a line. Answers what came of it where that is not what was recorded.
  public mutating func take(_ line: some StringProtocol) throws(CallSyntaxError) -> String? {
    let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
    // SAFETY: bytes have no padding.
    if unsafe takeAccesses(bytes.span.bytes) == bytes.count { return nil }
    if line.hasPrefix("==") || line.isEmpty {
      counts.skipped += 1
      return nil
    }
    var body = Substring(line)
    let digits = body.prefix { $0.isASCII && $0.isNumber }
    if let pid = Int(digits) {
      current = pid
      body = body.dropFirst(digits.count).drop { $0 == " " }
    } else if body.hasPrefix("[pid "), let close = body.firstIndex(of: "]"),
      let pid = Int(body.dropFirst(5).prefix(upTo: close).drop { $0 == " " })
    {
      current = pid
      body = body[body.index(after: close)...].drop { $0 == " " }
    }
    return try take(body: String(body))
  }

  /// Drops what was of the machine before a reset.
  private mutating func followMachine() {
    if boot == machine.boots { return }
    boot = machine.boots
    processes = [:]
    files = [:]
    unfinished = [:]
  }

  private mutating func take(body: String) throws(CallSyntaxError) -> String? {
    if body.hasPrefix("+++ ") {
      end()
      return nil
    }
    if let mark = body.range(of: " <unfinished ...>") {
      unfinished[current] = String(body[..<mark.lowerBound])
      return nil
    }
    if body.hasPrefix("<... "), let mark = body.range(of: " resumed>") {
      guard let begin = unfinished.removeValue(forKey: current) else {
        counts.skipped += 1
        return nil
      }
      return try take(body: begin + body[mark.upperBound...])
    }
    guard let (call, result) = Self.splitResult(body), let open = call.firstIndex(of: "(") else {
      counts.skipped += 1
      return nil
    }
    return try carryOut(String(call[..<open]), call, result)
  }

  private mutating func carryOut(_ name: String, _ call: String, _ result: String) throws(CallSyntaxError) -> String? {
    let process = process()
    switch name {
    case "clone", "clone3", "fork", "vfork":
      // Threads share their process's memory: nothing is to be done for them.
      guard let child = Int(result), child > 0 else { break }
      if call.contains("CLONE_VM"), !call.contains("CLONE_VFORK") {
        processes[child] = process.pid
      } else if processes[child] == nil, let made = try? memory.fork(process) {
        processes[child] = made.pid
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
    case "munmap", "mprotect", "mremap", "madvise", "mlock", "munlock", "mlockall", "munlockall", "msync":
      return try plain(process, call, result)
    default: break
    }
    counts.skipped += 1
    return nil
  }

  /// Calls whose arguments say all; the place that a moved area got is part of the result.
  private mutating func plain(_ process: Process, _ call: String, _ result: String) throws(CallSyntaxError) -> String? {
    var syntax = try CallSyntax(call)
    if syntax.name == "mremap", let target = Self.address(result), syntax.arguments.count >= 4,
      case .number(let flags) = syntax.arguments[3], case .number(let old) = syntax.arguments[0], flags & 1 != 0,
      target != old
    {
      syntax.arguments = Array(syntax.arguments.prefix(3)) + [.number(flags | 2), .number(target)]
    }
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
    if memory.brk(process, to: end) == end { return nil }
    counts.differing += 1
    return "\(call) = 0x\(String(memory.brk(process, to: 0), radix: 16)), recorded \(result)"
  }

  private mutating func perform(_ syntax: CallSyntax, _ process: Process, _ result: String) -> String? {
    counts.calls += 1
    guard let row = CallRow.byName[syntax.name] else { return nil }
    let outcome: CallOutcome
    do throws(CallError) {
      outcome = try row.run(CallContext(memory: memory, process: process, arguments: syntax.arguments))
    } catch { outcome = .failed(error) }
    // The text of an error, in brackets behind its name, is strace's own.
    let recorded = result.prefix { $0 != "(" }
    let ours = outcome.suffix.dropFirst(3)
    if ours == recorded.trimmingBlanks() { return nil }
    counts.differing += 1
    return "\(syntax.text) = \(ours), recorded \(recorded.trimmingBlanks())"
  }

  // MARK: Processes

  /// The machine's process of the current recorded one: made when it first appears.
  private mutating func process() -> Process {
    if let pid = processes[current], let process = memory.process(pid) { return process }
    do throws(MemoryError) {
      let made = try memory.spawn(name: current < 0 ? "recorded" : "recorded-\(current)")
      processes[current] = made.pid
      return made
    } catch {
      // Without memory for another one, the first process stands in.
      return memory.process(memory.pids[0])!
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

  // MARK: Lines

  /// `name(arguments)` and what is behind ` = `; nil where a line is no finished call.
  private static func splitResult(_ line: some StringProtocol) -> (call: String, result: String)? {
    let bytes = Array(line.utf8)
    var place = bytes.count - 1
    // strace pads with blanks between the bracket and the sign.
    while place > 2 {
      if bytes[place] == UInt8(ascii: "="), bytes[place - 1] == UInt8(ascii: " "), place + 1 < bytes.count,
        bytes[place + 1] == UInt8(ascii: " ")
      {
        var end = place - 1
        while end > 0, bytes[end] == UInt8(ascii: " ") { end -= 1 }
        if bytes[end] == UInt8(ascii: ")") {
          return (
            String(decoding: bytes[...end], as: UTF8.self), String(decoding: bytes[(place + 2)...], as: UTF8.self)
          )
        }
      }
      place -= 1
    }
    return nil
  }

  private static func address(_ result: String) -> UInt64? {
    guard result.hasPrefix("0x") else { return nil }
    return CallReader.value(of: String(result.prefix { $0.isHexDigit || $0 == "x" }))
  }

  // MARK: lackey

  /// Carries out the accesses that a part of a log begins with, of lines that end in it; how many bytes these are. What follows is a line of
  /// another kind, or its beginning.
  public mutating func takeAccesses(_ bytes: RawSpan) -> Int {
    followMachine()
    var position = 0
    var process: Process?
    while let access = LackeyAccess(bytes, at: &position) {
      let own = process ?? self.process()
      // A process that is out of memory may be gone.
      process = touch(access, own) ? own : nil
    }
    return position
  }

  private mutating func touch(_ access: LackeyAccess, _ process: Process) -> Bool {
    counts.accesses &+= 1
    var isDone = true
    if access.reads { isDone = memory.touch(process, access.address, access.size, write: false) }
    if !isDone { counts.signals += 1 }
    if access.writes, !memory.touch(process, access.address, access.size, write: true) {
      counts.signals += 1
      return false
    }
    return isDone
  }
}

extension StringProtocol {
  fileprivate func trimmingBlanks() -> SubSequence {
    var text = self[...]
    while text.last == " " { text = text.dropLast() }
    return text
  }

  /// The first place of `text`, by bytes.
  fileprivate func range(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
