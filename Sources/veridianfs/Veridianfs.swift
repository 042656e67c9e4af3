import ArgumentParser
import Glibc
import SystemPackage

/// What the program is called: by users, by its messages, and by ps.
let programName = "veridianfs"

/// The program: a machine's memory, mounted, and what belongs with it.
@main
struct Veridianfs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: programName,
    abstract: "Emulates a machine's memory, and mounts it as the files in which Linux shows it.",
    discussion: """
      A mounted machine is rooted as a system is: sys/devices/system/node and its kin show its memory, and commands \
      written to sys/kernel/debug/memory act on it.

        veridianfs mount mountpoints/machine --background
        cat mountpoints/machine/sys/devices/system/node/node*/meminfo
        echo help > mountpoints/machine/sys/kernel/debug/memory
        cat mountpoints/machine/sys/kernel/debug/memory
        veridianfs unmount mountpoints/machine

      Exit status: 0 on success, 1 on failure, 64 where the arguments are wrong.
      """,
    version: "0.1.0",
    subcommands: [
      MountCommand.self, UnmountCommand.self, ReplayCommand.self, MachinesCommand.self, DescribeCommand.self,
    ])

  /// Prints a failure as it is, after the program's name, and whatever else goes wrong as ArgumentParser does.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      let text = failure.lines.map { "\(programName): \($0)\n" }.joined()
      _ = try? FileDescriptor.standardError.writeAll(text.utf8)
      Glibc.exit(EXIT_FAILURE)
    } catch {
      exit(withError: error)
    }
  }
}
