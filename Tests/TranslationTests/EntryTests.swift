import MemoryTypes
import Testing
import Translation

/// Entries against the manuals, bit by bit, and against themselves over every set of flags.
struct EntryTests {
  @Test func x86EntriesHaveTheManualsBits() {
    let format = PageFormat.x86_64
    let frame = PhysicalAddress(0x1234_5000)
    #expect(format.leaf(frame, flags: [.present], level: 0) == 0x8000_0000_1234_5001)
    #expect(format.leaf(frame, flags: [.present, .executable], level: 0) == 0x1234_5001)
    #expect(
      format.leaf(frame, flags: [.present, .writable, .user, .accessed, .dirty], level: 0) == 0x8000_0000_1234_5067)
    #expect(
      format.leaf(frame, flags: [.present, .global, .writeThrough, .cacheDisable], level: 0) == 0x8000_0000_1234_5119)
    #expect(format.leaf(PhysicalAddress(0x20_0000), flags: [.present, .executable], level: 1) == 0x20_0081)
    #expect(format.leaf(frame, flags: [], level: 0) == 0x8000_0000_1234_5100)
    #expect(format.kind(0x8000_0000_1234_5100, level: 0) == .held)
    #expect(format.kind(0x20_1081, level: 1) == .leaf)  // bit 12 is PAT
    #expect(format.kind(0x20_2081, level: 1) == .reserved)
    #expect(format.kind(0x1000_0081, level: 3) == .reserved)
    #expect(PageFormat.pae.kind(0x1003, level: 2) == .reserved)
    #expect(PageFormat.pae.kind(0x1001, level: 2) == .table)
    #expect(PageFormat.pae.kind(0x0010_0000_0000_1001, level: 0) == .reserved)
  }

  @Test func armDescriptorsHaveTheManualsBits() {
    let format = PageFormat.aarch64_4k
    let frame = PhysicalAddress(0x1234_5000)
    let clean: UInt64 = 1 << 51 | 1 << 7
    let never: UInt64 = 1 << 53 | 1 << 54
    let base: UInt64 = 0x1234_5000 | 0b11 | 3 << 8 | 1 << 11
    #expect(format.leaf(frame, flags: [.present], level: 0) == base | 1 << 7 | never)
    #expect(format.leaf(frame, flags: [.present, .writable], level: 0) == base | clean | never)
    #expect(format.leaf(frame, flags: [.present, .writable, .dirty], level: 0) == base | 1 << 51 | never)
    #expect(format.leaf(frame, flags: [.present, .dirty], level: 0) == base | 1 << 7 | 1 << 55 | never)
    #expect(format.leaf(frame, flags: [.present, .user, .executable], level: 0) == base | 1 << 6 | 1 << 7 | 1 << 53)
    #expect(format.leaf(frame, flags: [.present, .executable], level: 0) == base | 1 << 7 | 1 << 54)
    #expect(format.leaf(frame, flags: [.present, .accessed], level: 0) == base | 1 << 7 | 1 << 10 | never)
    #expect(format.leaf(frame, flags: [.present, .global], level: 0) == base & ~(1 << 11) | 1 << 7 | never)
    #expect(format.leaf(PhysicalAddress(0x20_0000), flags: [.present], level: 1) & 0b11 == 0b01)
    #expect(format.kind(0x1000 | 0b01, level: 0) == .reserved)
    #expect(format.kind(0x1000 | 0b11, level: 1) == .table)
    #expect(format.kind(0x1000 | 0b01, level: 3) == .reserved)
  }

  @Test func riscvEntriesHaveTheManualsBits() {
    let format = PageFormat.sv39
    let frame = PhysicalAddress(0x8000_1000)
    let number: UInt64 = 0x80001 << 10
    #expect(format.leaf(frame, flags: [.present], level: 0) == number | 0b11)
    #expect(format.leaf(frame, flags: [.present, .writable, .executable, .user], level: 0) == number | 0b11111)
    #expect(format.leaf(frame, flags: [.present, .global, .accessed, .dirty], level: 0) == number | 0b1110_0011)
    #expect(format.leaf(frame, flags: [.present, .software0, .software1], level: 0) == number | 0b11_0000_0011)
    #expect(format.kind(number | 0b101, level: 0) == .reserved)  // W without R
    #expect(format.kind(number | 0b11, level: 1) == .reserved)  // misaligned
    #expect(format.kind(number | 0b01, level: 1) == .table)
    #expect(format.kind(number | 0b01, level: 0) == .reserved)
    #expect(format.kind(number | 0b1001_0001, level: 1) == .reserved)  // A, U or D in a table entry
  }

  /// NX above all: what goes in comes back, at every level, for every set of flags that the format has bits for.
  @Test(arguments: PageFormat.all) func everySetOfFlagsIsReadBack(format: PageFormat) {
    for level in 0..<format.levels where format.hasLeaves(level: level) {
      let address = PhysicalAddress(3 << format.shifts[level])
      for bits in UInt16(0)..<(1 << 11) {
        var flags = PageFlags(rawValue: bits)
        let raw = format.leaf(address, flags: flags, level: level)
        #expect(format.leafAddress(raw, level: level) == address)
        #expect(format.kind(raw, level: level) == (flags.contains(.present) ? .leaf : .held))
        if !flags.contains(.present) { flags.remove(.global) }
        if format.attributeMask == 0 { flags.subtract([.writeThrough, .cacheDisable]) }
        #expect(format.flags(raw) == flags, "\(format) level \(level)")
      }
    }
  }

  @Test func addressesAreCanonicalWhereTheHardwareSaysSo() {
    func check(_ format: PageFormat, _ address: UInt64) -> Bool { format.isCanonical(VirtualAddress(address)) }
    #expect(check(.x86_64, 0x7FFF_FFFF_FFFF) && !check(.x86_64, 0x8000_0000_0000))
    #expect(check(.x86_64, 0xFFFF_8000_0000_0000) && !check(.x86_64, 0xFFFF_7FFF_FFFF_FFFF))
    #expect(check(.x86_64_5level, 0x8000_0000_0000) && !check(.x86_64_5level, 0x0100_0000_0000_0000))
    #expect(check(.pae, 0xFFFF_FFFF) && !check(.pae, 0x1_0000_0000))
    #expect(check(.aarch64_4k, 0xFFFF_FFFF_FFFF) && !check(.aarch64_4k, 0x1_0000_0000_0000))
    #expect(check(.aarch64_4k, 0x5A00_FFFF_FFFF_FFFF), "the top byte of a user's address is ignored")
    #expect(!check(.aarch64_4k, 0xFFFE_FFFF_FFFF_FFFF) && check(.aarch64_4k, 0xFFFF_0000_0000_0000))
    #expect(check(.sv39, 0x3F_FFFF_FFFF) && !check(.sv39, 0x40_0000_0000))
    #expect(check(.sv48, 0xFFFF_8000_0000_0000) && !check(.sv48, 0x8000_0000_0000))
  }

  @Test func formatsAreFoundByName() {
    for format in PageFormat.all {
      #expect(PageFormat.named(format.name.description, for: format.architecture) == format)
    }
    #expect(PageFormat.named("sv39", for: .x86_64) == nil)
    #expect(PageFormat.names(for: .aarch64) == ["4k", "16k", "64k"])
    #expect(PageFormat.standard(for: .riscv64) == .sv39)
  }
}

