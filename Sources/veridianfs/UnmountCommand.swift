import ArgumentParser
import Glibc

/// `veridianfs unmount MOUNTPOINT`.
struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount", abstract: "Unmount a machine, and wait until it is gone.",
    discussion: "The machine ends with its mount: its state is lost.")

  @Argument(help: "The directory that the machine is mounted on.", completion: .directory)
  var mountpoint: String

  func run() throws {
    let mountpoint = try Mountpoint(mountpoint, isMounted: true)
    guard let mount = try MountTable.entry(at: mountpoint.path) else {
      throw Failure("\(mountpoint.path): nothing is mounted there")
    }
    guard mount.isOurs else {
      throw Failure("\(mountpoint.path): a mount of type \(mount.type), which is no machine of veridianfs's")
    }
    try mountpoint.detach(lazily: false)
  }
}
