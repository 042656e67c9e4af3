import SystemPackage
import Testing
import Topology

/// `sys/kernel/mm/transparent_hugepage`, as Linux 6.1 shows and takes it.
@Suite struct HugePageFileTests {
  private let directory = "sys/kernel/mm/transparent_hugepage/"

  @Test func showsLinuxsDefaults() throws {
    let served = try Served()
    let expected = [
      "enabled": "[always] madvise never", "defrag": "always defer defer+madvise [madvise] never",
      "shmem_enabled": "always within_size advise [never] deny force", "use_zero_page": "1",
      "hpage_pmd_size": "2097152",
      "khugepaged/defrag": "1", "khugepaged/pages_to_scan": "4096", "khugepaged/max_ptes_none": "511",
      "khugepaged/max_ptes_swap": "64", "khugepaged/max_ptes_shared": "256", "khugepaged/scan_sleep_millisecs": "10000",
      "khugepaged/alloc_sleep_millisecs": "60000", "khugepaged/pages_collapsed": "0", "khugepaged/full_scans": "0",
    ]
    for (name, text) in expected { #expect(try served.text(directory + name) == text + "\n", "\(name)") }
  }

  /// Nodes take turns, a node that is full is passed over, and a pool is no larger than memory.
  @Test func fillsThePoolsAtBoot() throws {
    var description = Preset.fourNode.machine
    func pools(_ served: Served) throws -> [Int] {
      try (0..<4).map {
        let count = try served.text("sys/devices/system/node/node\($0)/hugepages/hugepages-2048kB/nr_hugepages")
        return try #require(Int(count.dropLast()))
      }
    }
    description.settings.hugePages = 10
    let served = try Served(description)
    #expect(try pools(served) == [3, 3, 2, 2])
    try served.write("0", to: "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    _ = try served.command("reset")
    #expect(try pools(served) == [3, 3, 2, 2])
    description.settings.hugePages = 1_000_000
    let full = try Served(description)
    let most = try pools(full)
    #expect(most.allSatisfy { (440...512).contains($0) }, "\(most)")
    _ = try full.command("reset")
    #expect(try pools(full) == most)
  }

  @Test func takesOneOfTheWords() throws {
    let served = try Served()
    for (name, word, shown) in [
      ("enabled", "madvise", "always [madvise] never"), ("enabled", "never\n", "always madvise [never]"),
      ("defrag", "defer+madvise", "always defer [defer+madvise] madvise never"),
      ("shmem_enabled", "force\n", "always within_size advise never deny [force]"),
    ] {
      try served.write(word, to: directory + name)
      #expect(try served.text(directory + name) == shown + "\n")
    }
    for (name, word) in [
      ("enabled", "bogus"), ("enabled", "alwaysx"), ("enabled", "always "), ("defrag", "x"), ("shmem_enabled", "bog"),
    ] {
      let before = try served.text(directory + name)
      #expect(throws: Errno.invalidArgument) { try served.write(word, to: directory + name) }
      #expect(try served.text(directory + name) == before)
    }
  }

  @Test func takesNumbersInTheirRanges() throws {
    let served = try Served()
    for (name, good, bad) in [
      ("use_zero_page", ["0", "1\n"], ["2", "1x", "-1"]), ("khugepaged/defrag", ["0", "1"], ["2"]),
      ("khugepaged/pages_to_scan", ["1", "4294967295"], ["0", "4294967296", "-1"]),
      ("khugepaged/max_ptes_none", ["0", "511"], ["512"]), ("khugepaged/max_ptes_swap", ["0"], ["512"]),
      ("khugepaged/max_ptes_shared", ["100"], ["512", "-1"]),
      ("khugepaged/scan_sleep_millisecs", ["0", "4294967295"], ["4294967296"]),
      ("khugepaged/alloc_sleep_millisecs", ["5"], ["0x10"]),
    ] {
      for text in good {
        try served.write(text, to: directory + name)
        #expect(try served.text(directory + name) == text.split(separator: "\n")[0] + "\n")
      }
      for text in bad {
        #expect(throws: Errno.invalidArgument, "\(name) \(text)") { try served.write(text, to: directory + name) }
      }
    }
  }
}
