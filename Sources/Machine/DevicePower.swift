/// What has been written into devices' `power` directories. Nothing else comes of it: the devices have no power to manage.
public struct DevicePower: Sendable {
  /// A device: the path of its row, and which instance of the row's placeholders.
  public struct Device: Hashable, Sendable {
    let path: String
    let outer: Int
    let inner: Int
    public init(path: String, outer: Int, inner: Int) {
      self.path = path
      self.outer = outer
      self.inner = inner
    }
  }
  private var asynchronous: Set<Device> = []
  private var alwaysOn: Set<Device> = []

  /// `power/async`: off at first.
  public func isAsynchronous(_ device: Device) -> Bool { asynchronous.contains(device) }
  public mutating func setAsynchronous(_ on: Bool, _ device: Device) {
    if on { asynchronous.insert(device) } else { asynchronous.remove(device) }
  }
  /// `power/control`: `auto` at first, or `on`.
  public func isAlwaysOn(_ device: Device) -> Bool { alwaysOn.contains(device) }
  public mutating func setAlwaysOn(_ on: Bool, _ device: Device) {
    if on { alwaysOn.insert(device) } else { alwaysOn.remove(device) }
  }
}
