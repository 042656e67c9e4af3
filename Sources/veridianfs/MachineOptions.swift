import ArgumentParser
import FileTree
import Machine
import MemoryTypes
import Topology

/// Settings over a machine's own.
struct SettingOptions: ParsableArguments {
  @Option(
    name: .customLong("set"),
    help: ArgumentHelp(
      "Override a setting of the machine; may be given several times.",
      discussion: Setting.all.map { "\($0.key) (\($0.expected)): \($0.documentation)" }
        .joined(separator: "\n"),
      valueName: "key=value"))
  var assignments: [String] = []

  func validate() throws {
    for assignment in assignments where !assignment.contains("=") {
      throw ValidationError("--set takes KEY=VALUE, not '\(assignment)'")
    }
  }

  /// The machine of that name, file or directory, with these settings.
  func machine(_ name: String) throws(Failure) -> MachineDescription {
    let settings = assignments.map { assignment in
      let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (key: String(parts[0]), value: String(parts[1]))
    }
    do { return try MachineSource.load(name, settings: settings) } catch { throw Failure(lines: error.lines) }
  }
}

/// The files of a machine that has just been built.
func makeTree(of description: MachineDescription) throws(Failure) -> any ServedTree {
  MachineTree(machine: try startMachine(description))
}

func startMachine(_ description: MachineDescription) throws(Failure) -> Machine {
  do { return try Machine(description) } catch {
    throw Failure("\(description.name) cannot be built: \(error)")
  }
}
