internal import Machine
internal import MemoryTypes

/// A part of a path that stands for a number: which numbers there are, given those before it in the path.
struct Placeholder: Sendable {
  let values: @Sendable (Machine, Instance) -> [Int]
  let contains: @Sendable (Machine, Instance, Int) -> Bool
  /// Whether the numbers can change while the machine runs, so that nobody may cache a name.
  var changes = false
  /// What a number stands for that may stand for something else later.
  var subject: (@Sendable (Machine, Int) -> AnyObject?)?
}
