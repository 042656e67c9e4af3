import MemoryTypes

/// A regular arrangement of CPUs and caches, numbered as Linux numbers them on most machines: the first threads of all cores, then the
/// second ones.
struct Processors {
  var packages: Int
  /// In each package.
  var cores: Int
  /// In each core.
  var threads = 1
  /// By level, then kind.
  var caches: [CacheShape]

  struct CacheShape {
    var level: Int
    var kind: Cache.Kind
    var size: ByteCount
    var ways: Int
    /// How many cores of a package share one.
    var sharedByCores = 1
  }

  /// - Parameter node: where the CPUs of a core are, by package and core.
  func cpus(node: (_ package: Int, _ core: Int) -> Int) -> [CPU] {
    var cpus: [CPU] = []
    for thread in 0..<threads {
      for package in 0..<packages {
        for core in 0..<cores {
          let id = CPUID(cpus.count)
          cpus.append(CPU(id: id, package: package, core: core, thread: thread, node: NodeID(node(package, core))))
        }
      }
    }
    return cpus
  }

  func caches(of cpus: [CPU]) -> [Cache] {
    var made: [Cache] = []
    for shape in caches {
      for package in 0..<packages {
        for group in 0..<((cores + shape.sharedByCores - 1) / shape.sharedByCores) {
          let sharers = cpus.filter { $0.package == package && $0.core / shape.sharedByCores == group }.map(\.id)
          made.append(Cache(level: shape.level, kind: shape.kind, size: shape.size, ways: shape.ways, cpus: sharers))
        }
      }
    }
    return made
  }
}

extension [Processors.CacheShape] {
  /// What QEMU's default CPU model shows, `l3Cores` cores sharing the last level.
  static func qemu(l3Cores: Int) -> Self {
    [
      .init(level: 1, kind: .data, size: .kib(64), ways: 2),
      .init(level: 1, kind: .instruction, size: .kib(64), ways: 2),
      .init(level: 2, kind: .unified, size: .kib(512), ways: 16),
      .init(level: 3, kind: .unified, size: .mib(16), ways: 16, sharedByCores: l3Cores),
    ]
  }

  /// A common x86 of the 2020s with `l3` shared by `l3Cores` cores.
  static func common(l2: ByteCount, l3: ByteCount, l3Ways: Int = 16, l3Cores: Int) -> Self {
    [
      .init(level: 1, kind: .data, size: .kib(32), ways: 8),
      .init(level: 1, kind: .instruction, size: .kib(32), ways: 8),
      .init(level: 2, kind: .unified, size: l2, ways: 8),
      .init(level: 3, kind: .unified, size: l3, ways: l3Ways, sharedByCores: l3Cores),
    ]
  }
}
