internal import MemoryTypes
public import Synchronization
internal import Topology

/// The tables that lead from CPUs, nodes and frames to zones.
///
/// They are read without a lock, also while memory comes and goes. Each number is read and changed as a whole, and whoever followed one to a
/// zone takes that zone's lock and finds there what is true: at worst a zone that has nothing (any more), and `changes` is another than before.
struct Router: ~Copyable, @unchecked Sendable {
  /// By node index: how many CPUs it has.
  let cpuCounts: [Int]
  private let nodeCount: Int
  private let zoneCount: Int
  /// By node number: the node's index, -1 where there is none.
  private let nodeIndices: [Int16]
  /// By CPU number: its node's index, -1 where there is none.
  private let homes: HostArray<Int16>
  /// By CPU number and highest zone kind: the CPU's list of the zone that is asked first, where that is of the CPU's own node.
  let localLists: LocalLists
  /// By node index and highest zone kind: the zones that may serve, best first, `none` behind them (Linux's zonelists).
  private let lists: RoutingTable
  static let none = UInt16.max
  /// By zone: 1 where it is populated.
  private let populated: RoutingTable
  /// By section of 2^sectionShift frames: the zone's index + 1, 0 where there is no memory, `mixed` where there are several.
  let sections: RoutingTable
  let sectionShift: Int
  static let mixed = UInt16.max
  /// What is looked at seldom.
  private let plan = RoutingPlan()
  /// Holds the tables that the hot paths read.
  private let mapping: HostMapping

  /// `lists`: where the CPUs' lists lie.
  init(_ description: MachineDescription, _ layout: MachineLayout, lists: CPUListTable) throws(MemoryError) {
    let nodes = description.nodes
    nodeCount = nodes.count
    zoneCount = layout.zones.count
    var nodeIndices = [Int16](repeating: -1, count: (nodes.map(\.id.rawValue).max() ?? -1) + 1)
    for (index, node) in nodes.enumerated() { nodeIndices[node.id.rawValue] = Int16(index) }
    self.nodeIndices = nodeIndices
    cpuCounts = nodes.map { node in description.cpus.count { $0.node == node.id } }
    // At most 2048 sections, of a block at least: a page of the host, which is all that making a machine touches of them.
    let limit = layout.reachLimit
    var shift = 9
    while limit >> shift >= 1 << 11 { shift += 1 }
    sectionShift = shift
    let sectionCount = limit >> shift + 1
    let cpuCount = (description.cpus.map(\.id.rawValue).max() ?? -1) + 1
    let listCount = nodes.count * 6 * (zoneCount + 1)
    let first = LocalLists.size(cpuLimit: cpuCount)
    mapping = try HostMapping(
      size: first + (sectionCount + cpuCount + listCount + zoneCount) * 2, access: .readWrite)
    // SAFETY: arrays one behind the other in a mapping of their joint size.
    unsafe localLists = LocalLists(mapping.base, lists)
    let numbers = unsafe mapping.base + first
    unsafe sections = RoutingTable(numbers, count: sectionCount)
    unsafe homes = HostArray(numbers + sectionCount * 2, count: cpuCount)
    unsafe self.lists = RoutingTable(numbers + (sectionCount + cpuCount) * 2, count: listCount)
    unsafe populated = RoutingTable(numbers + (sectionCount + cpuCount + listCount) * 2, count: zoneCount)
    for cpu in 0..<cpuCount { homes[cpu] = -1 }
    for cpu in description.cpus { homes[cpu.id.rawValue] = Int16(nodeIndices[cpu.node.rawValue]) }
    rebuild(description, layout)
  }

  /// As at boot: all of a machine's memory is there, nothing else, and no CPU is known yet.
  func rebuild(_ description: MachineDescription, _ layout: MachineLayout) {
    let parts = layout.zones.enumerated().flatMap { index, zone in zone.present.map { (frames: $0, zone: index) } }
      .sorted { $0.frames.lowerBound < $1.frames.lowerBound }
    for part in plan.allParts { sections.fill(sections(of: part.frames), 0) }
    plan.set(parts)
    for part in parts {
      let touched = sections(of: part.frames)
      sections.fill(touched, UInt16(part.zone + 1))
      // Only the first and the last may be others' as well.
      if part.frames.lowerBound != touched.lowerBound << sectionShift { sections[touched.lowerBound] = Self.mixed }
      if part.frames.upperBound != touched.upperBound << sectionShift { sections[touched.upperBound - 1] = Self.mixed }
    }
    setLists(description, layout, populated: layout.zones.map { !$0.present.isEmpty }, cpusAreKnown: false)
  }

