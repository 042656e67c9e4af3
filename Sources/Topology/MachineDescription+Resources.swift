public import MemoryTypes

/// A line of `/proc/iomem`.
public struct Resource: Equatable, Sendable {
  public var range: PhysicalRange
  public var name: String
  /// How many lines it lies inside.
  public var depth: Int
}

extension MachineDescription {
  /// What occupies physical addresses, as `/proc/iomem` lists it: ascending, each behind the one that it lies in.
  ///
  /// Memory that firmware and devices leave is System RAM; what the kernel took of it before it counted is part of that.
  /// - Parameter added: memory that was plugged in since the machine was made, in whole blocks.
  /// - Complexity: O(n log n) in the number of ranges and regions.
  public func resources(adding added: [PhysicalRange] = []) -> [Resource] {
    let named = reserved.filter { !$0.description.isEmpty && $0.kind != .boot && $0.range.size.rawValue > 0 }
    var all = named.map { Resource(range: $0.range, name: $0.description, depth: 0) }
    all += (systemMemory + added).map { Resource(range: $0, name: "System RAM", depth: 0) }
    // Of two alike the first given holds the other.
    let sorted = all.enumerated().sorted { a, b in
      (a.element.range.start, b.element.range.end, a.offset) < (b.element.range.start, a.element.range.end, b.offset)
    }
    var around: [PhysicalRange] = []
    return sorted.map { _, resource in
      while let last = around.last, last.end <= resource.range.start { around.removeLast() }
      var placed = resource
      placed.depth = around.count
      around.append(resource.range)
      return placed
    }
  }

  /// All nodes' memory less what is none to the operating system, adjacent ranges joined.
  private var systemMemory: [PhysicalRange] {
    let taken = reserved.filter { !$0.kind.isPresent && $0.range.size.rawValue > 0 }.map(\.range).sorted {
      $0.start < $1.start
    }
    var joined: [PhysicalRange] = []
    for range in nodes.flatMap(\.memory).sorted(by: { $0.start < $1.start }) where range.size.rawValue > 0 {
      if let last = joined.last, last.end == range.start {
        joined[joined.count - 1].size = last.size + range.size
      } else {
        joined.append(range)
      }
    }
    var left: [PhysicalRange] = []
    var next = 0
    for range in joined {
      var start = range.start
      while next > 0, taken[next - 1].end > start { next -= 1 }
      while next < taken.count, taken[next].start < range.end {
        if taken[next].start > start { left.append(Self.range(start, taken[next].start)) }
        start = max(start, taken[next].end)
        next += 1
      }
      if start < range.end { left.append(Self.range(start, range.end)) }
    }
    return left
  }

  private static func range(_ start: PhysicalAddress, _ end: PhysicalAddress) -> PhysicalRange {
    PhysicalRange(start: start, size: ByteCount(end.rawValue - start.rawValue))
  }
}
