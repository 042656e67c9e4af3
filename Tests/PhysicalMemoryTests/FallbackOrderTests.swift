import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// A machine that a real kernel (Linux 6.1 under QEMU) booted on, and the "Fallback order for Node" lines that it printed.
struct RealOrder: CustomTestStringConvertible {
  var name: String
  /// Nodes that have CPUs alone.
  var memoryless: [Int]
  var distances: [[Int]]
  var orders: [[Int]]
  var testDescription: String { name }

  static let all = [
    RealOrder(
      name: "three nodes, a path", memoryless: [],
      distances: [
        [10, 30, 20],
        [30, 10, 15],
        [20, 15, 10],
      ],
      orders: [
        [0, 2, 1],
        [1, 2, 0],
        [2, 1, 0],
      ]),
    RealOrder(
      name: "five nodes, one of them without memory", memoryless: [2],
      distances: [
        [10, 21, 31, 12, 17],
        [21, 10, 12, 21, 12],
        [31, 12, 10, 12, 12],
        [12, 21, 12, 10, 17],
        [17, 12, 12, 17, 10],
      ],
      orders: [
        [0, 3, 4, 1],
        [1, 4, 3, 0],
        [2, 3, 4, 1, 0],
        [3, 0, 4, 1],
        [4, 1, 0, 3],
      ]),
    RealOrder(
      name: "a ring of six", memoryless: [],
      distances: [
        [10, 20, 30, 30, 30, 20],
        [20, 10, 20, 30, 30, 30],
        [30, 20, 10, 20, 30, 30],
        [30, 30, 20, 10, 20, 30],
        [30, 30, 30, 20, 10, 20],
        [20, 30, 30, 30, 20, 10],
      ],
      orders: [
        [0, 1, 5, 2, 3, 4],
        [1, 2, 0, 3, 4, 5],
        [2, 3, 1, 4, 5, 0],
        [3, 4, 2, 5, 0, 1],
        [4, 5, 3, 0, 1, 2],
        [5, 0, 4, 1, 2, 3],
      ]),
    RealOrder(
      name: "eight nodes, one of them without memory", memoryless: [4],
      distances: [
        [10, 11, 40, 40, 40, 11, 17, 11],
        [11, 10, 11, 11, 11, 17, 11, 40],
        [40, 11, 10, 17, 40, 11, 17, 28],
        [40, 11, 17, 10, 17, 17, 11, 28],
        [40, 11, 40, 17, 10, 28, 11, 11],
        [11, 17, 11, 17, 28, 10, 11, 17],
        [17, 11, 17, 11, 11, 11, 10, 11],
        [11, 40, 28, 28, 11, 17, 11, 10],
      ],
      orders: [
        [0, 1, 5, 7, 6, 2, 3],
        [1, 3, 2, 6, 0, 5, 7],
        [2, 5, 1, 3, 6, 7, 0],
        [3, 6, 1, 5, 2, 7, 0],
        [4, 6, 7, 1, 3, 5, 2, 0],
        [5, 6, 0, 2, 7, 1, 3],
        [6, 7, 1, 3, 5, 0, 2],
        [7, 0, 6, 5, 2, 3, 1],
      ]),
    RealOrder(
      name: "eight at one distance", memoryless: [],
      distances: [
        [10, 20, 20, 20, 20, 20, 20, 20],
        [20, 10, 20, 20, 20, 20, 20, 20],
        [20, 20, 10, 20, 20, 20, 20, 20],
        [20, 20, 20, 10, 20, 20, 20, 20],
        [20, 20, 20, 20, 10, 20, 20, 20],
        [20, 20, 20, 20, 20, 10, 20, 20],
        [20, 20, 20, 20, 20, 20, 10, 20],
        [20, 20, 20, 20, 20, 20, 20, 10],
      ],
      orders: [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [1, 2, 3, 4, 5, 6, 7, 0],
        [2, 3, 4, 5, 6, 7, 0, 1],
        [3, 4, 5, 6, 7, 0, 1, 2],
        [4, 5, 6, 7, 0, 1, 2, 3],
        [5, 6, 7, 0, 1, 2, 3, 4],
        [6, 7, 0, 1, 2, 3, 4, 5],
        [7, 0, 1, 2, 3, 4, 5, 6],
      ]),
  ]
}

@Suite struct FallbackOrderTests {
  @Test(arguments: RealOrder.all) func asARealKernelPrintedThem(real: RealOrder) throws {
    let nodes = real.distances.indices.map { node in
      real.memoryless.contains(node) ? [] : [(node + 1) * 8192..<(node + 2) * 8192]
    }
    let memory = try unguarded(
      machine(nodes, cpus: real.distances.indices.map { _ in 1 }, distances: real.distances))
    for (node, order) in real.orders.enumerated() {
      #expect(memory.fallbackOrder(of: NodeID(node)).map(\.rawValue) == order)
    }
  }
}