  /// The sections that frames lie in.
  private func sections(of frames: Range<Int>) -> Range<Int> {
    frames.lowerBound >> sectionShift..<(frames.upperBound - 1) >> sectionShift + 1
  }

  /// Notes that frames are a zone's now; with no zone: nobody's. All zones are locked.
  func move(_ frames: Range<Int>, to zone: Int?) {
    plan.move(frames, to: zone)
    let parts = plan.allParts
    for section in sections(of: frames) {
      let all = section << sectionShift..<(section + 1) << sectionShift
      let holders = parts.filter { $0.frames.overlaps(all) }
      if let only = holders.first {
        let isWhole = holders.count == 1 && only.frames.clamped(to: all) == all
        sections[section] = isWhole ? UInt16(only.zone + 1) : Self.mixed
      } else {
        sections[section] = 0
      }
    }
  }

  /// Follows zones that have got their first memory or lost their last (`build_all_zonelists`). All zones are locked.
  func setLists(
    _ description: MachineDescription, _ layout: MachineLayout, populated isPopulated: [Bool], cpusAreKnown: Bool
  ) {
    var hasMemory = [Bool](repeating: false, count: nodeCount)
    for (index, zone) in layout.zones.enumerated() where isPopulated[index] { hasMemory[zone.nodeIndex] = true }
    let orders = FallbackOrder.orders(
      of: description, hasMemory: hasMemory, cpuCounts: cpusAreKnown ? cpuCounts : nil)
    plan.set(orders: orders)
    for zone in 0..<zoneCount { populated[zone] = isPopulated[zone] ? 1 : 0 }
    for (node, order) in orders.enumerated() {
      for kind in 0..<6 {
        var next = (node * 6 + kind) * (zoneCount + 1)
        // Node by node; within a node from the highest zone down (`build_zonerefs_node`).
        for other in order {
          for zone in (other * layout.kindCount..<(other + 1) * layout.kindCount).reversed()
          where isPopulated[zone] && Int(layout.zones[zone].kind.rawValue) <= kind {
            lists[next] = UInt16(zone)
            next += 1
          }
        }
        lists[next] = Self.none
      }
    }
    for cpu in description.cpus {
      let node = home(cpu.id)
      for kind in 0..<6 {
        let first = lists[(node * 6 + kind) * (zoneCount + 1)]
        let isLocal = first != Self.none && layout.zones[Int(first)].nodeIndex == node
        localLists.set(cpu.id.rawValue, kind, zone: isLocal ? Int(first) : nil)
      }
    }
    plan.changes.add(1, ordering: .releasing)
  }

  /// How often lists have changed: who found nothing and sees another number than before looks again.
  var changes: UInt64 { plan.changes.load(ordering: .acquiring) }

  func nodeIndex(_ node: NodeID) -> Int? {
    guard nodeIndices.indices.contains(node.rawValue), nodeIndices[node.rawValue] >= 0 else { return nil }
    return Int(nodeIndices[node.rawValue])
  }

  /// The index of the CPU's node, -1 where there is no such CPU.
  @inline(__always)
  func home(_ cpu: CPUID) -> Int {
    UInt(bitPattern: cpu.rawValue) < UInt(bitPattern: homes.count) ? Int(homes[cpu.rawValue]) : -1
  }

  @inline(__always)
  func zoneList(_ node: Int, _ kind: ZoneKind) -> ZoneList {
    ZoneList(table: lists, start: (node * 6 + Int(kind.rawValue)) * (zoneCount + 1))
  }

  func isPopulated(_ zone: Int) -> Bool { populated[zone] != 0 }

  /// The zone of a frame in a section that has several; -1 where there is no memory.
  func searchZone(of frame: Int) -> Int { plan.zone(of: frame) }

