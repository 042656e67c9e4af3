/// Something wrong with a description: what, and at which part of it.
public struct Mistake: Equatable, Sendable, CustomStringConvertible {
  /// A part of a description; numbers are indices, not ids.
  public enum Place: Hashable, Sendable {
    case machine
    case name
    case memoryBlockSize
    case cpus
    case cpu(Int)
    case cache(Int)
    case nodes
    case node(Int)
    case memory(node: Int, range: Int)
    case distances
    case distanceRow(Int)
    case reserved(Int)
    case performance(Int)
    case setting(String)
  }
  public var place: Place
  /// A sentence's worth, in lower case, without a full stop, with what was expected.
  public var text: String
  public var description: String { text }
}
