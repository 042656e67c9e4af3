import ArgumentParser
import Commands
import Machine
import MemoryTypes
import SystemPackage
import Topology

/// `veridianfs replay FILE`.
struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Run a script of commands and calls without a mount, and print each line with its outcome.",
    discussion: """
      The lines are those that sys/kernel/debug/memory takes. A line that is refused is printed with the reason, and the \
      next one is carried out. The logs of strace -f and of valgrind's lackey are taken as they are: of these, the lines \
      that come to something else than was recorded are printed.
      """)

  @Argument(help: ArgumentHelp("The script, or - for standard input.", valueName: "file"), completion: .file())
  var script: String

  @Option(help: MachineHelp.text)
  var machine = Preset.standard.rawValue

  @OptionGroup var settings: SettingOptions

  func run() throws {
    if script != "-" {
      do {
        let file = try FileDescriptor.open(FilePath(script), .readOnly)
        _ = try file.duplicate(as: .standardInput)
        try file.close()
      } catch { throw Failure("\(script) cannot be read: \(error)") }
    }
    let running = try startMachine(try settings.machine(machine))
    let interpreter = Interpreter(running)
    var log = RecordedLog(running)
    var text = TextBuffer(capacity: 1 << 16)
    var input = LineReader()
    while true {
      running.withLock { input.take { log.takeAccesses($0) } }
      guard let line = try input.next() else { break }
      if RecordedLog.isRecorded(line) {
        take(line, &log, running, &text)
      } else {
        interpreter.replay(line, into: &text)
      }
      if text.count >= 1 << 16 { try flush(&text) }
    }
    try flush(&text)
  }

  /// A line that strace or lackey wrote: nothing is printed where it came to what was recorded.
  private func take(_ line: String, _ log: inout RecordedLog, _ machine: Machine, _ text: inout TextBuffer) {
    machine.withLock {
      do {
        if let outcome = try log.take(line) { text.append(string: outcome + "\n") }
      } catch { text.append(string: "\(line) = -1 EINVAL (\(error))\n") }
    }
  }

  private func flush(_ text: inout TextBuffer) throws(Failure) {
    do {
      // SAFETY: the bytes are read while the buffer is held.
      _ = try unsafe text.withBytes { bytes in try unsafe FileDescriptor.standardOutput.writeAll(bytes) }
    } catch { throw Failure("standard output cannot be written: \(error)") }
    text.removeAll()
  }
}
