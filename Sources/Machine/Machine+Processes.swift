internal import AddressSpaces
public import MemoryTypes

extension Machine {
  /// In ascending order.
  public var processIDs: [ProcessID] { users.pids }
}
