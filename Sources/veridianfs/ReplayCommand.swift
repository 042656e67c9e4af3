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
      that come to something else than was recorded are printed. The exit status is 1 if a line was refused; a call that \
      comes to an error, as munmap(1, 1) = -1 EINVAL, is carried out.
      """)

  @Argument(help: ArgumentHelp("The script, or - for standard input.", valueName: "file"), completion: .file())
  var script: String

  @Option(help: MachineHelp.text)
  var machine = Preset.standard.rawValue

  @Flag(help: "End in figures: faults by kind, TLB hit rates, shootdowns, placement by node, peak use of memory.")
  var summary = false

  @OptionGroup var settings: SettingOptions

  func run() throws {
    if script != "-" {
      do {
        let file = try FileDescriptor.open(FilePath(script), .readOnly)
        _ = try file.duplicate(as: .standardInput)
        try file.close()
      } catch { throw Failure("\(script) cannot be read: \(error)") }
    }
    var replay = Replay(try startMachine(try settings.machine(machine)), summarizes: summary)
    var text = TextBuffer(capacity: 1 << 16)
    var input = LineReader()
    while true {
      input.take { replay.takeAccesses($0) }
      guard let line = try input.next(beforeWaiting: { () throws(Failure) in try Self.flush(&text) }) else { break }
      replay.carryOut(line, into: &text)
      if text.count >= 1 << 16 { try Self.flush(&text) }
    }
    if summary { replay.printSummary(into: &text) }
    try Self.flush(&text)
    if replay.refused > 0 { throw ExitCode.failure }
  }

  private static func flush(_ text: inout TextBuffer) throws(Failure) {
    if text.count == 0 { return }
    do {
      // SAFETY: the bytes are read while the buffer is held.
      _ = try unsafe text.withBytes { bytes in try unsafe FileDescriptor.standardOutput.writeAll(bytes) }
    } catch { throw Failure("standard output cannot be written: \(error)") }
    text.removeAll()
  }
}
