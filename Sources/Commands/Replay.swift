public import Machine
public import MemoryTypes
internal import SystemPackage

/// A script or a recorded log, carried out line by line without a mount, with what a summary counts of it.
public struct Replay {
  private let interpreter: Interpreter
  private var log: RecordedLog
  private var summary: ReplaySummary?
  /// Lines that were no calls and words, or none that could be carried out: what an error of a call's own is not.
  public private(set) var refused = 0

  /// - Parameter summarizes: whether `printSummary` will be asked for, which costs a look at the machine's memory a line.
  public init(_ machine: Machine, summarizes: Bool = false) {
    interpreter = Interpreter(machine)
    log = RecordedLog(machine)
    if summarizes { summary = machine.withLock { ReplaySummary(machine) } }
  }

  /// Carries a line out, without its newline, and appends what is to be shown of it: a script's line with its outcome; of a recorded log
  /// only what came to something else than was recorded.
  public mutating func carryOut(_ line: String, into text: inout TextBuffer) {
    if log.continuesLine(line.utf8) || RecordedLog.isRecorded(line) {
      let wasTaken = take(line, &text)
      if !wasTaken { refused += 1 }
    } else {
      switch interpreter.replay(line, into: &text) {
      case .nothing: return
      case .call: summary?.calls += 1
      case .word: summary?.words += 1
      case .refused: refused += 1
      }
    }
    guard summary != nil else { return }
    summary?.lines += 1
    let machine = interpreter.machine
    machine.lock.lock()
    summary?.look(at: machine)
    machine.lock.unlock()
  }

  /// The accesses of a recorded log that `bytes` begin with, see `RecordedLog.takeAccesses`.
  public mutating func takeAccesses(_ bytes: RawSpan) -> Int {
    let machine = interpreter.machine
    machine.lock.lock()
    defer { machine.lock.unlock() }
    let before = log.counts.accesses
    let taken = log.takeAccesses(bytes)
    if taken > 0 {
      summary?.lines += Int(log.counts.accesses - before)
      summary?.lookAfterAccesses(at: machine)
    }
    return taken
  }

  private mutating func take(_ line: String, _ text: inout TextBuffer) -> Bool {
    interpreter.machine.withLock {
      do {
        if let outcome = try log.take(line) { text.append(string: outcome + "\n") }
        return true
      } catch {
        text.append(string: "\(line) = -1 EINVAL (\(error))\n")
        return false
      }
    }
  }

  public func printSummary(into text: inout TextBuffer) {
    guard let summary else { return }
    interpreter.machine.withLock { summary.print(interpreter.machine, log.counts, refused: refused, into: &text) }
  }
}
