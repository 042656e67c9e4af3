internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Table {
  /// The `power` directory of a device that has no runtime power management (drivers/base/power/sysfs.c), below `path`.
  ///
  /// - Parameter hasCallbacks: false for a device that takes no part in power management of its own (`pm_runtime_no_callbacks`), and has
  ///   fewer files.
  static func powerRows(below path: String, hasCallbacks: Bool = true) -> [Row] {
    let document = "Documentation/ABI/testing/sysfs-devices-power"
    let directory = path + "/power"
    /// Which device: the path, and which instance of it.
    @Sendable func device(_ instance: Instance) -> DevicePower.Device {
      DevicePower.Device(path: path, outer: instance.outer, inner: instance.inner)
    }
    func fixed(_ name: String, _ text: StaticString) -> Row {
      Row(directory + "/" + name, 0o444, .text { (_, _, out) throws(Errno) in out.append(text) }, document)
    }
    let always = [
      Row(
        directory + "/async", 0o644,
        .attribute(
          { (machine, instance, text) throws(Errno) in
            text.append(machine.power.isAsynchronous(device(instance)) ? "enabled\n" : "disabled\n")
          },
          { (machine, instance, bytes) throws(Errno) in
            machine.power.setAsynchronous(try choose(bytes, ["disabled", "enabled"]) == 1, device(instance))
          }), document),
      fixed("runtime_active_kids", "0\n"), fixed("runtime_enabled", "disabled\n"),
      fixed("runtime_status", "unsupported\n"), fixed("runtime_usage", "0\n"),
    ]
    guard hasCallbacks else { return always }
    return always + [
      Row(
        directory + "/control", 0o644,
        .attribute(
          { (machine, instance, text) throws(Errno) in
            text.append(machine.power.isAlwaysOn(device(instance)) ? "on\n" : "auto\n")
          },
          { (machine, instance, bytes) throws(Errno) in
            machine.power.setAlwaysOn(try choose(bytes, ["auto", "on"]) == 1, device(instance))
          }), document, notify: true),
      // A device that does not use autosuspend: -EIO, both ways.
      Row(
        directory + "/autosuspend_delay_ms", 0o644,
        .attribute({ (_, _, _) throws(Errno) in throw .ioError }, { (_, _, _) throws(Errno) in throw .ioError }),
        document),
      fixed("runtime_active_time", "0\n"), fixed("runtime_suspended_time", "0\n"),
    ]
  }

  /// The `uevent` file of a device that sends no variables of its own below `path`: kobject_synth_uevent's actions, or EINVAL.
  static func ueventRow(_ path: String) -> Row {
    Row(
      path + "/uevent", 0o644,
      .attribute(
        { (_, _, _) throws(Errno) in },
        { (_, _, bytes) throws(Errno) in
          _ = try choose(bytes, ["add", "remove", "change", "move", "online", "offline", "bind", "unbind"])
        }), "Documentation/ABI/testing/sysfs-uevent")
  }
}
