import MemoryTypes

/// The machines that a real kernel was asked about, as it saw them.
extension MachineDescription {
  /// Two sockets, each a node of four CPUs, and two CPU-less nodes, 1 GiB each; the fourth lies behind the PCI window.
  ///
  /// QEMU tells its guest of one socket with eight cores, whatever the nodes; but for that the machine is as the kernel saw it.
  static var fourNode: MachineDescription {
    let processors = Processors(packages: 2, cores: 4, caches: .qemu(l3Cores: 4))
    let cpus = processors.cpus { package, _ in package }
    var nodes = [0, 1, 2, 4].enumerated().map { id, gib in
      Node(
        id: NodeID(id), memory: [PhysicalRange(start: PhysicalAddress(UInt64(gib) << 30), size: .gib(1))],
        kind: id < 2 ? .dram : .cxl)
    }
    var reserved = Reservations.firstMegabyte
    reserved += Reservations.deviceWindow(lowEnd: 0xC000_0000, deviceStart: 0xC000_0000)
    reserved += [
      Reservations.region(0x1_4000_0000, 0x1_BFFF_FFFF, .mmio, "PCI Bus 0000:00"),
      Reservations.region(0xFD_0000_0000, 0xFF_FFFF_FFFF, .mmio, "Reserved"),
    ]
    reserved += Reservations.kernel(at: 0x6420_0000)
    // Early allocations are what the kernel's own totals (MemTotal of each node) leave. Node 2's hold the 64 MiB of bounce buffers that
    // Linux takes below 4 GiB where there is memory above (swiotlb).
    reserved += Reservations.boot(nodes[0], more: 296)
    reserved += Reservations.boot(nodes[1], more: 820)
    reserved += Reservations.boot(nodes[2], top: 0xBFFE_0000, more: 16384 + 44)
    reserved += Reservations.boot(nodes[3], more: 755)
    // The image's init sections and gaps, and the initial ramdisk, both given back behind the first watermarks.
    nodes[1].lateMemory = .kib(4 * 2002)
    nodes[2].lateMemory = .kib(4 * 357)
    return MachineDescription(
      name: "four-node", summary: "x86-64, 2 sockets of 4 CPUs, 2 CPU-less nodes (CXL expanders), 4 x 1 GiB",
      architecture: .x86_64, cpus: cpus, caches: processors.caches(of: cpus), nodes: nodes,
      distances: [[10, 21, 17, 28], [21, 10, 28, 17], [17, 28, 10, 28], [28, 17, 28, 10]], reserved: reserved.inOrder,
      linuxPaging: .fiveLevel)
  }

  /// One CPU node with fast memory and one CPU-less node with slow memory, both described by HMAT.
  static var hmat: MachineDescription {
    let processors = Processors(packages: 2, cores: 1, caches: .qemu(l3Cores: 1))
    var cpus = processors.cpus { _, _ in 0 }
    // QEMU's CPUID makes Linux count dies on through the packages.
    for index in cpus.indices { cpus[index].die = index }
    var nodes = [0, 1].map { id in
      Node(
        id: NodeID(id), memory: [PhysicalRange(start: PhysicalAddress(UInt64(id) << 30), size: .gib(1))],
        kind: id == 0 ? .dram : .cxl)
    }
    let window = Reservations.deviceWindow(lowEnd: 0x8000_0000, deviceStart: 0xC000_0000)
    var reserved = Reservations.firstMegabyte + window
    reserved += [
      Reservations.region(0x8000_0000, 0xAFFF_FFFF, .mmio, "PCI Bus 0000:00"),
      Reservations.region(0xB000_0000, 0xBFFF_FFFF, .mmio, "PCI MMCONFIG 0000 [bus 00-ff]"),
      Reservations.region(0xB000_0000, 0xBFFF_FFFF, .mmio, "Reserved"),
      Reservations.region(0xB000_0000, 0xBFFF_FFFF, .mmio, "pnp 00:04"),
      Reservations.region(0xFEBF_F000, 0xFEBF_FFFF, .mmio, "0000:00:1f.2"),
      Reservations.region(0xFED1_C000, 0xFED1_FFFF, .mmio, "Reserved"),
      Reservations.region(0x1_0000_0000, 0x8_FFFF_FFFF, .mmio, "PCI Bus 0000:00"),
      Reservations.region(0xFD_0000_0000, 0xFF_FFFF_FFFF, .mmio, "Reserved"),
    ]
    reserved += Reservations.kernel(at: 0x3780_0000)
    reserved += Reservations.boot(nodes[0], more: 700)
    reserved += Reservations.boot(nodes[1], top: 0x7FFE_0000, more: 561)
    nodes[0].lateMemory = .kib(4 * 2002)
    nodes[1].lateMemory = .kib(4 * 357)
    return MachineDescription(
      name: "hmat", summary: "x86-64, 2 CPUs, 1 GiB of fast and 1 GiB of slow memory with attributes (HMAT)",
      architecture: .x86_64, cpus: cpus, caches: processors.caches(of: cpus), nodes: nodes,
      distances: [[10, 21], [21, 10]], reserved: reserved.inOrder,
      performance: [
        MemoryPerformance(
          initiator: NodeID(0), target: NodeID(0), readLatency: 80, writeLatency: 80, readBandwidth: 204_800,
          writeBandwidth: 204_800),
        MemoryPerformance(
          initiator: NodeID(0), target: NodeID(1), readLatency: 250, writeLatency: 250, readBandwidth: 32_768,
          writeBandwidth: 32_768),
      ], linuxPaging: .fiveLevel)
  }
}
