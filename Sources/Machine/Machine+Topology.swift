public import MemoryTypes
public import Topology

/// What can be asked of a machine's shape, indexed once.
struct ShapeIndex: Sendable {
  /// Each node's place among the nodes; -1 where there is none. Index: the node's number.
  let nodes: [Int]
  let cpus: [CPUID: Int]
  let cpusOfNode: [NodeID: [CPUID]]
  let cachesOfCPU: [CPUID: [Cache]]
  /// The number of each cache among those of its level and kind.
  let cacheIDs: [CacheKey: Int]
  let bestPerformance: [NodeID: (performance: MemoryPerformance, initiators: [NodeID])]
  let hasHighMemory: Bool

  struct CacheKey: Hashable {
    let level: Int
    let kind: Cache.Kind
    let firstCPU: CPUID?
    init(_ cache: Cache) {
      level = cache.level
      kind = cache.kind
      firstCPU = cache.cpus.first
    }
  }

  init(_ description: MachineDescription) {
    var nodes = [Int](repeating: -1, count: (description.nodes.map(\.id.rawValue).max() ?? -1) + 1)
    for (index, node) in description.nodes.enumerated() { nodes[node.id.rawValue] = index }
    self.nodes = nodes
    cpus = Dictionary(uniqueKeysWithValues: description.cpus.enumerated().map { ($1.id, $0) })
    cpusOfNode = Dictionary(grouping: description.cpus, by: \.node).mapValues { $0.map(\.id) }
    var caches: [CPUID: [Cache]] = [:]
    var ids: [CacheKey: Int] = [:]
    var counts: [CacheKey: Int] = [:]
    for cache in description.caches {
      for cpu in cache.cpus { caches[cpu, default: []].append(cache) }
      var kind = CacheKey(cache)
      kind = CacheKey(level: kind.level, kind: kind.kind)
      ids[CacheKey(cache)] = counts[kind, default: 0]
      counts[kind, default: 0] += 1
    }
    cachesOfCPU = caches
    cacheIDs = ids
    bestPerformance = Self.bestPerformance(of: description)
    hasHighMemory = description.zoneSpans.contains { $0.kind == .high }
  }

  /// As drivers/acpi/numa/hmat.c ranks initiators: the nodes that reach a target at the least latency, then the largest bandwidth.
  private static func bestPerformance(
    of description: MachineDescription
  ) -> [NodeID: (performance: MemoryPerformance, initiators: [NodeID])] {
    var best: [NodeID: (performance: MemoryPerformance, initiators: [NodeID])] = [:]
    for entry in description.performance {
      func rank(_ entry: MemoryPerformance) -> (Int, Int, Int, Int) {
        (entry.readLatency, entry.writeLatency, -entry.readBandwidth, -entry.writeBandwidth)
      }
      if let known = best[entry.target] {
        if rank(entry) > rank(known.performance) { continue }
        if rank(entry) == rank(known.performance) {
          best[entry.target]?.initiators.append(entry.initiator)
          continue
        }
      }
      best[entry.target] = (entry, [entry.initiator])
    }
    return best
  }
}

extension ShapeIndex.CacheKey {
  fileprivate init(level: Int, kind: Cache.Kind) {
    self.level = level
    self.kind = kind
    firstCPU = nil
  }
}

extension Machine {
  public func node(_ id: NodeID) -> Node? { index(of: id).map { description.nodes[$0] } }
  /// The node's place among the description's nodes.
  private func index(of id: NodeID) -> Int? {
    guard shape.nodes.indices.contains(id.rawValue), shape.nodes[id.rawValue] >= 0 else { return nil }
    return shape.nodes[id.rawValue]
  }
  public func cpu(_ id: CPUID) -> CPU? { shape.cpus[id].map { description.cpus[$0] } }
  /// In ascending order.
  public func cpus(of node: NodeID) -> [CPUID] { shape.cpusOfNode[node] ?? [] }
  /// By level, data before instructions: `index0` is the first.
  public func caches(of cpu: CPUID) -> [Cache] { shape.cachesOfCPU[cpu] ?? [] }
  /// The number of a cache among those of its level and kind.
  public func id(of cache: Cache) -> Int { shape.cacheIDs[ShapeIndex.CacheKey(cache)] ?? 0 }
  /// How many bits a mask of CPUs has: the highest number and one more (Linux's nr_cpu_ids).
  public var cpuNumbers: Int { (description.cpus.last?.id.rawValue ?? 0) + 1 }

  /// The hardware threads of a CPU's core, itself among them.
  public func threads(of cpu: CPU) -> [CPUID] {
    description.cpus.lazy.filter { $0.package == cpu.package && $0.die == cpu.die && $0.core == cpu.core }.map(\.id)
  }
  /// The CPUs that share a CPU's second-level cache; its core's where it has none.
  public func cluster(of cpu: CPU) -> [CPUID] {
    caches(of: cpu.id).first { $0.level == 2 && $0.kind != .instruction }?.cpus ?? threads(of: cpu)
  }
  public func die(of cpu: CPU) -> [CPUID] {
    description.cpus.lazy.filter { $0.package == cpu.package && $0.die == cpu.die }.map(\.id)
  }
  public func package(of cpu: CPU) -> [CPUID] { description.cpus.lazy.filter { $0.package == cpu.package }.map(\.id) }

  /// The SLIT's row, in the order of the nodes.
  public func distances(from node: NodeID) -> [Int] { index(of: node).map { description.distances[$0] } ?? [] }

  /// What the best initiators of a node see of its memory; nil where the machine does not say.
  public func bestPerformance(of target: NodeID) -> MemoryPerformance? { shape.bestPerformance[target]?.performance }
  /// The nodes from which a node's memory is best reached.
  public func initiators(of target: NodeID) -> [NodeID] { shape.bestPerformance[target]?.initiators ?? [] }
  /// The nodes whose memory is best reached from a node.
  public func targets(of initiator: NodeID) -> [NodeID] {
    description.nodes.map(\.id).filter { shape.bestPerformance[$0]?.initiators.contains(initiator) == true }
  }
}
