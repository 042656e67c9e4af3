import MemoryTypes

/// What firmware and a booting kernel keep for themselves on a machine of one architecture.
///
/// Addresses and sizes are those that Linux 6.1 showed under QEMU.
enum Reservations {
  static func region(_ start: UInt64, _ last: UInt64, _ kind: ReservedRegion.Kind, _ text: String) -> ReservedRegion {
    ReservedRegion(
      range: PhysicalRange(start: PhysicalAddress(start), size: ByteCount(last - start + 1)), kind: kind,
      description: text)
  }

  /// The first MiB of a PC: e820's map of it, and the rest of its RAM, which Linux's `reserve_real_mode` and VeridianOS (frames 0-255)
  /// both leave alone.
  static let firstMegabyte = [
    region(0, 0xFFF, .bios, "Reserved"),
    region(0x1000, 0x9_FBFF, .boot, "Low memory"),
    region(0x9_FC00, 0x9_FFFF, .bios, "Reserved"),
    region(0xA_0000, 0xB_FFFF, .mmio, "PCI Bus 0000:00"),
    region(0xC_0000, 0xC_05FF, .mmio, "Video ROM"),
    region(0xC_0600, 0xE_FFFF, .mmio, ""),
    region(0xF_0000, 0xF_FFFF, .bios, "Reserved"),
    region(0xF_0000, 0xF_FFFF, .mmio, "System ROM"),
  ]

  /// What lies between the end of low RAM and 4 GiB on a PC, its ACPI tables (128 KiB, the last below `lowEnd`) included.
  /// - Parameter deviceStart: where the PCI window begins: `lowEnd`, or behind what lies between.
  static func deviceWindow(lowEnd: UInt64, deviceStart: UInt64) -> [ReservedRegion] {
    [
      region(lowEnd - 0x2_0000, lowEnd - 1, .acpi, "Reserved"),
      region(deviceStart, 0xFEBF_FFFF, .mmio, "PCI Bus 0000:00"),
      region(0xFEC0_0000, 0xFEC0_03FF, .mmio, "IOAPIC 0"),
      region(0xFED0_0000, 0xFED0_03FF, .mmio, "HPET 0"),
      region(0xFED0_0000, 0xFED0_03FF, .mmio, "PNP0103:00"),
      region(0xFEE0_0000, 0xFEE0_0FFF, .mmio, "Local APIC"),
      region(0xFFFC_0000, 0xFFFF_FFFF, .mmio, "Reserved"),
    ]
  }

  /// The kernel image, its parts as far apart as Debian's kernel has them. What lies between them is given back at boot.
  static func kernel(at base: UInt64) -> [ReservedRegion] {
    [
      region(base, base + 0xE0_1D31, .kernel, "Kernel code"),
      region(base + 0x100_0000, base + 0x18E_AFFF, .kernel, "Kernel rodata"),
      region(base + 0x1A0_0000, base + 0x1C4_897F, .kernel, "Kernel data"),
      region(base + 0x231_0000, base + 0x33F_FFFF, .kernel, "Kernel bss"),
    ]
  }

  /// A node's `struct page`s (64 bytes a frame) and `more` frames of early allocations, the highest of the node below `top`: Linux's
  /// memblock hands out from the top of the node. None where the node's last range below `top` is too small.
  static func boot(_ node: Node, frameSize: FrameSize = .kib4, top: UInt64? = nil, more: UInt64) -> [ReservedRegion] {
    guard let range = node.memory.last(where: { top == nil || $0.start.rawValue < top! }) else { return [] }
    let end = min(range.end.rawValue, top ?? .max)
    let frame = frameSize.bytes.rawValue
    let frames = node.memory.reduce(0) { $0 + $1.size.rawValue } / frame
    let map = (frames * 64 + frame - 1) / frame * frame
    guard range.start.rawValue + map + more * frame <= end else { return [] }
    return [
      region(end - map - more * frame, end - map - 1, .boot, "Early allocations of \(node.id)"),
      region(end - map, end - 1, .boot, "Frame descriptors of \(node.id)"),
    ]
  }
}

extension [ReservedRegion] {
  /// In the order of their addresses, those that hold others before them.
  var inOrder: [ReservedRegion] {
    enumerated().sorted { a, b in
      let (x, y) = (a.element.range, b.element.range)
      return (x.start, y.end, a.offset) < (y.start, x.end, b.offset)
    }.map(\.element)
  }
}
