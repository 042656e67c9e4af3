import FileTree
import Foundation
import Glibc
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// `/proc/sys/vm`: what a real kernel answered, and what follows from what is written.
@Suite struct SysctlTests {
  private func linux() throws -> Served { try Served(.fourNode, profile: .linux) }

  private func set(_ served: Served, _ name: String, _ text: String) throws {
    try served.write(text + "\n", to: "proc/sys/vm/" + name)
  }
  private func value(_ served: Served, _ name: String) throws -> String {
    String(try served.text("proc/sys/vm/" + name).dropLast())
  }

  /// `\n`, `\t`, `\0` and `\x0b` back to the bytes that they stand for.
  private static func unescaped(_ text: Substring) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let kind = rest.popFirst() else {
        bytes.append(byte)
        continue
      }
      switch kind {
      case UInt8(ascii: "n"): bytes.append(0x0A)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "0"): bytes.append(0)
      default:
        bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
        rest = rest.dropFirst(2)
      }
    }
    return bytes
  }

  /// Every write and read of a program that a real kernel (6.1, on four-node) answered: how many bytes it took, or EINVAL, and what the entry
  /// held afterwards.
  @Test func answersAsARealKernel() throws {
    let served = try linux()
    let file = try #require(Bundle.module.url(forResource: "sysctl", withExtension: "txt", subdirectory: "Fixtures"))
    var count = 0
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
      count += 1
      if line.hasPrefix("write") {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
        let path = "proc/sys/vm/" + fields[1]
        let handle = try served.open(path, O_WRONLY)
        let bytes = Self.unescaped(fields[2])
        var taken = -1
        let error = failure { () throws(Errno) in
          taken = try handle.write(bytes, at: max(0, Int64(fields[3]) ?? 0))
        }
        handle.release()
        #expect(error == (fields[4] == "-1" ? .invalidArgument : nil), "\(line)")
        #expect(taken == Int(fields[4]), "\(line)")
        if fields[5] != "(Permission denied)" {
          #expect(try Array(served.text(path).utf8) == Self.unescaped(fields[5]), "\(line)")
        }
      } else {
        // read NAME SIZE@OFFSET = COUNT  [TEXT]
        let words = line.split(separator: " ")
        let place = words[2].split(separator: "@").compactMap { Int($0) }
        let handle = try served.open("proc/sys/vm/" + words[1])
        let found = try handle.read(place[0], at: Int64(place[1]))
        handle.release()
        let text = line[line.index(after: line.firstIndex(of: "[")!)...].dropLast()
        #expect(found == Self.unescaped(text) && found.count == Int(words[4]), "\(line)")
      }
    }
    #expect(count > 300)
    #expect(served.machine.withLock { served.machine.memory.verify() } == [])
  }

  @Test func watermarksFollow() throws {
    let served = try linux()
    func zones() throws -> ZoneNumbers { ZoneNumbers(try served.text("proc/zoneinfo")) }
    let before = try zones()
    // Everything that the kernel manages counts now, its init sections too: 107, not 108.
    try set(served, "min_free_kbytes", "112640")
    #expect(before.zones["0 DMA"]?["min"] == ["108"])
    #expect(try zones().zones["0 DMA"]?["min"] == ["107"])
    try set(served, "min_free_kbytes", "20000")
    let less = try zones()
    // 5000 pages over 1002815: what each zone manages of it.
    #expect(less.zones["0 DMA"]?["min"] == ["19"] && less.zones["0 DMA32"]?["min"] == ["1264"])
    #expect(less.zones["0 DMA32"]?["low"] == ["1580"] && less.zones["0 DMA32"]?["high"] == ["1896"])
    try set(served, "watermark_scale_factor", "1000")
    #expect(try zones().zones["0 DMA32"]?["low"] == ["\(1264 + 25365)"], "a tenth of what is managed")
    try set(served, "percpu_pagelist_high_fraction", "8")
    #expect(try zones().zones["0 DMA32"]?["high:"]?.first == "\(253_656 / 8 / 4)")
    try set(served, "lowmem_reserve_ratio", "128 1 1")
    #expect(try value(served, "lowmem_reserve_ratio") == "128\t1\t1\t0\t0")
    #expect(
      try zones().zones["0 DMA"]?["protection:"] == ["(0, 1981, 1981, 1981, 1981)"])
    try set(served, "lowmem_reserve_ratio", "0")
    #expect(try zones().zones["0 DMA"]?["protection:"] == ["(0, 0, 0, 0, 0)"])
    _ = try served.command("reset")
    let after = try zones()
    for zone in before.zones.keys { #expect(after.fixed(zone) == before.fixed(zone), "\(zone)") }
  }

  /// Of each pair what is set counts, and the other reads 0.
  @Test func pairsExcludeEachOther() throws {
    let served = try linux()
    for (one, other) in [
      ("dirty_bytes", "dirty_ratio"), ("dirty_background_bytes", "dirty_background_ratio"),
      ("overcommit_kbytes", "overcommit_ratio"),
    ] {
      let initial = try value(served, other)
      #expect(try value(served, one) == "0" && initial != "0")
      try set(served, one, "65536")
      #expect(try value(served, one) == "65536" && value(served, other) == "0")
      try set(served, other, initial)
      #expect(try value(served, one) == "0" && value(served, other) == initial)
    }
  }

  @Test func dirtyThresholdsAreSharesOfWhatCanBeDirty() throws {
    let served = try linux()
    func thresholds() throws -> [Int?] {
      let text = try served.text("proc/vmstat")
      return [text.value("nr_dirty_threshold"), text.value("nr_dirty_background_threshold")]
    }
    let zones = served.machine.memory.snapshot().nodes.flatMap(\.zones)
    // Free memory less the high watermarks and reserves, in 4096ths of the percentage (domain_dirty_limits).
    let dirtyable = zones.reduce(0) { sum, zone in
      sum + Int(zone.free.rawValue) - Int(zone.watermarks.high.rawValue)
        - Int(zone.watermarks.protection.map(\.rawValue).max()!)
    }
    #expect(try thresholds() == [819 * dirtyable / 4096, 409 * dirtyable / 4096])
    try set(served, "dirty_bytes", "40960000")
    #expect(try thresholds() == [10000, 5000], "the background begins at half of the limit at most")
    try set(served, "dirty_background_bytes", "4097")
    #expect(try thresholds() == [10000, 2])
  }

  /// `drop_caches` frees what is clean and unmapped, and `dirty_bytes` says when a writer has to write back.
  @Test func cachesAreDroppedAndDirtIsBounded() throws {
    let served = try linux()
    func number(_ path: String, _ label: String) throws -> Int { try #require(try served.text(path).value(label)) }
    let cached = try number("proc/meminfo", "Cached:")
    _ = try served.command("file create log")
    _ = try served.command("file write log size=8M data=abc")
    #expect(try number("proc/meminfo", "Dirty:") == 8192 && number("proc/meminfo", "Cached:") == cached + 8192)
    try set(served, "drop_caches", "1")
    #expect(try number("proc/meminfo", "Cached:") == cached + 8192, "what is dirty stays")
    _ = try served.command("file sync log")
    #expect(try number("proc/meminfo", "Dirty:") == 0)
    try set(served, "drop_caches", "2")
    #expect(try number("proc/meminfo", "Cached:") == cached + 8192, "2 is for slab alone")
    try set(served, "drop_caches", "3")
    #expect(try number("proc/meminfo", "Cached:") == cached)
    #expect(try number("proc/vmstat", "drop_pagecache") == 2 && number("proc/vmstat", "drop_slab") == 2)

    try set(served, "dirty_background_bytes", "65536")
    try set(served, "dirty_bytes", "1048576")
    let written = try number("proc/vmstat", "nr_written")
    _ = try served.command("file write log size=8M data=abc")
    #expect(try number("proc/meminfo", "Dirty:") <= 64, "the background has written back behind the line")
    #expect(try number("proc/vmstat", "nr_written") >= written + 2048 - 16)
    #expect(try served.command("check").hasPrefix("no difference, state "))
  }

  /// `compact_memory` makes whole blocks of what single movable frames are scattered over.
  @Test func memoryIsCompacted() throws {
    let served = try linux()
    func wholeBlocks() -> Int {
      served.machine.memory.drainLists()
      return served.machine.memory.snapshot().nodes[1].zones.reduce(0) {
        $0 + $1.freeByOrder[9] + 2 * $1.freeByOrder[10]
      }
    }
    var lines: [String] = []
    for index in 0..<8192 {
      let line = try served.command("alloc node=1 type=movable owner=\(index % 16 == 0 ? "kept" : "gone")")
      if index % 4096 == 0 { lines.append(line) }
    }
    _ = try served.command("free owner=gone")
    let before = wholeBlocks()
    try set(served, "compact_memory", "1")
    #expect(wholeBlocks() >= before + 12)
    #expect(try #require(try served.text("proc/vmstat").value("compact_isolated")) > 0)
    #expect(try served.command("free owner=kept") == "freed 512 frames in 512 allocations\n")
    #expect(try served.command("check").hasPrefix("no difference, state "))
  }

  /// The largest number that an entry without a sign takes, in all of them at once: every file can still be read, and memory be had.
  @Test func extremesAreHarmless() throws {
    for number in ["9223372036854775807", "18446744073709551615", "18446744073709547520"] {
      let served = try linux()
      for name in [
        "dirty_bytes", "dirty_background_bytes", "user_reserve_kbytes", "admin_reserve_kbytes", "overcommit_kbytes",
        "nr_overcommit_hugepages", "mmap_min_addr",
      ] { _ = failure { () throws(Errno) in try served.write(number, to: "proc/sys/vm/" + name) } }
      for mode in ["0", "1", "2"] {
        try set(served, "overcommit_memory", mode)
        _ = try served.command("mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)")
        _ = try served.command("mmap(NULL, 1099511627776, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)")
      }
      _ = try? served.command("file create log")
      #expect(try served.command("file write log size=64K data=abc") == "wrote 65536 bytes\n")
      for path in ["proc/meminfo", "proc/vmstat", "proc/zoneinfo", "proc/pagetypeinfo"] {
        #expect(try !served.text(path).isEmpty)
      }
      #expect(try served.command("check").hasPrefix("no difference, state "))
    }
  }

  @Test func overcommitIsLimited() throws {
    let served = try linux()
    func limit() throws -> Int? { try served.text("proc/meminfo").value("CommitLimit:") }
    #expect(try limit() == 2_005_628, "half of MemTotal")
    try set(served, "overcommit_ratio", "70")
    #expect(try limit() == 2_807_880, "as the oracle's kernel says")
    try set(served, "overcommit_kbytes", "1000")
    #expect(try limit() == 1000)
    try set(served, "overcommit_memory", "2")
    let map = "mmap(NULL, 2097152, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
    #expect(try served.command(map).contains("ENOMEM"))
    try set(served, "overcommit_memory", "1")
    #expect(try !served.command(map).contains("ENOMEM"))
    try set(served, "max_map_count", "1")
    #expect(try served.command(map.replacing("2097152", with: "4096")).contains("ENOMEM"))
  }

  /// As the oracle's kernel answered: pages of shared memory that were not promised when it was mapped count as they come.
  @Test func unpromisedPagesAreCountedAsTheyCome() throws {
    let served = try linux()
    func outcome(_ call: String) throws -> String {
      let line = try served.command("[pid 1] " + call)
      return String(line.split(separator: ") = ", maxSplits: 1)[1].dropLast())
    }
    let map = "mmap(0x100000000, 65536, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED|MAP_NORESERVE, -1, 0)"
    #expect(try outcome(map) == "0x100000000")
    #expect(try outcome("store(0x100000000, \"a\")") == "1 faults=1")
    try set(served, "overcommit_kbytes", "1")
    try set(served, "overcommit_memory", "2")
    for (call, expected) in [
      ("store(0x100000000, \"b\")", "1 faults=0"), ("store(0x100001000, \"b\")", "SIGBUS"),
      ("load(0x100002000, 1)", "SIGBUS"), ("load(0x100000000, 1)", "\"b\" faults=0"),
      ("madvise(0x100000000, 65536, MADV_POPULATE_WRITE)", "-1 EFAULT"),
      ("madvise(0x100003000, 4096, MADV_POPULATE_READ)", "-1 EFAULT"),
      ("mlock(0x100000000, 16384)", "-1 ENOMEM"), ("munlock(0x100000000, 16384)", "0"),
      ("smaps(0x100000000, \"Rss\")", "4 kB"), (map.replacing("0x100000000", with: "0x100100000"), "-1 ENOMEM"),
    ] {
      #expect(try outcome(call) == expected, "\(call)")
    }
    try set(served, "overcommit_memory", "0")
    #expect(try outcome("store(0x100001000, \"b\")") == "1 faults=1")
    #expect(try outcome("smaps(0x100000000, \"Rss\")") == "8 kB")
    #expect(try served.command("check").hasPrefix("no difference, state "))
  }

  @Test func numaCountersStopAndBeginAnew() throws {
    let served = try linux()
    func hits() throws -> [Int?] {
      [
        try served.text("sys/devices/system/node/node1/numastat").value("numa_hit"),
        try served.text("proc/vmstat").value("numa_hit"),
      ]
    }
    _ = try served.command("alloc node=1")
    #expect(try hits()[0] == 1)
    try set(served, "numa_stat", "0")
    #expect(try hits() == [0, 0])
    _ = try served.command("alloc node=1")
    #expect(try hits() == [0, 0])
    try set(served, "numa_stat", "1")
    #expect(try hits() == [0, 0])
    _ = try served.command("alloc node=1")
    #expect(try hits() == [1, 1])
  }

  /// Nodes take turns, as the oracle's kernel showed: 10 pages are 3, 3, 2 and 2, and 7 of them 2, 2, 1 and 2.
  @Test func hugePagesAreSpreadOverNodes() throws {
    let served = try linux()
    func pools() throws -> [String] {
      try (0..<4).map {
        try served.text("sys/devices/system/node/node\($0)/hugepages/hugepages-2048kB/nr_hugepages")
      }
    }
    try set(served, "nr_hugepages", "10")
    #expect(try pools() == ["3\n", "3\n", "2\n", "2\n"])
    #expect(try value(served, "nr_hugepages_mempolicy") == "10")
    #expect(try served.text("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") == "10\n")
    #expect(try served.text("proc/meminfo").value("CommitLimit:") == 1_995_388)
    try set(served, "nr_hugepages", "7")
    #expect(try pools() == ["2\n", "2\n", "1\n", "2\n"])
    try served.write("0\n", to: "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    #expect(try pools() == ["0\n", "0\n", "0\n", "0\n"])
    try set(served, "nr_overcommit_hugepages", "5")
    #expect(try served.text("sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages") == "5\n")
    #expect(try served.command("check").hasPrefix("no difference, state "))
  }
}
