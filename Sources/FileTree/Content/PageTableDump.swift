internal import MemoryTypes
internal import Translation

/// Page tables as Linux's ptdump prints them (mm/ptdump.c, and the `note_page` of each architecture's own dumper, Linux 6.1): a line for
/// entries that follow one another at one level with the same bits, and a heading where a part of the space begins.
struct PageTableDump: ~Copyable {
  private let format: PageFormat
  /// What lies below is left out.
  private let first: UInt64
  /// The bits that tell one run of entries from the next: those that a line shows, on x86 all but the address.
  private let shown: UInt64
  private var markers: [(start: UInt64, name: StaticString)]
  private var marker = 0
  /// The entries that the next line is about; nil before the first.
  private var run: Run?

  private struct Run {
    var start: UInt64
    var level: Int
    /// The entry's bits but for its address.
    var bits: UInt64
    var effective: PageFlags
    var physical: UInt64
  }

  /// What is told apart: Linux's names for what it has as well.
  init(_ format: PageFormat, from first: UInt64) {
    self.format = format
    let layout = format.layout
    let (map, heap) = (layout.physicalMap, layout.kernelHeap)
    self.first = first
    // `address_markers` of each architecture; those that end a part are where it has them.
    switch format.architecture {
    case .x86_64:
      shown = .max
      markers = [
        (0, "User Space"), (layout.kernel.first.rawValue, "Kernel Space"), (map.first.rawValue, "Low Kernel Mapping"),
        (heap.first.rawValue, "vmalloc() Area"),
      ]
    case .i386:
      shown = .max
      markers = [
        (0, "User Space"), (layout.kernel.first.rawValue, "Kernel Mapping"), (heap.first.rawValue, "vmalloc() Area"),
        (heap.last.rawValue &+ 1, "vmalloc() End"),
      ]
    case .aarch64:
      // PTE_GP, PTE_CONT, PTE_PXN and PTE_UXN; the twelve low bits but for bit 5
      shown = 1 << 50 | 7 << 52 | 0xFDF
      markers = [
        (map.first.rawValue, "Linear Mapping start"), (map.last.rawValue &+ 1, "Linear Mapping end"),
        (heap.first.rawValue, "vmalloc() area"), (heap.last.rawValue &+ 1, "vmalloc() end"),
      ]
    case .riscv64:
      // _PAGE_SOFT is bit 8 alone
      shown = 0x1FF
      markers = [
        (map.first.rawValue, "Linear mapping"), (heap.first.rawValue, "vmalloc() area"),
        (heap.last.rawValue &+ 1, "vmalloc() end"),
      ]
    }
    markers += [
      (layout.kernelStacks.first.rawValue, "Kernel stacks"),
      (layout.kernelStacks.last.rawValue &+ 1, "Kernel stacks end"), (layout.mmio.first.rawValue, "MMIO"),
    ]
  }

  /// The table's own half.
  mutating func note(entriesOf table: PageTable, into text: inout TextBuffer) {
    table.forEachEntry { if $0.address.rawValue >= first { note($0, into: &text) } }
  }

  /// A half in which nothing is mapped.
  mutating func note(gapAt address: UInt64, into text: inout TextBuffer) {
    let entry = TableEntry(address: VirtualAddress(address), level: format.rootLevel, raw: 0, effective: [])
    note(entry, into: &text)
  }

  /// `note_page`.
  private mutating func note(_ entry: TableEntry, into text: inout TextBuffer) {
    let bits = entry.raw & ~format.leafAddressMasks[entry.level] & shown
    let address = entry.address.rawValue
    let begins = nextMarker.map { address >= $0 } ?? false
    if let run {
      // what the tables on the way leave of it is looked at on x86 alone
      let isSame = bits == run.bits && entry.level == run.level && (shown != .max || entry.effective == run.effective)
      if isSame, !begins { return }
      print(run, end: address, into: &text)
      printMarkers(upTo: address, into: &text)
    } else {
      printHeading(into: &text)
      printMarkers(upTo: address, into: &text)
    }
    run = Run(
      start: address, level: entry.level, bits: bits, effective: entry.effective,
      physical: format.leafAddress(entry.raw, level: entry.level).rawValue)
  }

  /// The last line.
  consuming func finish(into text: inout TextBuffer) {
    if let run { print(run, end: 0, into: &text) }
  }

  private var nextMarker: UInt64? { marker + 1 < markers.count ? markers[marker + 1].start : nil }

  private mutating func printMarkers(upTo address: UInt64, into text: inout TextBuffer) {
    while let next = nextMarker, address >= next {
      marker += 1
      printHeading(into: &text)
    }
  }

