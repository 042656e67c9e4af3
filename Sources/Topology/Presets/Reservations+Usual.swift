import MemoryTypes

extension Reservations {
  /// What firmware and kernel would keep on a machine of which only CPUs and memory are told: whatever of the usual regions has room there.
  static func usual(architecture: Architecture, nodes: [Node], frameSize: FrameSize) -> [ReservedRegion] {
    let memory = nodes.flatMap(\.memory).sorted { $0.start < $1.start }
    var regions: [ReservedRegion] = []
    func holds(_ start: UInt64, _ end: UInt64) -> Bool {
      memory.contains { $0.start.rawValue <= start && end <= $0.end.rawValue }
    }
    var kernelBase = MemoryLayout.base(of: architecture) + 0x20_0000
    if architecture == .x86_64 || architecture == .i386 {
      kernelBase = 0x100_0000
      if holds(0, 0x10_0000) { regions += firstMegabyte }
      // The device window lies behind the last memory below 4 GiB, if that leaves one.
      let lowEnd = memory.lazy.map(\.end.rawValue).filter { $0 <= 0xC000_0000 }.max() ?? 0
      let covered = memory.contains { $0.start.rawValue < 0x1_0000_0000 && $0.end.rawValue > 0xC000_0000 }
      if !covered, lowEnd >= 1 << 20 {
        let window = deviceWindow(lowEnd: lowEnd, deviceStart: max(lowEnd, 0x8000_0000))
        let hasRoom = lowEnd >= 64 << 20 && holds(lowEnd - (64 << 20), lowEnd)
        regions += window.filter { $0.kind == .mmio || hasRoom }
      }
    }
    let image = kernel(at: kernelBase)
    let imageEnd = kernelBase + 0x340_0000
    if holds(kernelBase, imageEnd + (64 << 20)) { regions += image }
    // Frame descriptors lie below the ACPI tables, and on 32-bit x86 in the lowest 896 MiB.
    let acpi = regions.first { $0.kind == .acpi }?.range
    for node in nodes {
      guard let last = node.memory.last else { continue }
      var top = last.end.rawValue
      if let acpi, last.contains(acpi.start) { top = acpi.start.rawValue }
      if architecture == .i386 { top = min(top, 896 << 20) }
      let start = max(last.start.rawValue, last.contains(PhysicalAddress(kernelBase)) ? imageEnd : 0)
      let early = boot(node, frameSize: frameSize, top: top, more: 755)
      // A node too small to spare it goes without.
      if let first = early.first, first.range.start.rawValue >= start + (16 << 20), first.range.start < last.end {
        regions += early
      }
    }
    return regions.inOrder
  }
}