/// The bits that the manuals reserve: an entry that has one of them set faults.
struct ReservedBitTests {
  struct Case: CustomTestStringConvertible {
    var format: PageFormat
    var level: Int
    /// A valid entry.
    var entry: UInt64
    var reserved: [ClosedRange<Int>]
    var document: String
    var testDescription: String { "\(format), level \(level), \(document)" }
  }

  static let cases: [Case] = [
    Case(format: .x86_64, level: 0, entry: 0x1003, reserved: [], document: "SDM 3A, table 4-20"),
    Case(format: .x86_64, level: 1, entry: 0x20_0083, reserved: [13...20], document: "SDM 3A, table 4-18"),
    Case(format: .x86_64, level: 1, entry: 0x1003, reserved: [], document: "SDM 3A, table 4-19"),
    Case(format: .x86_64, level: 2, entry: 0x4000_0083, reserved: [13...29], document: "SDM 3A, table 4-16"),
    Case(format: .x86_64, level: 3, entry: 0x1003, reserved: [7...7], document: "SDM 3A, table 4-15"),
    Case(format: .x86_64_5level, level: 4, entry: 0x1003, reserved: [7...7], document: "SDM 3A, table 4-14"),
    Case(format: .pae, level: 2, entry: 0x1001, reserved: [1...2, 5...8, 52...63], document: "SDM 3A, table 4-8"),
    Case(format: .pae, level: 1, entry: 0x1003, reserved: [52...62], document: "SDM 3A, table 4-10"),
    Case(format: .pae, level: 1, entry: 0x20_0083, reserved: [13...20, 52...62], document: "SDM 3A, table 4-9"),
    Case(format: .pae, level: 0, entry: 0x1003, reserved: [52...62], document: "SDM 3A, table 4-11"),
    Case(format: .sv39, level: 0, entry: 0x403, reserved: [54...63], document: "RISC-V II, 12.4.1"),
    Case(
      format: .sv39, level: 1, entry: 512 << 10 | 3, reserved: [10...18, 54...63], document: "RISC-V II, 12.3.2 step 6"),
    Case(
      format: .sv39, level: 2, entry: 1 << 28 | 3, reserved: [10...27, 54...63], document: "RISC-V II, 12.3.2 step 6"),
    Case(format: .sv48, level: 3, entry: 1 << 37 | 3, reserved: [10...36, 54...63], document: "RISC-V II, 12.5"),
    // U, A and D of an entry that leads to a table; W alone makes it a leaf that can be written but not read
    Case(
      format: .sv39, level: 1, entry: 0x401, reserved: [2...2, 4...4, 6...7, 54...63], document: "RISC-V II, 12.3.1"),
    Case(format: .aarch64_4k, level: 1, entry: 0x20_0001, reserved: [12...20], document: "DDI 0487, D8.3.1"),
    Case(format: .aarch64_4k, level: 2, entry: 0x4000_0001, reserved: [12...29], document: "DDI 0487, D8.3.1"),
    Case(format: .aarch64_16k, level: 1, entry: 0x200_0001, reserved: [12...24], document: "DDI 0487, D8.3.1"),
    Case(format: .aarch64_64k, level: 1, entry: 0x2000_0001, reserved: [12...28], document: "DDI 0487, D8.3.1"),
  ]

