import MemoryTypes

/// What `/proc/iomem` says of physical addresses. Its addresses are all zero for readers without privilege, which is treated as no map.
struct ResourceMap {
  struct Entry {
    var range: PhysicalRange
    /// How many entries it lies inside.
    var depth: Int
    var name: String
    /// Whether it or one around it is System RAM.
    var isMemory: Bool
  }
  var entries: [Entry] = []

  /// - Parameter limit: addresses from here on are left out.
  init?(_ text: String, limit: UInt64) {
    var memory: [Bool] = []
    for line in text.split(separator: "\n") {
      let halves = line.split(separator: ":", maxSplits: 1)
      let depth = line.prefix { $0 == " " }.count / 2
      guard halves.count == 2, depth <= memory.count else { continue }
      let ends = halves[0].split(separator: " ").joined().split(separator: "-")
      guard ends.count == 2, let first = UInt64(ends[0], radix: 16), let last = UInt64(ends[1], radix: 16),
        first <= last,
        last < limit
      else { continue }
      let name = halves[1].drop { $0 == " " }
      memory.removeLast(memory.count - depth)
      memory.append((memory.last ?? false) || name.hasPrefix("System RAM"))
      entries.append(
        Entry(
          range: PhysicalRange(start: PhysicalAddress(first), size: ByteCount(last - first + 1)), depth: depth,
          name: String(name), isMemory: memory[depth]))
    }
    guard entries.contains(where: { $0.name.hasPrefix("System RAM") && $0.range.size.rawValue > 1 }) else { return nil }
  }

  /// The ranges of RAM, ascending and disjoint.
  var memory: [PhysicalRange] {
    entries.filter { $0.name.hasPrefix("System RAM") }.map(\.range).sorted { $0.start < $1.start }
  }
}
