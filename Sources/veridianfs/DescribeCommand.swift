import ArgumentParser
import Topology

/// `veridianfs describe MACHINE`.
struct DescribeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "describe", abstract: "Print a machine in full, as YAML that --machine takes back.",
    discussion: """
      The file may be edited to make a machine of one's own:

        veridianfs describe four-node > mine.yaml
        veridianfs mount mountpoints/machine --machine mine.yaml
      """)

  @Argument(help: MachineHelp.text)
  var machine: String

  @OptionGroup var settings: SettingOptions

  func run() throws {
    print(try settings.machine(machine).yaml, terminator: "")
  }
}

/// What may stand for a machine.
enum MachineHelp {
  static let text: ArgumentHelp = """
    A machine: a name ('veridianfs machines' lists them), a YAML file, or a directory with the /sys and /proc of a real one.
    """
}
