import ArgumentParser
import FuseServer
import Glibc
import Logging
import SystemPackage
import Topology

/// `veridianfs mount MOUNTPOINT`.
struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Mount a machine on an empty directory, and serve it until it is unmounted.",
    discussion: """
      In the foreground, unless --background is given: that returns once the mount answers, and fails with the reason if it \
      does not come up. SIGINT (Ctrl-C), SIGTERM and 'veridianfs unmount' (or umount) end it with status 0. A dead mount that \
      a killed process has left behind is replaced.
      """)

  @Argument(help: "The directory to mount on: it must be there and be empty.", completion: .directory)
  var mountpoint: String

  @Option(help: MachineHelp.text)
  var machine = Preset.standard.rawValue

  @OptionGroup var settings: SettingOptions

  @Flag(help: "Return once the mount answers, and serve it from a process of its own.")
  var background = false

  @Flag(
    help: "Let other users than the mounting one in. Users other than root need user_allow_other in /etc/fuse.conf.")
  var allowOther = false

  @Option(help: "How many threads serve requests. More than one is of use on a large host only.")
  var threads = 1

  @OptionGroup var logging: LogOptions

  /// Given to the process that serves in the background: see `Background`.
  @Flag(help: .private)
  var startedInBackground = false

  func validate() throws {
    guard (1...1024).contains(threads) else { throw ValidationError("--threads takes a number from 1 to 1024") }
  }

  func run() throws {
    if background {
      try Background.start(self, at: Mountpoint(mountpoint))
      return
    }
    if startedInBackground { Background.closeInherited() }
    // Before there is any other thread: each inherits it.
    let signals = Signals.block()
    let log = logging.start()
    let description = try settings.machine(machine)
    let mountpoint = try Mountpoint(mountpoint)
    try mountpoint.prepare(log)
    try checkHost()
    var options = FuseServer.Options()
    options.allowOther = allowOther
    options.threads = threads
    let tree = try makeTree(of: description)
    let server: FuseServer
    do {
      server = try FuseServer(tree: tree, mountpoint: mountpoint.path, options: options)
      try server.mount()
    } catch {
      throw Failure(explainMounting(mountpoint.path, error))
    }
    signals.whenOneArrives { signal in
      log.info("ending: signal \(signal)")
      server.stop()
    }
    do {
      try server.serve {
        log.info("\(description.name) is mounted at \(mountpoint.path)")
        if startedInBackground { Background.report() }
      }
    } catch {
      throw Failure("\(mountpoint.path): the connection to the kernel broke: \(error)")
    }
    log.info("\(mountpoint.path) is unmounted")
  }

  /// What a mount needs of the host, so that it can be said in words.
  private func checkHost() throws(Failure) {
    let device = "/dev/fuse"
    do {
      try FileDescriptor.open(FilePath(device), .readWrite, options: .closeOnExec).close()
    } catch Errno.noSuchFileOrDirectory, Errno(rawValue: ENODEV), Errno.noSuchAddressOrDevice {
      throw Failure(
        "\(device) is missing: load the kernel's module with 'modprobe fuse', or give a container the device "
          + "(--device /dev/fuse --cap-add SYS_ADMIN)")
    } catch {
      throw Failure("\(device) cannot be opened: \(error); run as root, or ask for access to it")
    }
    let configuration = "/etc/fuse.conf"
    if allowOther, geteuid() != 0,
      !(contents(of: configuration) ?? "").split(separator: "\n").contains("user_allow_other")
    {
      throw Failure("--allow-other needs the line 'user_allow_other' in \(configuration), or root")
    }
  }

  private func explainMounting(_ path: FilePath, _ error: any Error) -> String {
    let advice =
      geteuid() == 0
      ? "a container needs --cap-add SYS_ADMIN, and perhaps --security-opt apparmor=unconfined"
      : "the package fuse3 must be installed, and the directory be your own"
    return "\(path): cannot be mounted: \(error); \(advice); --log-level debug shows what libfuse says"
  }
}
