internal import Topology

/// The order in which nodes stand in for each other (mm/page_alloc.c, `build_zonelists` and `find_next_best_node`, Linux 6.1).
///
/// As Linux builds it at boot, no CPU is known to be of any node yet, so that the penalty for nodes with CPUs has no effect. When lists are
/// built again, because a zone got its first memory or lost its last, CPUs are known: four-node's node 3 then asks node 2 before node 0.
enum FallbackOrder {
  /// Linux's MAX_NUMNODES on x86-64: the weight of a step of distance against a step of load.
  private static let maximumNodes = 1024

  /// For each node, the indices of all nodes with memory, best first; the node itself comes first even where it has none.
  ///
  /// - Parameter cpuCounts: by node index, how many CPUs are known to be there; nil at boot.
  static func orders(of description: MachineDescription, hasMemory: [Bool], cpuCounts: [Int]? = nil) -> [[Int]] {
    let nodes = description.nodes
    var load = [Int](repeating: 0, count: nodes.count)
    func distance(_ a: Int, _ b: Int) -> Int { description.distances[a][b] }
    return nodes.indices.map { local in
      var order = [local]
      var previous = local
      while true {
        var best: (node: Int, value: Int)?
        for candidate in nodes.indices where hasMemory[candidate] && !order.contains(candidate) {
          var value = distance(local, candidate)
          // Nodes behind this one first.
          if candidate < local { value += 1 }
          // PENALTY_FOR_NODE_WITH_CPUS.
          if let cpuCounts, cpuCounts[candidate] > 0 { value += 1 }
          value = value * maximumNodes + load[candidate]
          if best == nil || value < best!.value { best = (candidate, value) }
        }
        guard let next = best?.node else { break }
        // The first of each group at one distance carries a load, so that equals take turns.
        if distance(local, next) != distance(local, previous) { load[next] += 1 }
        order.append(next)
        previous = next
      }
      return order
    }
  }
}