  private func printHeading(into text: inout TextBuffer) {
    text.append("---[ ")
    text.append(markers[marker].name)
    text.append(" ]---\n")
  }

  // MARK: Lines

  private func print(_ run: Run, end: UInt64, into text: inout TextBuffer) {
    switch format.architecture {
    case .x86_64, .i386:
      printRange(run, end: end, into: &text)
      text.append(byte: 0x20)
      printX86(run, into: &text)
      text.append(string: format.linuxName(level: run.level))
    case .aarch64:
      printRange(run, end: end, into: &text)
      text.append(string: " " + format.linuxName(level: run.level).uppercased())
      if run.bits != 0 { printAArch64(run, into: &text) }
    case .riscv64:
      if run.bits == 0 { return }
      printRange(run, end: end, into: &text)
      text.append(string: " " + format.linuxName(level: run.level).uppercased())
      printRISCV(run, into: &text)
    }
    text.newline()
  }

  /// `START-END   SIZE` in the largest unit that divides it; on RISC-V with the physical address between.
  private func printRange(_ run: Run, end: UInt64, into text: inout TextBuffer) {
    let width = format.architecture == .i386 ? 8 : 16
    let mask: UInt64 = format.architecture == .i386 ? 0xFFFF_FFFF : .max
    text.append("0x")
    text.append(hex: run.start, width: width)
    text.append("-0x")
    text.append(hex: end & mask, width: width)
    text.append("   ")
    if format.architecture == .riscv64 {
      text.append(" 0x")
      text.append(hex: run.physical, width: width)
      text.append(byte: 0x20)
    }
    let units: StaticString = "KMGTPE"
    var size = ((end &- run.start) & mask) >> 10
    var unit = 0
    while size & 1023 == 0, unit + 1 < units.utf8CodeUnitCount {
      size >>= 10
      unit += 1
    }
    text.append(decimal: size, width: 9)
    // SAFETY: the unit is one of the string's.
    text.append(byte: unsafe units.utf8Start[unit])
  }

  /// `printk_prot` (arch/x86/mm/dump_pagetables.c).
  private func printX86(_ run: Run, into text: inout TextBuffer) {
    guard run.bits & 1 != 0 else {
      text.append(repeating: 0x20, count: 30)
      return
    }
    func has(_ bit: UInt64) -> Bool { run.bits >> bit & 1 != 0 }
    text.append(has(2) ? "USR " : "    ")
    text.append(has(1) ? "RW " : "ro ")
    text.append(has(3) ? "PWT " : "    ")
    text.append(has(4) ? "PCD " : "    ")
    text.append(run.level > 0 && has(7) ? "PSE " : "    ")
    text.append(has(run.level == 0 ? 7 : 12) ? "PAT " : "    ")
    text.append(has(8) ? "GLB " : "    ")
    text.append(has(63) ? "NX " : "x  ")
  }

  /// `pte_bits` (arch/arm64/mm/ptdump.c).
  private func printAArch64(_ run: Run, into text: inout TextBuffer) {
    func show(_ bit: UInt64, _ set: StaticString, _ clear: StaticString) {
      text.append(byte: 0x20)
      text.append(run.bits >> bit & 1 != 0 ? set : clear)
    }
    show(0, " ", "F")
    show(6, "USR", "   ")
    show(7, "ro", "RW")
    show(53, "NX", "x ")
    text.append(run.bits >> 8 & 3 == 3 ? " SHD" : "    ")
    show(10, "AF", "  ")
    show(11, "NG", "  ")
    show(52, "CON", "   ")
    show(1, "   ", "BLK")
    show(54, "UXN", "   ")
    show(50, "GP", "  ")
    // As `PageTable.memoryAttributes` numbers them.
    switch run.bits >> 2 & 7 {
    case 0: text.append(" MEM/NORMAL")
    case 1: text.append(" MEM/NORMAL-TAGGED")
    case 2: text.append(" MEM/NORMAL-NC")
    case 3: text.append(" DEVICE/nGnRnE")
    case 4: text.append(" DEVICE/nGnRE")
    default: break
    }
  }

  /// `pte_bits` (arch/riscv/mm/ptdump.c).
  private func printRISCV(_ run: Run, into text: inout TextBuffer) {
    text.append(run.bits >> 8 & 1 != 0 ? " RSW" : "    ")
    for (place, letter) in "DAGUXWRV".utf8.enumerated() {
      text.append(byte: 0x20)
      text.append(byte: run.bits >> UInt64(7 - place) & 1 != 0 ? letter : UInt8(ascii: "."))
    }
  }
}
