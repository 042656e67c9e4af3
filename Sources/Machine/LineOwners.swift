internal import MemoryTypes
public import PhysicalMemory

/// The names under which lines hold frames (`alloc owner=NAME`). A name stays known until the machine is reset.
public struct LineOwners: Sendable {
  private var names: [String] = []
  private var numbers: [String: UInt32] = [:]
  /// Set in the owner's id where that is a name's number instead of a line's.
  private static let named: UInt32 = 1 << 31

  public func contains(_ name: String) -> Bool { numbers[name] != nil }

  /// The owner of that name; of a name that is not known, the owner that it will be if it is the next to be added.
  public func owner(_ name: String) -> FrameOwner {
    FrameOwner(.command, id: Self.named | (numbers[name] ?? UInt32(names.count)))
  }

  public mutating func add(_ name: String) {
    guard numbers[name] == nil else { return }
    numbers[name] = UInt32(names.count)
    names.append(name)
  }

  /// Nil for what no line has named.
  func name(of owner: FrameOwner) -> String? {
    guard owner.kind == .command, owner.id & Self.named != 0 else { return nil }
    let number = Int(owner.id & ~Self.named)
    return number < names.count ? names[number] : nil
  }
}

extension Machine {
  /// Who that is, for people: a name where the line gave one.
  public func name(of owner: FrameOwner) -> String { lineOwners.name(of: owner) ?? owner.description }
}
