public import MemoryTypes

extension MachineDescription {
  /// The page format in force: the setting, else what Linux chooses where its rules hold, else the architecture's default.
  public var resolvedPaging: Paging {
    settings.paging ?? (settings.profile == .linux ? linuxPaging : nil) ?? architecture.defaultPaging
  }

  /// 4 KiB but on AArch64 with granules of 16 or 64 KiB.
  public var frameSize: FrameSize { resolvedPaging.frameSize }

  /// The kinds of zones in force, ascending: the `zones` setting, else the profile's for this architecture.
  public var resolvedZones: [ZoneKind] {
    settings.zones ?? Self.zones(profile: settings.profile, architecture: architecture)
  }

  /// The kinds of zones that a profile gives an architecture: the seed's, or those of Linux's default configurations
  /// (`arch/*/Kconfig`: ZONE_DMA, ZONE_DMA32, HIGHMEM).
  public static func zones(profile: Profile, architecture: Architecture) -> [ZoneKind] {
    switch (profile, architecture) {
    case (.veridian, .i386): [.dma, .normal, .high]
    case (.veridian, _): [.dma, .normal]
    case (.linux, .i386): [.dma, .normal, .high, .movable]
    case (.linux, .riscv64): [.dma32, .normal, .movable]
    case (.linux, _): [.dma, .dma32, .normal, .movable, .device]
    }
  }

  /// Whether Linux gets ready for transparent huge pages when it boots, be they in use or not: not below 512 MiB, and not where VeridianOS's
  /// rules hold (mm/huge_memory.c, `hugepage_init`).
  public var initializesHugePages: Bool {
    guard settings.profile == .linux else { return false }
    return nodes.reduce(0) { sum, node in node.memory.reduce(sum) { $0 + $1.size.rawValue } } > 512 << 20
  }

  /// What each zone in force spans: ascending, disjoint, and together everything that can be memory.
  ///
  /// A zone begins where the one before it ends. Zones that span nothing (Movable and Device until memory is given to them, AArch64's
  /// DMA32) have `start == end`. The last of DMA, DMA32, Normal and High that is present reaches to the end of physical addresses.
  /// Limits: DMA 16 MiB (Linux on AArch64: 4 GiB, `arch/arm64/mm/init.c`, `zone_sizes_init`), DMA32 4 GiB, Normal below High 4 GiB
  /// (Linux: 896 MiB, what a 32-bit kernel maps).
  public var zoneSpans: [ZoneSpan] {
    let shift = UInt64(frameSize.shift)
    let limit = UInt64(1) << UInt64(architecture.physicalAddressBits)
    let linux = settings.profile == .linux
    let kinds = resolvedZones
    let last = kinds.last { $0 < .movable }
    var start: UInt64 = 0
    return kinds.map { kind in
      let upper: UInt64 =
        switch kind {
        case _ where kind == last: limit
        case .dma: linux && architecture == .aarch64 ? 4 << 30 : 16 << 20
        case .dma32: 4 << 30
        case .normal: linux ? 896 << 20 : 4 << 30
        case .high: limit
        case .movable, .device: 0
        }
      let end = max(start, upper)
      defer { start = end }
      return ZoneSpan(kind: kind, start: FrameNumber(start >> shift), end: FrameNumber(end >> shift))
    }
  }
}