  @Test(arguments: cases) func exactlyTheseBitsAreReserved(_ given: Case) {
    #expect(given.format.kind(given.entry, level: given.level) != .reserved)
    for bit in 0..<64 where given.entry >> UInt64(bit) & 1 == 0 {
      let isReserved = given.format.kind(given.entry | 1 << UInt64(bit), level: given.level) == .reserved
      // an entry of level 1 whose X or R is set is a leaf, misaligned here; bit 7 makes a page of what leads to a table
      let changesKind =
        given.format.kind(given.entry, level: given.level) == .table
        && given.format.kind(given.entry | 1 << UInt64(bit), level: given.level) != .table
        && !given.reserved.contains { $0.contains(bit) }
      if changesKind { continue }
      #expect(isReserved == given.reserved.contains { $0.contains(bit) }, "bit \(bit)")
    }
  }

  /// Both AArch64 forms of execute-never, and what neither allows: users' code for the kernel, the kernel's for users (D8.4).
  @Test(arguments: [PageFormat.aarch64_4k, .aarch64_16k, .aarch64_64k]) func bothFormsOfExecuteNever(format: PageFormat)
  {
    let (pxn, uxn): (UInt64, UInt64) = (1 << 53, 1 << 54)
    let address = PhysicalAddress(1 << format.pageShift)
    #expect(format.leaf(address, flags: [.present, .user, .executable], level: 0) & (pxn | uxn) == pxn)
    #expect(format.leaf(address, flags: [.present, .executable], level: 0) & (pxn | uxn) == uxn)
    #expect(format.leaf(address, flags: [.present, .user], level: 0) & (pxn | uxn) == pxn | uxn)
    for raw in [UInt64(0), pxn, uxn, pxn | uxn] {
      let leaf = format.leaf(address, flags: [.present], level: 0) & ~(pxn | uxn) | raw
      #expect(format.flags(leaf).contains(.executable) == (raw & pxn == 0), "the kernel's")
      #expect(format.flags(leaf | 1 << 6).contains(.executable) == (raw & uxn == 0), "the users'")
      // the hierarchical forms, UXNTable and PXNTable, take the right away below
      let table = 0b11 | (raw & pxn) << 6 | (raw & uxn) << 6
      let users: PageFlags = [.present, .user, .executable]
      #expect(format.restrict(users, by: table, level: 1).contains(.executable) == (raw & uxn == 0))
      #expect(format.restrict([.present, .executable], by: table, level: 1).contains(.executable) == (raw & pxn == 0))
    }
  }
}