  /// All memory, ascending: frames, and the zone that they are in.
  var parts: [(frames: Range<Int>, zone: Int)] { plan.allParts }

  /// By node index: the node indices that stand in for it.
  var orders: [[Int]] { plan.allOrders }
}

/// Small numbers in host memory, each read and written as a whole, in no order with others.
@frozen @usableFromInline @safe struct RoutingTable: @unchecked Sendable {
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt16>>
  @usableFromInline let count: Int

  init(_ base: UnsafeMutableRawPointer, count: Int) {
    // SAFETY: the caller hands over `count` zeroed words, used as this type alone; zero is a valid Atomic.
    unsafe self.base = base.bindMemory(to: Atomic<UInt16>.self, capacity: count)
    self.count = count
  }

  @inlinable @inline(__always)
  subscript(_ index: Int) -> UInt16 {
    get {
      assert(index >= 0 && index < count)
      // SAFETY: inside the table, as asserted. Relaxed: what is read leads to a zone, whose lock orders the rest.
      return unsafe base[index].load(ordering: .relaxed)
    }
    nonmutating set {
      assert(index >= 0 && index < count)
      // SAFETY: as above.
      unsafe base[index].store(newValue, ordering: .relaxed)
    }
  }

  func fill(_ range: Range<Int>, _ value: UInt16) { for index in range { self[index] = value } }
}

/// Zones, best first, as they stand in a table that may change meanwhile.
struct ZoneList: Sequence {
  let table: RoutingTable
  let start: Int

  struct Iterator: IteratorProtocol {
    let table: RoutingTable
    var position: Int
    @inline(__always)
    mutating func next() -> Int? {
      let zone = table[position]
      if zone == Router.none { return nil }
      position += 1
      return Int(zone)
    }
  }

  @inline(__always)
  func makeIterator() -> Iterator { Iterator(table: table, position: start) }
  @inline(__always)
  var first: Int? {
    let zone = table[start]
    return zone == Router.none ? nil : Int(zone)
  }
}

/// The part of the router that is behind a lock.
private final class RoutingPlan: @unchecked Sendable {
  let changes = Atomic<UInt64>(0)
  private let lock = Lock()
  // Guarded by `lock`.
  private var parts: [(frames: Range<Int>, zone: Int)] = []
  private var orders: [[Int]] = []

  var allParts: [(frames: Range<Int>, zone: Int)] { lock.withLock { parts } }
  var allOrders: [[Int]] { lock.withLock { orders } }
  func set(_ parts: [(frames: Range<Int>, zone: Int)]) { lock.withLock { self.parts = parts } }
  func set(orders: [[Int]]) { lock.withLock { self.orders = orders } }

  /// Cuts the frames out of whose they were, and gives them to the zone.
  func move(_ frames: Range<Int>, to zone: Int?) {
    lock.withLock {
      var moved: [(frames: Range<Int>, zone: Int)] = []
      for part in parts {
        if part.frames.lowerBound < frames.lowerBound {
          moved.append((part.frames.lowerBound..<min(part.frames.upperBound, frames.lowerBound), part.zone))
        }
        if part.frames.upperBound > frames.upperBound {
          moved.append((max(part.frames.lowerBound, frames.upperBound)..<part.frames.upperBound, part.zone))
        }
      }
      if let zone { moved.append((frames, zone)) }
      moved.sort { $0.frames.lowerBound < $1.frames.lowerBound }
      parts = []
      for part in moved {
        if let last = parts.last, last.zone == part.zone, last.frames.upperBound == part.frames.lowerBound {
          parts[parts.count - 1].frames = last.frames.lowerBound..<part.frames.upperBound
        } else {
          parts.append(part)
        }
      }
    }
  }

  /// The zone whose part holds the frame; -1 where none does.
  func zone(of frame: Int) -> Int {
    lock.withLock {
      var low = 0
      var high = parts.count
      while low < high {
        let middle = (low + high) / 2
        if parts[middle].frames.lowerBound <= frame { low = middle + 1 } else { high = middle }
      }
      return low > 0 && parts[low - 1].frames.contains(frame) ? parts[low - 1].zone : -1
    }
  }
}
