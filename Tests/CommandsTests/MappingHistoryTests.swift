import AddressSpaces
import Machine
import MemoryTypes
import Testing
import Topology
import Translation

/// Random orders and calls over the same few addresses: whatever is mapped over, forked, moved, cut or ended, nothing is lost and nothing
/// crashes, and when all is given up the machine is as it was.
@Suite struct MappingHistoryTests {
  @Test(
    arguments: [
      (Preset.fourNode, Paging?.none, 11), (.fourNode, .fiveLevel, 12), (.i386HighMemory, nil, 13), (.aarch64, nil, 14),
      (.aarch64, .granule16K, 15), (.riscv64, nil, 16), (.riscv64, .sv48, 17),
    ] as [(Preset, Paging?, UInt64)])
  func nothingIsLostWhateverIsMapped(preset: Preset, paging: Paging?, seed: UInt64) throws {
    var description = preset.machine
    if let paging { description.settings.paging = paging }
    // The huge page of zeros outlives its users.
    description.settings.thp = .never
    let console = try Console(description)
    let format = console.machine.format
    let booted = console.state
    var random = SplitMix64(seed: seed)
    let page = format.pageSize(level: 0).rawValue
    let large = format.pageSize(level: 1).rawValue
    let kernel = format.layout.mmio.first.rawValue + 1024 * page
    func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
    var frames: [UInt64] = []
    for order in [3, format.basePages(level: 1).trailingZeroBitCount + 1] {
      frames.append(UInt64(try console.answer("alloc order=\(order)").dropFirst(2).dropLast(), radix: 16)!)
    }
    let base: UInt64 = 0x4000_0000
    func address() -> UInt64 {
      switch random.below(6) {
      case 0, 1: base + UInt64(random.below(3)) * large
      case 2: kernel + UInt64(random.below(8)) * page
      default: base + UInt64(random.below(12)) * page
      }
    }
    let flags = [
      "PRESENT|WRITABLE|USER", "PRESENT|USER", "PRESENT|USER|EXECUTABLE", "PRESENT", "USER", "0",
      "PRESENT|WRITABLE|USER|NO_CACHE",
    ]
    for step in 0..<1200 {
      let (at, pid) = (address(), 1 + random.below(3))
      let count = 1 + random.below(4)
      let length = random.below(4) == 0 ? large : UInt64(count) * page
      let line =
        switch random.below(16) {
        case 0, 1:
          "map \(hex(at)) \(hex(frames[0] + UInt64(random.below(8)) * page)) flags=\(flags[random.below(7)]) pid=\(at >= kernel ? 0 : pid)"
        case 2: "map \(hex(at)) \(hex(frames[1] + UInt64(random.below(2)) * large)) size=\(large) pid=\(pid)"
        case 3: "unmap \(hex(at))" + (random.below(2) == 0 ? " \(count)" : "") + (at >= kernel ? "" : " pid=\(pid)")
        case 4: "protect \(hex(at)) flags=\(flags[random.below(7)])" + (at >= kernel ? "" : " pid=\(pid)")
        case 5: "translate \(hex(at)) pid=\(pid) cpu=\(random.below(2))"
        case 6: "tlb switch \(random.below(2)) \(random.below(4))"
        case 7: "tlb flush \(["full", "global", "single \(hex(at))", "range \(hex(at)) \(count)"][random.below(4)])"
        case 8: "[pid \(pid)] fork()"
        case 9: random.below(3) == 0 && pid > 1 ? "[pid \(pid)] exit(0)" : "free all"
        case 10: "[pid \(pid)] munmap(\(hex(at)), \(length))"
        case 11:
          "[pid \(pid)] mmap(\(hex(at)), \(length), PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|\(random.below(2) == 0 ? "MAP_FIXED" : "MAP_FIXED_NOREPLACE"), -1, 0)"
        case 12:
          "[pid \(pid)] mprotect(\(hex(at)), \(length), \(["PROT_NONE", "PROT_READ", "PROT_READ|PROT_WRITE"][random.below(3)]))"
        case 13:
          "[pid \(pid)] mremap(\(hex(at)), \(length), \(length), MREMAP_MAYMOVE|MREMAP_FIXED, \(hex(base + UInt64(random.below(3)) * large)))"
        case 14:
          "[pid \(pid)] madvise(\(hex(at)), \(length), \(["MADV_DONTNEED", "MADV_FREE", "MADV_COLD", "MADV_PAGEOUT", "MADV_REMOVE"][random.below(5)]))"
        default: "[pid \(pid)] \(random.below(2) == 0 ? "store(\(hex(at)), \"x\")" : "load(\(hex(at)), 4)")"
        }
      _ = console.refusal(line)
      if step % 300 == 299 { #expect(console.differences == [], "\(format), seed \(seed), step \(step): \(line)") }
    }
    for process in console.machine.users.pids where process.rawValue > 1 {
      _ = try console.answer("[pid \(process.rawValue)] exit(0)")
    }
    _ = try console.answer("[pid 1] munmap(\(hex(base)), \(4 * large))")
    for number in 0..<UInt64(16) { _ = console.refusal("unmap \(hex(kernel + number * page))") }
    _ = try console.answer("free all")
    #expect(console.state == booted, "\(format), seed \(seed)")
    #expect(console.differences == [], "\(format), seed \(seed)")
    #expect(try console.answer("dump_pt all").contains("SOFTWARE0") == false)
  }
}
