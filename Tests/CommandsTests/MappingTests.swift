import AddressSpaces
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology
import Translation

/// `map`, `unmap`, `protect`: the kernel's interface to address spaces, and what becomes of what it has mapped.
@Suite struct MappingTests {
  /// The kernel API of VeridianOS's page on memory management, in words.
  @Test func theKernelsInterfaceReadsAsItStands() throws {
    let console = try Console()
    // FRAME_ALLOCATOR.lock().allocate()
    let frame = try console.address("alloc")
    // page_mapper.map_page(page, frame, PRESENT | WRITABLE | USER)
    #expect(
      try console.answer("map 0x40000000 \(frame) flags=PRESENT|WRITABLE|USER pid=1")
        == "0x40000000 -> \(frame), page of 4 KiB\n")
    let walk = try console.answer("dump_pt 0x40000000").lines
    #expect(walk.last == "0x40000000 -> \(frame), page of 4 KiB PRESENT|WRITABLE|USER|SOFTWARE0")
    // zone_allocator.allocate_from_zone(ZoneType::DMA, order)
    let dma = try console.address("alloc zone=DMA order=3")
    #expect(try #require(UInt64(dma.dropFirst(2), radix: 16)) < 16 << 20)
    #expect(try console.answer("[pid 1] store(0x40000000, \"hello\")").contains("= 5 faults=0"))
    #expect(try console.answer("[pid 1] load(0x40000000, 5)").contains("\"hello\""))
    #expect(console.bytes(at: frame, 5) == Array("hello".utf8), "the process writes to the frame itself")
    #expect(console.differences == [])
  }

  /// A table that users may not enter is cached by a CPU, and comes to be one that they may: the fault that finds this out drops what is
  /// cached of the way.
  @Test func tablesComeToAllowMore() throws {
    let console = try Console()
    let frame = try console.address("alloc")
    _ = try console.answer("map 0x10000000000 \(frame) flags=PRESENT|WRITABLE")
    #expect(try console.answer("[pid 1] load(0x10000000000, 1)").contains("SIGSEGV"))
    let map = "mmap(0x10000001000, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    _ = try console.answer("[pid 1] " + map)
    #expect(try console.answer("[pid 1] store(0x10000001000, \"A\")").contains("= 1 faults=1"))
    #expect(try console.answer("[pid 1] load(0x10000002000, 1)").contains("faults=1"))
    #expect(try console.answer("[pid 1] load(0x10000000000, 1)").contains("SIGSEGV"))
    #expect(console.differences == [])
  }

  @Test(arguments: [Preset.fourNode, .i386HighMemory, .aarch64, .riscv64])
  func everyFormatMapsEveryPageSizeAndGivesItsTablesBack(preset: Preset) throws {
    let console = try Console(preset)
    let format = console.machine.format
    for level in 0..<2 {
      let before = console.state
      let size = format.pageSize(level: level)
      let frames = format.basePages(level: level)
      let vaddr = "0x\(String(8 * size.rawValue, radix: 16))"
      let frame = try console.address("alloc order=\(frames.trailingZeroBitCount)")
      let answer = try console.answer("map \(vaddr) \(frame) size=\(size.rawValue)")
      #expect(answer.hasPrefix("\(vaddr) -> \(frame), page of "), "\(preset): \(answer)")
      #expect(try console.answer("dump_pt \(vaddr)").lines.last?.contains("-> \(frame), page of") == true)
      #expect(try console.answer("unmap \(vaddr)").hasPrefix("unmapped "))
      #expect(try console.answer("free \(frame)").hasPrefix("freed "))
      #expect(console.state == before, "\(preset), level \(level): tables and frame are back")
    }
    let vaddr = "0x\(String(format.layout.mmio.first.rawValue + 1024 * format.pageSize(level: 0).rawValue, radix: 16))"
    let before = console.state
    let frame = try console.address("alloc")
    #expect(try console.answer("map \(vaddr) \(frame) flags=PRESENT|WRITABLE|GLOBAL|NO_CACHE").contains("-> \(frame)"))
    #expect(try console.answer("protect \(vaddr) flags=PRESENT").hasPrefix("protected "))
    #expect(try console.answer("dump_pt \(vaddr) pid=0").lines.last?.contains("WRITABLE") == false)
    #expect(try console.answer("translate \(vaddr) cpu=1").contains("-> \(frame)"))
    #expect(try console.answer("unmap \(vaddr) pid=0").hasPrefix("unmapped "))
    #expect(console.refusal("translate \(vaddr) cpu=1").errno == .badAddress)
    #expect(try console.answer("free \(frame)").hasPrefix("freed "))
    #expect(console.state == before && console.differences == [], "\(preset)")
  }

  @Test func badInputIsRefusedWithItsReasonAndChangesNothing() throws {
    let console = try Console()
    let frame = try console.address("alloc order=9")
    _ = try console.answer("map 0x50000000 \(frame)")
    let free = "0x64000000"  // of node 1, from which nobody has allocated
    let before = console.state
    let walk = try console.answer("dump_pt all")
    let refused: [(String, Errno, String)] = [
      ("map", .invalidArgument, "VADDR"), ("map 0x1000", .invalidArgument, "FRAME"),
      ("map 0x800000000000 \(frame)", .badAddress, "not canonical"),
      ("map 0xffff7ffffffff000 \(frame)", .badAddress, "not canonical"),
      ("map 0x60000001 \(frame)", .invalidArgument, "not aligned"),
      ("map 0x60001000 \(frame) size=2M", .invalidArgument, "not aligned"),
      ("map 0x60000000 \(frame) size=3M", .invalidArgument, "no pages of"),
      ("map 0x60000000 \(frame) size=512G", .invalidArgument, "no pages of"),
      ("map 0x60000000 0x\(String(console.number(frame) + 4096, radix: 16)) size=2M", .invalidArgument, "not aligned"),
      ("map 0x60000000 0x\(String(console.number(frame) + 8, radix: 16))", .invalidArgument, "multiple of 4096"),
      ("map 0x60000000 0xfffffffff000", .invalidArgument, "no memory"),
      ("map 0x60000000 0xfffffffffffff000", .invalidArgument, "no memory"),
      ("map 0x60000000 \(free)", .invalidArgument, "not allocated"),
      ("map 0x60000000 0x64200000", .notPermitted, "reserved"),
      ("map 0x60000000 \(console.page(of: 0x1000))", .notPermitted, "process 1"),
      ("map 0x60000000 \(frame) size=1G", .invalidArgument, "not aligned"),
      ("map 0x50000000 \(frame)", .fileExists, "0x50000000 is mapped already"),
      ("map 0x1000 \(frame)", .fileExists, "0x1000 is mapped already"),
      ("map 0x50000000 \(frame) size=2M", .fileExists, "0x50000000"),
      ("map 0xffff800000200000 \(frame)", .fileExists, "mapped already"),
      ("map 0xffff8fff00000000 \(frame)", .notPermitted, "keeps this part"),
      ("map 0xffffe00000000000 \(frame)", .notPermitted, "keeps this part"),
      ("map 0xfffff00000400000 \(frame) flags=PRESENT|USER", .invalidArgument, "kernel's half"),
      ("map 0xfffff00000400000 \(frame) flags=PRESENT|WRITABLE|EXECUTABLE", .permissionDenied, "W^X"),
      ("map 0xfffff00000400000 \(frame) pid=1", .invalidArgument, "users' half"),
      ("map 0x60000000 \(frame) pid=0", .invalidArgument, "kernel's half"),
      ("map 0x7ffffffff000 \(frame)", .invalidArgument, "users' half"),
      ("map 0x60000000 \(frame) flags=PRESENT|WRITABLE|USER|EXECUTABLE", .permissionDenied, "W^X"),
      ("map 0x60000000 \(frame) flags=WRITABLE", .invalidArgument, "not present"),
      ("map 0x60000000 \(frame) flags=PRESENT|USER|GLOBAL", .invalidArgument, "global"),
      ("map 0x60000000 \(frame) flags=PRESENT|SOFTWARE0", .invalidArgument, "SOFTWARE0"),
      ("map 0x60000000 \(frame) flags=PRESENT|SHINY", .invalidArgument, "\"SHINY\" at column 41"),
      ("map 0x60000000 \(frame) flags=", .invalidArgument, "no flag"),
      ("map 0x60000000 \(frame) flags=PRESENT|", .invalidArgument, "no flag"),
      ("map 0x60000000 \(frame) pid=9", .noSuchProcess, "process: 9"),
      ("unmap 0x60000000", .badAddress, "0x60000000 is not mapped"),
      ("unmap 0x50000000 2", .badAddress, "0x50001000 is not mapped"),
      ("unmap 0x1000", .notPermitted, "process 1 itself"),
      ("unmap 0xffff800000000000", .notPermitted, "the kernel itself"),
      ("unmap 0x50000001", .invalidArgument, "not aligned"), ("unmap 0x50000000 pid=0", .invalidArgument, "half"),
      ("unmap 0x800000000000", .badAddress, "not canonical"),
      ("unmap 0x50000000 0", .outOfRange, "\"0\""),
      ("unmap 0x50000000 18446744073709551615", .outOfRange, "18446744073709551615"),
      ("protect 0x50000000", .invalidArgument, "flags="),
      ("protect 0x50000000 flags=PRESENT|WRITABLE|USER|EXECUTABLE", .permissionDenied, "W^X"),
      ("protect 0x60000000 flags=PRESENT|USER", .badAddress, "not mapped"),
      ("protect 0x50000000 2 flags=PRESENT|USER", .badAddress, "0x50001000"),
      ("protect 0x1000 5 flags=PRESENT|USER", .badAddress, "0x5000"),
      ("protect 0x1000 flags=PRESENT", .invalidArgument, "PRESENT|USER"),
      ("protect 0x1000 flags=PRESENT|USER|WRITABLE|EXECUTABLE", .permissionDenied, "W^X"),
      ("protect 0xffff800000000000 flags=PRESENT|WRITABLE|EXECUTABLE", .permissionDenied, "W^X"),
      ("protect 0xffff800000000000 flags=PRESENT|USER", .invalidArgument, "kernel's half"),
      ("free \(frame)", .resourceBusy, "a mapping that map has made"),
      ("free all", .resourceBusy, "a mapping that map has made"),
      ("translate 0x800000000000", .badAddress, "not canonical"),
      ("translate 0x60000000", .badAddress, "is not mapped"),
      ("translate 0x1000 cpu=8", .invalidArgument, "CPU: 8"), ("translate 0x1000 pid=7", .noSuchProcess, "7"),
      ("translate 0x1000 cpu=3", .badAddress, "no process's space loaded"),
      ("tlb", .invalidArgument, "flush or switch"), ("tlb flash", .invalidArgument, "\"flash\" at column 5"),
      ("tlb flush", .invalidArgument, "lacks single|range|global|full"),
      ("tlb flush some", .invalidArgument, "\"some\""),
      ("tlb flush single", .invalidArgument, "ADDRESS alone"),
      ("tlb flush single 0x1000 2", .invalidArgument, "ADDRESS alone"),
      ("tlb flush range 0x1000", .invalidArgument, "ADDRESS and COUNT"),
      ("tlb flush full 0x1000", .invalidArgument, "nothing"),
      ("tlb flush single 0x800000000000", .badAddress, "not canonical"),
      ("tlb flush full cpus=0-8", .invalidArgument, "CPU: 8"), ("tlb flush full cpus=x", .invalidArgument, "\"x\""),
      ("tlb flush full cpus=", .invalidArgument, "no list"), ("tlb flush full cpus=3-1", .invalidArgument, "\"3-1\""),
      ("tlb switch 8 1", .invalidArgument, "CPU: 8"), ("tlb switch 0 5", .noSuchProcess, "5"),
      ("tlb switch 0", .invalidArgument, "PID"),
      ("dump_pt 0x2000-0x1000", .invalidArgument, "ends before"), ("dump_pt 0x1000-", .invalidArgument, "no number"),
      ("dump_pt all pid=4", .noSuchProcess, "4"),
    ]
    for (line, errno, part) in refused {
      let (got, reason) = console.refusal(line)
      #expect(got == errno && reason.contains(part), "\(line): \(reason)")
    }
    #expect(console.state == before)
    #expect(try console.answer("dump_pt all") == walk)
    #expect(console.differences == [])
  }

  @Test func whatIsMappedByHandLivesAsAMappingOfDevMemDoes() throws {
    let console = try Console()
    let before = console.state
    let frame = try console.address("alloc order=2")
    let second = "0x\(String(console.number(frame) + 4096, radix: 16))"
    _ = try console.answer("map 0x60000000 \(frame)\nmap 0x60001000 \(second)")
    let maps = console.machine.users.maps(console.machine.users.process(ProcessID(1))!)
    #expect(maps.contains("60000000-60001000 rw-s \(frame.dropFirst(2)) 00:05 4 "), "\(maps)")
    #expect(maps.contains("/dev/mem"))
    #expect(try console.answer("[pid 1] smaps(0x60000000, \"Rss\")").contains("= 0 kB"), "nobody's page is counted")
    #expect(console.refusal("[pid 1] madvise(0x60000000, 4096, MADV_DONTNEED)").reason.contains("-1 EINVAL"))
    #expect(console.refusal("[pid 1] mremap(0x60001000, 4096, 8192, MREMAP_MAYMOVE)").reason.contains("-1 EFAULT"))
    // A child shares the frames: nothing is copied.
    #expect(try console.answer("[pid 1] fork()").contains("= 2"))
    _ = try console.answer("[pid 2] store(0x60001000, \"child\")")
    #expect(try console.answer("[pid 1] load(0x60001000, 5)").contains("\"child\""))
    #expect(console.bytes(at: second, 5) == Array("child".utf8))
    #expect(console.refusal("free \(frame)").errno == .resourceBusy)
    // The kernel's word protects, the process is refused and goes on.
    _ = try console.answer("protect 0x60000000 flags=PRESENT|USER")
    #expect(console.refusal("[pid 1] store(0x60000000, \"x\")").reason.contains("SEGV_ACCERR"))
    #expect(try console.answer("[pid 2] store(0x60000000, \"x\")").contains("= 1"))
    #expect(try console.answer("[pid 1] mprotect(0x60000000, 4096, PROT_READ|PROT_WRITE)").contains("= 0"))
    #expect(try console.answer("[pid 1] store(0x60000000, \"y\")").contains("= 1"))
    _ = try console.answer("protect 0x60000000 flags=PRESENT")
    #expect(console.refusal("[pid 1] load(0x60000000, 1)").reason.contains("SEGV_ACCERR"), "not the user's")
    // Moved, unmapped by the process, by the kernel's word, and by exit: each gives up its hold.
    #expect(
      try console.answer("[pid 1] mremap(0x60001000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x70000000)")
        .contains("= 0x70000000"))
    #expect(try console.answer("[pid 1] load(0x70000000, 5)").contains("\"child\""))
    #expect(console.refusal("[pid 1] load(0x60001000, 1)").reason.contains("SEGV_MAPERR"))
    #expect(try console.answer("[pid 1] munmap(0x70000000, 4096)").contains("= 0"))
    #expect(try console.answer("unmap 0x60000000") == "unmapped 4 KiB at 0x60000000\n")
    #expect(console.refusal("free \(frame)").errno == .resourceBusy, "the child still maps both")
    #expect(try console.answer("[pid 2] exit(0)").contains("= ?"))
    #expect(try console.answer("free \(frame)") == "freed 4 frames\n")
    #expect(console.state == before)
    #expect(console.differences == [])
  }

  @Test func largePagesAreCutAtTheirEdgesAlone() throws {
    let console = try Console()
    let before = console.state
    let frame = try console.address("alloc order=10")
    let second = "0x\(String(console.number(frame) + (2 << 20), radix: 16))"
    _ = try console.answer("map 0x60000000 \(frame) size=2M\nmap 0x60200000 \(second) size=2M")
    for line in [
      "unmap 0x60000000 1", "unmap 0x60001000", "protect 0x60000000 511 flags=PRESENT|USER", "unmap 0x60000000 513",
    ] {
      let (errno, reason) = console.refusal(line)
      #expect(errno == .invalidArgument && reason.contains("not aligned"), "\(line): \(reason)")
    }
    for call in [
      "munmap(0x60001000, 4096)", "mprotect(0x60000000, 4096, PROT_READ)",
      "mremap(0x60000000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x70000000)",
    ] {
      #expect(console.refusal("[pid 1] \(call)").reason.contains("-1 EINVAL"), "\(call)")
    }
    #expect(try console.answer("[pid 1] fork()").contains("= 2"))
    #expect(try console.answer("dump_pt 0x60200000 pid=2").lines.last?.contains("page of 2 MiB") == true)
    #expect(try console.answer("protect 0x60000000 1K flags=PRESENT|USER").hasPrefix("protected 4 MiB"))
    #expect(console.refusal("[pid 1] store(0x603fffff, \"x\")").reason.contains("SEGV_ACCERR"))
    #expect(try console.answer("unmap 0x60000000 1K") == "unmapped 4 MiB at 0x60000000\n")
    _ = try console.answer("[pid 2] exit(0)")
    #expect(try console.answer("free \(frame)") == "freed 1024 frames\n")
    #expect(console.state == before && console.differences == [])
  }

  @Test func resetForgetsMappings() throws {
    let console = try Console()
    let booted = console.state
    let frame = try console.address("alloc")
    _ = try console.answer("map 0x60000000 \(frame)\nmap 0xfffff00000400000 \(frame)\nreset")
    #expect(console.state == booted)
    #expect(console.refusal("translate 0xfffff00000400000").errno == .badAddress)
    let again = try console.address("alloc")
    #expect(try console.answer("free \(again)") == "freed 1 frame\n")
  }

  // MARK: dump_pt

  @Test func dumpsRangesWholeSpacesAndRoots() throws {
    let console = try Console()
    let frame = try console.address("alloc order=1")
    _ = try console.answer(
      "map 0x60000000 \(frame)\nmap 0x60001000 0x\(String(console.number(frame) + 4096, radix: 16))")
    let both =
      "0x0000000060000000-0x0000000060002000 -> \(frame), 2 pages of 4 KiB PRESENT|WRITABLE|USER|SOFTWARE0\n"
    #expect(try console.answer("dump_pt 0x60000000-0x60002000") == both)
    #expect(try console.answer("dump_pt 0x50000000-1T") == both)
    #expect(try console.answer("dump_pt 0x60000000-0x60000001").contains("-> \(frame), 1 page of 4 KiB"))
    #expect(try console.answer("dump_pt 0x70000000-0x80000000") == "nothing is mapped there\n")
    let all = try console.answer("dump_pt all pid=1")
    #expect(all.contains(both) && all.contains("0x0000000000001000-0x0000000000005000 -> "))
    #expect(all.contains("0xffff800000000000-0xffff8000c0000000 -> 0x0, 3 pages of 1 GiB "))
    let kernel = try console.answer("dump_pt all pid=0")
    #expect(all.hasSuffix(kernel) && !kernel.contains("USER"))
    let root = try console.answer("dump_pt root pid=1")
    let table = try #require(try console.answer("dump_pt 0x1000").lines[0].split(separator: " ").dropFirst(2).first)
    #expect(root == "cr3=\(table)000\n")
    let arm = try Console(.aarch64).answer("dump_pt root").lines.map { $0.prefix { $0 != "=" } }
    #expect(arm == ["ttbr0", "ttbr1", "tcr", "mair"])
    #expect(try Console(.riscv64).answer("dump_pt root pid=0").hasPrefix("satp=0x8"))
  }

  // MARK: TLBs

  @Test func aCPUsTLBAnswersUntilItIsFlushed() throws {
    let console = try Console()
    func source(_ line: String) throws -> Substring {
      let answer = try console.answer(line)
      return answer.dropLast()[answer.firstRange(of: ": ")!.upperBound...]
    }
    #expect(try source("translate 0x1000 pid=1 cpu=2") == "walk of 4 entries")
    #expect(try source("translate 0x1000 cpu=2") == "hit in the L1 TLB")
    #expect(try source("translate 0xffff800040000000 cpu=2").hasPrefix("walk of "))
    #expect(try source("translate 0xffff800040000123 cpu=2") == "hit in the L1 TLB")
    #expect(try console.answer("tlb flush single 0x1000 cpus=2") == "1 other CPU has acknowledged, 4200 ns\n")
    #expect(try source("translate 0x1000 cpu=2").hasPrefix("walk of "))
    #expect(try source("translate 0xffff800040000000 cpu=2") == "hit in the L1 TLB")
    #expect(try console.answer("tlb flush global cpus=0-3").hasPrefix("3 other CPUs have acknowledged, 12600 ns"))
    #expect(try source("translate 0xffff800040000000 cpu=2") == "hit in the L1 TLB", "global entries stay")
    #expect(try source("translate 0x1000 cpu=2") == "walk of 4 entries")
    _ = try console.answer("tlb flush full cpus=2")
    #expect(try source("translate 0xffff800040000000 cpu=2").hasPrefix("walk of "))
    #expect(try console.answer("tlb flush range 0x1000 3").contains("acknowledged"))
    // A CPU on which a kernel thread runs keeps the space, and is not asked when it changes.
    #expect(try console.answer("tlb switch 3 1") == "CPU 3 runs process 1\n")
    #expect(try source("translate 0x1000 cpu=3") == "walk of 4 entries")
    #expect(try console.answer("tlb switch 3 0") == "CPU 3 runs the kernel, lazily\n")
    #expect(try console.answer("[pid 1] mprotect(0x1000, 4096, PROT_READ)").contains("= 0"))
    #expect(try console.answer("tlb switch 3 1") == "CPU 3 runs process 1\n")
    #expect(try source("translate 0x1000 cpu=3").hasPrefix("walk of "))
  }
}

extension Console {
  /// The address that `alloc` answers.
  fileprivate func address(_ line: String) throws -> String { String(try answer(line).dropLast()) }
  fileprivate func number(_ address: String) -> UInt64 { UInt64(address.dropFirst(2), radix: 16) ?? 0 }
  /// Where the page of process 1 lies.
  fileprivate func page(of address: UInt64) -> String {
    let answer = (try? answer("dump_pt \(address)")) ?? ""
    return String(answer.lines.last?.split(separator: " ")[2].dropLast() ?? "")
  }
  fileprivate func bytes(at address: String, _ count: Int) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: count)
    // SAFETY: the buffer is written while the array is held.
    unsafe buffer.withUnsafeMutableBytes {
      unsafe machine.memory.bytes.read(into: $0, at: PhysicalAddress(number(address)))
    }
    return buffer
  }
}
