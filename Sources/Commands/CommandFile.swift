public import Machine
internal import MemoryTypes
public import SystemPackage

/// The command file: who wrote last, and what a reader gets who has not written.
@safe public final class CommandFile: @unchecked Sendable {
  public let interpreter: Interpreter
  /// The handle that last wrote without reading. Guarded by the machine's lock.
  fileprivate var latest: CommandHandle?
  /// What the logs of recorded programs have said so far, whichever handles they came through. Guarded by the machine's lock.
  private var log: RecordedLog
  /// Where handles render the outcome of a line, one at a time. Guarded by the machine's lock.
  fileprivate let text: UnsafeMutablePointer<TextBuffer>

  public init(machine: Machine) {
    interpreter = Interpreter(machine)
    log = RecordedLog(machine)
    unsafe text = .allocate(capacity: 1)
    unsafe text.initialize(to: TextBuffer(capacity: 4096))
  }

  deinit {
    // SAFETY: initialised by init, and used by handles alone, which keep the file.
    unsafe text.deinitialize(count: 1)
    unsafe text.deallocate()
  }

  /// A handle that reads, writes, or both. One that only reads answers with what the handle that last wrote without reading has been
  /// answered up to now, and with the help before there was one. The caller holds the machine.
  public func open(
    reads: Bool, writes: Bool, appends: Bool, observer: (any LineObserver)? = nil
  ) -> CommandHandle {
    let handle = CommandHandle(file: self, reads: reads, writes: writes, appends: appends, observer: observer)
    if !writes { handle.answer = latest?.answer ?? Self.help }
    return handle
  }

  /// Carries a line out, of a script or of a recorded log. The caller holds the machine.
  fileprivate func carryOut(_ line: UnsafeRawBufferPointer, into text: inout TextBuffer) throws(Refusal) {
    let continues = unsafe log.continuesLine(line)
    guard unsafe continues || RecordedLog.mayBeRecorded(line) else {
      return unsafe try interpreter.carryOut(line, into: &text)
    }
    let recorded = unsafe String(decoding: line, as: UTF8.self)
    guard continues || RecordedLog.isRecorded(recorded) else {
      return unsafe try interpreter.carryOut(line, into: &text)
    }
    interpreter.machine.beginLine()
    defer { interpreter.machine.endLine() }
    do throws(CallSyntaxError) {
      guard let outcome = try log.take(recorded) else { return }
      text.append(string: outcome)
      text.newline()
    } catch { throw Refusal(.invalidArgument, error.description) }
  }

  private static let help: AnswerLog = {
    var text = TextBuffer()
    Verb.printHelp(into: &text)
    var log = AnswerLog()
    unsafe text.withBytes { unsafe log.append($0) }
    return log
  }()
}

/// Who wants to know that lines have taken effect: called without the machine's lock.
public protocol LineObserver: AnyObject, Sendable {
  func linesWereCarriedOut()
}

/// An open command file: its lines, their outcomes, and what is held of a line that has not ended.
public final class CommandHandle: @unchecked Sendable {
  /// The longest line there may be, in bytes; only what is held can grow beyond a single write.
  static let longestLine = 1 << 20
  /// At multiples of this many bytes programs cut long output, without regard to lines: stdio's buffers and pages.
  static let cut = 4096

  private let file: CommandFile
  private let reads: Bool
  private let writes: Bool
  private let appends: Bool
  private let observer: (any LineObserver)?

  // All below is guarded by the machine's lock.
  /// The outcomes of this handle's lines; for a handle that does not write, another's.
  fileprivate var answer = AnswerLog()
  /// The beginning of a line whose end a next write brings.
  private var held: [UInt8] = []
  /// A read at file offset `o` begins at position `o - origin` of the answer.
  private var origin: Int64 = 0
  /// Behind the furthest position that was read.
  private var readEnd = 0

  fileprivate init(file: CommandFile, reads: Bool, writes: Bool, appends: Bool, observer: (any LineObserver)?) {
    self.observer = observer
    self.file = file
    self.reads = reads
    self.writes = writes
    self.appends = appends
  }

