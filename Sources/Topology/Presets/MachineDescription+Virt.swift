import MemoryTypes

/// QEMU's `virt` machines.
extension MachineDescription {
  /// Device addresses: QEMU's `hw/arm/virt.c`, `base_memmap`; the kernel's place is 2 MiB aligned above the start of RAM.
  static var aarch64: MachineDescription {
    let base: UInt64 = 0x4000_0000
    let region = Reservations.region
    let devices = [
      region(0, 0x07FF_FFFF, .mmio, "0.flash flash@0"),
      region(0x0800_0000, 0x0801_FFFF, .mmio, "GICD"),
      region(0x080A_0000, 0x08FF_FFFF, .mmio, "GICR"),
      region(0x0900_0000, 0x0900_0FFF, .mmio, "9000000.pl011 pl011@9000000"),
      region(0x0901_0000, 0x0901_0FFF, .mmio, "9010000.pl031 rtc-pl031"),
      region(0x1000_0000, 0x3EFE_FFFF, .mmio, "pcie@10000000"),
    ]
    return virt(
      "aarch64", "AArch64, 4 CPUs, 2 nodes of 2 GiB from 0x40000000 on", .aarch64, processors: 4, base: base,
      sizes: [.gib(2), .gib(2)], devices: devices, kernel: base + 0x20_0000, firmware: [])
  }

  /// Device addresses: QEMU's `hw/riscv/virt.c`, `virt_memmap`. OpenSBI keeps the first 512 KiB of RAM, and the kernel starts 2 MiB above.
  static var riscv64: MachineDescription {
    let base: UInt64 = 0x8000_0000
    let region = Reservations.region
    let devices = [
      region(0x0200_0000, 0x0200_FFFF, .mmio, "CLINT"),
      region(0x0C00_0000, 0x0C5F_FFFF, .mmio, "PLIC"),
      region(0x1000_0000, 0x1000_00FF, .mmio, "serial"),
      region(0x2000_0000, 0x23FF_FFFF, .mmio, "20000000.flash flash@20000000"),
      region(0x4000_0000, 0x7FFF_FFFF, .mmio, "pci@30000000"),
    ]
    return virt(
      "riscv64", "RISC-V, 4 CPUs, 2 nodes of 2 GiB from 0x80000000 on", .riscv64, processors: 4, base: base,
      sizes: [.gib(2), .gib(2)], devices: devices, kernel: base + 0x20_0000,
      firmware: [region(base, base + 0x7_FFFF, .bios, "Reserved")])
  }

  private static func virt(
    _ name: String, _ summary: String, _ architecture: Architecture, processors count: Int, base: UInt64,
    sizes: [ByteCount],
    devices: [ReservedRegion], kernel: UInt64, firmware: [ReservedRegion]
  ) -> MachineDescription {
    let processors = Processors(
      packages: 1, cores: count,
      caches: [
        .init(level: 1, kind: .data, size: .kib(32), ways: 4),
        .init(level: 1, kind: .instruction, size: .kib(32), ways: 4),
        .init(level: 2, kind: .unified, size: .mib(1), ways: 16, sharedByCores: count),
      ])
    let cpus = processors.cpus { _, core in core / (count / sizes.count) }
    var start = base
    let nodes = sizes.enumerated().map { id, size in
      defer { start += size.rawValue }
      return Node(id: NodeID(id), memory: [PhysicalRange(start: PhysicalAddress(start), size: size)])
    }
    let boot = nodes.flatMap { Reservations.boot($0, more: 755) }
    return MachineDescription(
      name: name, summary: summary, architecture: architecture, cpus: cpus, caches: processors.caches(of: cpus),
      nodes: nodes,
      distances: sizes.indices.map { from in sizes.indices.map { $0 == from ? 10 : 20 } },
      reserved: (devices + firmware + Reservations.kernel(at: kernel) + boot).inOrder)
  }
}
