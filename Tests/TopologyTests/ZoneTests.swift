import MemoryTypes
import Testing
import Topology

@Suite struct ZoneTests {
  /// Each zone's kind with its limits in MiB; `nil` is the end of physical addresses.
  private func spans(_ preset: Preset, _ profile: Profile, zones: [ZoneKind]? = nil, paging: Paging? = nil) -> [String]
  {
    var machine = preset.machine
    machine.settings.profile = profile
    machine.settings.zones = zones
    machine.settings.paging = paging
    let shift = UInt64(machine.frameSize.shift)
    let limit = UInt64(1) << UInt64(machine.architecture.physicalAddressBits)
    return machine.zoneSpans.map { zone in
      let end = zone.end.rawValue << shift
      return "\(zone.kind) \((zone.start.rawValue << shift) >> 20)-\(end == limit ? "" : String(end >> 20))"
    }
  }

  @Test func veridianHasTheSeedsZones() {
    #expect(spans(.fourNode, .veridian) == ["DMA 0-16", "Normal 16-"])
    #expect(spans(.i386HighMemory, .veridian) == ["DMA 0-16", "Normal 16-4096", "High 4096-"])
    #expect(spans(.riscv64, .veridian) == ["DMA 0-16", "Normal 16-"])
  }

  @Test func linuxHasEachArchitecturesZones() {
    #expect(spans(.fourNode, .linux).prefix(3) == ["DMA 0-16", "DMA32 16-4096", "Normal 4096-"])
    #expect(spans(.i386HighMemory, .linux).prefix(3) == ["DMA 0-16", "Normal 16-896", "High 896-"])
    #expect(spans(.aarch64, .linux).prefix(3) == ["DMA 0-4096", "DMA32 4096-4096", "Normal 4096-"])
    #expect(spans(.riscv64, .linux).prefix(2) == ["DMA32 0-4096", "Normal 4096-"])
    for preset in Preset.allCases {
      var machine = preset.machine
      machine.settings.profile = .linux
      let movable = machine.zoneSpans.first { $0.kind == .movable }
      #expect(movable != nil)
      #expect(movable?.start == movable?.end)
    }
  }

  @Test func theSettingOverrides() {
    #expect(spans(.fourNode, .linux, zones: [.normal]) == ["Normal 0-"])
    #expect(spans(.fourNode, .veridian, zones: [.dma32, .normal]) == ["DMA32 0-4096", "Normal 4096-"])
  }

  @Test func frameSizesFollowPaging() {
    #expect(Preset.fourNode.machine.frameSize == .kib4)
    var machine = Preset.aarch64.machine
    machine.settings.paging = .granule64K
    #expect(machine.frameSize == .kib64)
    #expect(spans(.aarch64, .linux, paging: .granule16K).first == "DMA 0-4096")
  }
}