  /// Carries out the lines in `bytes`, in order, and says how many bytes that took.
  ///
  /// At a line that is refused, what went before counts as written; if nothing did, the refusal's errno is thrown and the reason
  /// logged. What stands behind the last newline is held where the length is a multiple of 4096, else carried out at once.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    defer { observer?.linesWereCarriedOut() }
    let machine = file.interpreter.machine
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let position = appends ? readEnd : clamped(offset - origin)
    if writes, !reads { file.latest = self }
    let written = unsafe try carryOut(bytes)
    origin = offset + Int64(written) - Int64(position)
    return written
  }

  private func carryOut(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
    var begin = 0
    while begin < bytes.count {
      let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[begin...])
      let newline = unsafe rest.firstIndex(of: 0x0A)
      if newline == nil, bytes.count % Self.cut == 0 {
        guard held.count + rest.count <= Self.longestLine else {
          held = []
          log(Refusal(.argListTooLong, "a line may have \(Self.longestLine) bytes"), of: "")
          throw .argListTooLong
        }
        unsafe held.append(contentsOf: rest)
        return bytes.count
      }
      let length = newline ?? rest.count
      let line = unsafe UnsafeRawBufferPointer(rebasing: rest[..<length])
      // A line that was held is dropped if it is refused: its beginning was reported as written.
      let begun = held
      if !begun.isEmpty { held = [] }
      do throws(Refusal) {
        if begun.isEmpty { unsafe try carryOut(line: line) } else { unsafe try carryOut(line: begun + line) }
      } catch {
        if begin > 0 { return begin }
        unsafe log(error, of: String(decoding: begun + line, as: UTF8.self))
        throw error.errno
      }
      begin += length + (newline == nil ? 0 : 1)
    }
    return bytes.count
  }

  private func carryOut(line: [UInt8]) throws(Refusal) {
    // SAFETY: the bytes are read while the array is held.
    unsafe try line.withUnsafeBufferPointer { (bytes) throws(Refusal) in
      unsafe try carryOut(line: UnsafeRawBufferPointer(bytes))
    }
  }

  private func carryOut(line: UnsafeRawBufferPointer) throws(Refusal) {
    let text = unsafe file.text
    unsafe text.pointee.removeAll()
    unsafe try file.carryOut(line, into: &text.pointee)
    unsafe text.pointee.withBytes { unsafe answer.append($0) }
    // A very long answer's room is not kept for ever.
    if unsafe text.pointee.count > AnswerLog.kept { unsafe text.pointee = TextBuffer(capacity: 4096) }
  }

  /// Long lines are cut, and control characters shown as U+FFFD: an answer is text, and its lines are those that were written.
  private func log(_ refusal: Refusal, of line: String) {
    let text = unsafe file.text
    unsafe text.pointee.removeAll()
    var shown = String.UnicodeScalarView()
    for scalar in line.unicodeScalars.prefix(200) {
      shown.append((scalar.value < 0x20 && scalar != "\t") || scalar.value == 0x7F ? "\u{FFFD}" : scalar)
    }
    if line.unicodeScalars.dropFirst(200).first != nil { shown += "...".unicodeScalars }
    unsafe text.pointee.append(string: "\(String(shown)) = -1 \(refusal.description)\n")
    unsafe text.pointee.withBytes { unsafe answer.append($0) }
  }

  /// Copies what the answer has at `offset`. Offset 0 is its beginning; where this handle has written, the offset at which its last
  /// write ended is where it had read up to.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int {
    file.interpreter.machine.withLock {
      if offset == 0 { origin = -Int64(answer.first) }
      let position = clamped(offset - origin)
      // A reader whose place was dropped goes on with the first byte that is left, and from there.
      if Int64(position) > offset - origin { origin = offset - Int64(position) }
      let count = unsafe answer.copy(from: position, into: buffer)
      readEnd = max(readEnd, position + count)
      return count
    }
  }

  private func clamped(_ position: Int64) -> Int { Int(min(max(position, Int64(answer.first)), Int64(answer.end))) }

  /// The last close: what is held is carried out.
  public func release() {
    let hadLine = file.interpreter.machine.withLock { () -> Bool in
      guard !held.isEmpty else { return false }
      let line = held
      held = []
      do throws(Refusal) {
        try carryOut(line: line)
      } catch { log(error, of: String(decoding: line, as: UTF8.self)) }
      return true
    }
    if hadLine { observer?.linesWereCarriedOut() }
  }
}
