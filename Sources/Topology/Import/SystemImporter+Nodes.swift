import MemoryTypes

extension SystemImporter {
  /// What the tree says of a node, before its memory has a place.
  struct NodeShape {
    var id: NodeID
    /// Where its files are; `nil` where the tree knows of no nodes.
    var path: String?
    /// Those that `cpulist` or `cpumap` name.
    var claimed: [CPUID]
    /// Those with a link in the node's directory.
    var linked: [CPUID]
    /// `MemTotal`, bytes.
    var managed: UInt64?
  }

  func nodeShapes() -> [NodeShape] {
    let root = "sys/devices/system/node"
    var ids = tree.instances(of: "node", in: root).filter { $0 < MachineDescription.maximumNodes }
    if let list = tree.text("\(root)/online"),
      let online = RangeList.parse(list: list, limit: MachineDescription.maximumNodes)
    {
      let both = ids.filter { online.contains($0) }
      if !both.isEmpty { ids = both }
    }
    guard !ids.isEmpty else {
      let all = numbers.values.sorted()
      return [NodeShape(id: NodeID(0), path: nil, claimed: all, linked: [], managed: memTotal("proc/meminfo"))]
    }
    return ids.map { id in
      let path = "\(root)/node\(id)"
      return NodeShape(
        id: NodeID(id), path: path, claimed: cpus(list: path + "/cpulist", mask: path + "/cpumap") ?? [],
        linked: tree.instances(of: "cpu", in: path).compactMap { numbers[$0] }, managed: memTotal(path + "/meminfo"))
    }
  }

  /// `MemTotal` of `/proc/meminfo` or of a node's, in bytes.
  private func memTotal(_ path: String) -> UInt64? {
    for line in (tree.text(path) ?? "").split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let index = words.firstIndex(of: "MemTotal:"), words.indices.contains(index + 1) else { continue }
      // More than 4 PiB is nobody's memory.
      return UInt64(words[index + 1]).flatMap { $0 < 1 << 42 ? $0 << 10 : nil }
    }
    return nil
  }

  func homes(of shapes: [NodeShape]) -> [CPUID: NodeID] {
    var homes: [CPUID: NodeID] = [:]
    for shape in shapes { for cpu in shape.linked where homes[cpu] == nil { homes[cpu] = shape.id } }
    for shape in shapes { for cpu in shape.claimed where homes[cpu] == nil { homes[cpu] = shape.id } }
    for cpu in numbers.values where homes[cpu] == nil { homes[cpu] = shapes[0].id }
    return homes
  }

  func distances(of shapes: [NodeShape]) -> [[Int]] {
    shapes.indices.map { row in
      let told = shapes[row].path.flatMap { tree.text($0 + "/distance") } ?? ""
      let values = told.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
      guard values.count == shapes.count else { return shapes.indices.map { $0 == row ? 10 : 20 } }
      return values.enumerated().map { column, value in
        if column == row { return 10 }
        return value < 10 ? 20 : min(value, 255)
      }
    }
  }

  /// The attributes of each node for its best initiators (`access0`), and for its best CPUs where these are others (`access1`); sysfs shows
  /// no more of the HMAT.
  func performance(of shapes: [NodeShape]) -> [MemoryPerformance] {
    let known = Set(shapes.map(\.id))
    var found: [MemoryPerformance] = []
    for shape in shapes {
      guard let path = shape.path else { continue }
      var seen: Set<NodeID> = []
      for access in ["access0", "access1"] {
        let files = "\(path)/\(access)/initiators"
        func value(_ name: String) -> Int? {
          tree.integer("\(files)/\(name)").flatMap { (0...Int(UInt32.max)).contains($0) ? $0 : nil }
        }
        guard let readLatency = value("read_latency"), let readBandwidth = value("read_bandwidth") else { continue }
        for id in tree.instances(of: "node", in: files).map({ NodeID($0) })
        where known.contains(id) && seen.insert(id).inserted {
          found.append(
            MemoryPerformance(
              initiator: id, target: shape.id, readLatency: readLatency,
              writeLatency: value("write_latency") ?? readLatency,
              readBandwidth: readBandwidth, writeBandwidth: value("write_bandwidth") ?? readBandwidth))
        }
      }
    }
    return found
  }
}
