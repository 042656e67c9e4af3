import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// `dump_pt`: what it prints is what lies in memory.
@Suite struct DumpTests {
  /// The words of a level's line: `PML4 frame 0x… index N entry 0x… …`.
  private struct Level {
    var name: Substring
    var table: UInt64
    var index: UInt64
    var entry: UInt64
    var meaning: String

    init?(_ line: Substring) {
      // Some architectures' levels have names of two words.
      let name = line.prefix(upTo: line.firstRange(of: " frame ")?.lowerBound ?? line.startIndex)
      let words: [Substring] = ["-"] + line.dropFirst(name.count).split(separator: " ")
      guard words.count > 7, words[1] == "frame", words[3] == "index", words[5] == "entry",
        let table = UInt64(words[2].dropFirst(2), radix: 16), let index = UInt64(words[4]),
        let entry = UInt64(words[6].dropFirst(2), radix: 16)
      else { return nil }
      (self.name, self.table, self.index, self.entry) = (name.prefix { $0 != " " }, table, index, entry)
      meaning = words[7...].joined(separator: " ")
    }
  }

  private func levels(_ answer: String) throws -> [Level] {
    try answer.lines.dropLast().map { line in try #require(Level(line), "\(line)") }
  }

  private func word(_ machine: Machine, at address: UInt64) -> UInt64 {
    var value: UInt64 = 0
    // SAFETY: eight bytes are read into eight.
    unsafe withUnsafeMutableBytes(of: &value) {
      unsafe machine.memory.bytes.read(into: $0, at: PhysicalAddress(address))
    }
    return value
  }

  @Test func walksFourLevelsToThePageOfProcessOne() throws {
    let console = try Console()
    let answer = try console.answer("dump_pt 0x1000")
    let levels = try levels(answer)
    #expect(levels.map(\.name) == ["PML4", "PDPT", "PD", "PT"])
    #expect(levels.map(\.index) == [0, 0, 0, 1])
    for (level, next) in zip(levels, levels.dropFirst()) {
      #expect(level.entry >> 12 & 0xFF_FFFF_FFFF == next.table, "each entry leads to the next table")
      #expect(level.meaning.hasPrefix("table at 0x\(String(next.table << 12, radix: 16))"), "\(level.meaning)")
    }
    for level in levels {
      #expect(word(console.machine, at: level.table << 12 + level.index * 8) == level.entry, "bit by bit in memory")
      // Intel SDM, volume 3, table 5-20: present, writable, user.
      #expect(level.entry & 7 == 7)
    }
    #expect(levels[3].entry >> 63 == 1, "data is not executable")
    let page = levels[3].entry & 0xF_FFFF_FFFF_F000
    #expect(
      answer.lines.last == "0x1000 -> 0x\(String(page, radix: 16)), page of 4 KiB PRESENT|WRITABLE|USER|DIRTY|ACCESSED")
    let inside = try console.answer("dump_pt 0x1abc")
    #expect(inside.lines.last?.hasPrefix("0x1abc -> 0x\(String(page + 0xABC, radix: 16)),") == true)
  }

  @Test func mapsPhysicalMemoryForTheKernelWithTheLargestPagesThatFit() throws {
    let console = try Console()
    for (offset, size) in [(UInt64(0), "1 GiB"), (0x4000_0000, "1 GiB"), (0x1_0000_0000, "1 GiB")] {
      let address = "0x" + String(0xFFFF_8000_0000_0000 + offset, radix: 16)
      let answer = try console.answer("dump_pt \(address)")
      let ends = answer.lines.last ?? ""
      #expect(ends.hasPrefix("\(address) -> 0x\(String(offset, radix: 16)), page of "), "\(answer)")
      if offset > 0 { #expect(ends.contains("page of \(size) "), "\(answer)") }
      #expect(ends.contains("GLOBAL") && !ends.contains("USER") && !ends.contains("EXECUTABLE"), "\(answer)")
      for level in try levels(answer) {
        #expect(word(console.machine, at: level.table << 12 + level.index * 8) == level.entry)
      }
    }
  }

  @Test func saysWhereAWalkEnds() throws {
    let console = try Console()
    func end(_ address: String) throws -> Substring { try console.answer("dump_pt \(address)").lines.last ?? "" }
    #expect(try end("0x5000") == "0x5000 is not mapped: the walk ends at PT")
    #expect(try end("0x200000") == "0x200000 is not mapped: the walk ends at PD")
    #expect(try end("1G") == "0x40000000 is not mapped: the walk ends at PDPT")
    #expect(try end("0x7fffffffffff") == "0x7fffffffffff is not mapped: the walk ends at PML4")
    // The PCI hole is no memory, and the map has it not.
    #expect(try end("0xffff8000c0000000").contains("is not mapped"))
    for address in ["0x800000000000", "0xffff7fffffffffff", "0x8000000000000000"] {
      #expect(try console.answer("dump_pt \(address)") == "\(address) is not canonical: there is nothing to walk\n")
    }
  }

  @Test func changesNothing() throws {
    let console = try Console()
    let before = console.state
    let first = try console.answer("dump_pt 0x1000")
    _ = try console.answer("dump_pt 0x123456789000")
    #expect(try console.answer("dump_pt 0x1000") == first)
    #expect(console.state == before)
  }

  /// Process 1's page lies at 0x1000 on every machine; the number of levels is its format's.
  @Test(arguments: [
    (Preset.fourNode, 4), (.largest, 4), (.i386HighMemory, 3), (.aarch64, 4), (.riscv64, 3),
  ])
  func walksEveryArchitecture(preset: Preset, depth: Int) throws {
    let console = try Console(preset)
    let answer = try console.answer("dump_pt 0x1000")
    #expect(answer.lines.last?.hasPrefix("0x1000 -> 0x") == true, "\(answer)")
    let levels = try levels(answer)
    #expect(levels.count == depth, "\(preset):\n\(answer)")
    for level in levels {
      #expect(word(console.machine, at: level.table << 12 + level.index * 8) == level.entry, "\(preset)")
    }
  }
}
