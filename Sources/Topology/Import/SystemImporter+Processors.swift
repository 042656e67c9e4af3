import MemoryTypes

extension SystemImporter {
  private func directory(_ id: Int) -> String { "sys/devices/system/cpu/cpu\(id)" }

  /// CPUs of the tree that a file names, by list or by mask, as the description numbers them.
  func cpus(list: String, mask: String) -> [CPUID]? {
    let limit = MachineDescription.maximumCPUs
    let ids =
      tree.text(list).flatMap { RangeList.parse(list: $0, limit: limit) }
      ?? tree.text(mask).flatMap { RangeList.parse(mask: $0, limit: limit) }
    return ids?.compactMap { numbers[$0] }
  }

  func processors(homes: [CPUID: NodeID]) -> [CPU] {
    numbers.sorted { $0.key < $1.key }.map { id, number in
      let topology = directory(id) + "/topology/"
      let siblings = cpus(list: topology + "thread_siblings_list", mask: topology + "thread_siblings") ?? []
      // Linux prints -1 where the architecture does not say.
      func value(_ file: String, missing: Int) -> Int {
        guard let value = tree.integer(topology + file), value >= 0, value <= Int(Int32.max) else { return missing }
        return value
      }
      return CPU(
        id: number, package: value("physical_package_id", missing: 0), die: value("die_id", missing: 0),
        core: value("core_id", missing: number.rawValue), thread: siblings.firstIndex(of: number) ?? 0,
        node: homes[number] ?? NodeID(0))
    }
  }

  /// Every cache once, by level, kind and first CPU. One whose sharers are not told is its CPU's own; ways that do not divide the size are
  /// taken as not known.
  func caches() -> [Cache] {
    struct Key: Hashable {
      var level: Int
      var kind: Cache.Kind
      var cpu: CPUID
    }
    var found: [Cache] = []
    var owned: Set<Key> = []
    for (id, number) in numbers.sorted(by: { $0.key < $1.key }) {
      let path = directory(id) + "/cache"
      for index in tree.instances(of: "index", in: path) {
        let files = "\(path)/index\(index)/"
        guard let level = tree.integer(files + "level"), (1...4).contains(level),
          let kind = tree.word(files + "type").flatMap({ Cache.Kind(rawValue: String($0)) }),
          let size = tree.word(files + "size").flatMap({ Quantity.parse($0) }), size > 0, size <= 1 << 40
        else { continue }
        var sharers = cpus(list: files + "shared_cpu_list", mask: files + "shared_cpu_map") ?? []
        if !sharers.contains(number) { sharers = [number] }
        sharers = sharers.filter { !owned.contains(Key(level: level, kind: kind, cpu: $0)) }
        guard sharers.contains(number) else { continue }
        for cpu in sharers { owned.insert(Key(level: level, kind: kind, cpu: cpu)) }
        let line = max(0, min(tree.integer(files + "coherency_line_size") ?? 64, 1 << 16))
        var ways = max(0, min(tree.integer(files + "ways_of_associativity") ?? 0, 1 << 16))
        if line > 0, ways > 0, size % UInt64(line * ways) != 0 { ways = 0 }
        found.append(
          Cache(level: level, kind: kind, size: ByteCount(size), lineSize: line, ways: ways, cpus: sharers))
      }
    }
    let order: [Cache.Kind] = [.data, .instruction, .unified]
    func rank(_ cache: Cache) -> (Int, Int, Int) {
      (cache.level, order.firstIndex(of: cache.kind) ?? 0, cache.cpus.first?.rawValue ?? 0)
    }
    return found.sorted { rank($0) < rank($1) }
  }
}
