import Testing

/// Programs that know nothing of us, in a mount namespace of their own, with the machine's files over the host's.
@Suite(.serialized) struct ClientTests {
  /// Runs `command` with node, memory and cpu of the mount over the host's, and the rest read-only.
  private func overTheHost(_ command: String, _ path: String) -> Outcome {
    shell(
      """
      unshare -m sh -c '
        mount --make-rprivate / || exit 77
        for d in node memory cpu; do mount --bind $M/sys/devices/system/$d /sys/devices/system/$d || exit 77; done
        mount -o remount,bind,ro /sys || exit 77
        \(command)'
      """, path)
  }

  private static let numa = obstacle(toRunning: ["numactl", "numastat"])
  @Test(.enabled(if: numa == nil, Comment(rawValue: numa ?? "")))
  func numactlSeesFourNodes() throws {
    try withMachine { path in
      let hardware = overTheHost("numactl --hardware", path)
      #expect(hardware.lines.first == "available: 4 nodes (0-3)", "\(hardware.output)")
      #expect(hardware.lines.contains("node 0 cpus: 0 1 2 3") && hardware.lines.contains("node 1 cpus: 4 5 6 7"))
      #expect(hardware.lines.contains("node 2 cpus:") && hardware.lines.contains("node 3 cpus:"))
      let rows = ["0:  10  21  17  28", "1:  21  10  28  17", "2:  17  28  10  28", "3:  28  17  28  10"]
      #expect(hardware.lines.suffix(4).map { String($0.trimmed) } == rows, "\(hardware.output)")
      for node in 0..<4 {
        let total = shell("awk '/MemTotal/ {print int($4 / 1024)}' $NODES/node\(node)/meminfo", path).lines[0]
        #expect(hardware.lines.contains("node \(node) size: \(total) MB"), "\(hardware.output)")
      }
      let statistics = overTheHost("numastat", path)
      #expect(
        statistics.lines.first?.split(separator: " ") == ["node0", "node1", "node2", "node3"], "\(statistics.output)")
      shell("echo 'alloc node=1' > $MEMORY", path)
      let after = overTheHost("numastat", path)
      func hits(_ outcome: Outcome) -> [Int] {
        outcome.lines.first { $0.hasPrefix("numa_hit") }?.split(separator: " ").dropFirst().compactMap { Int($0) } ?? []
      }
      #expect(zip(hits(after), hits(statistics)).map(-) == [0, 1, 0, 0])
    }
  }

  private static let util = obstacle(toRunning: ["lscpu", "lsmem"])
  @Test(.enabled(if: util == nil, Comment(rawValue: util ?? "")))
  func lscpuAndLsmemSeeTheMachine() throws {
    try withMachine { path in
      let cpus = shell("lscpu -s $M", path)
      func field(_ name: String) -> String? {
        cpus.lines.first { $0.drop { $0 == " " }.hasPrefix(name) }?.split(separator: ":").last.map {
          String($0.trimmed)
        }
      }
      #expect(field("CPU(s):") == "8" && field("NUMA node(s):") == "4", "\(cpus.output)")
      #expect(field("NUMA node0 CPU(s):") == "0-3" && field("NUMA node1 CPU(s):") == "4-7", "\(cpus.output)")
      let memory = shell("lsmem -s $M -b -n -o RANGE,SIZE,STATE", path)
      #expect(memory.lines.contains { $0.contains("Total online memory:") } || !memory.output.isEmpty)
      let total = shell("lsmem -s $M -b", path)
      #expect(total.output.contains("4294967296"), "\(total.output)")
    }
  }

  private static let plug = obstacle(toRunning: ["lsmem", "chmem"])
  @Test(.enabled(if: plug == nil, Comment(rawValue: plug ?? "")))
  func chmemTakesBlocksAwayAndBringsThemBack() throws {
    try withMachine("four-node", ["--set", "profile=linux"]) { path in
      // chmem writes its words without a newline.
      let gone = overTheHost("chmem -v -b -d 9; lsmem -b -n -o RANGE,SIZE,STATE,ZONES", path)
      #expect(gone.lines.first == "Memory Block 9 (0x0000000048000000-0x000000004fffffff) disabled", "\(gone.output)")
      let words = gone.lines.map { $0.split(separator: " ").map { String($0) } }
      let expected = ["0x0000000048000000-0x000000004fffffff", "134217728", "offline", "DMA32/Movable"]
      #expect(words.contains(expected), "\(gone.output)")
      #expect(gone.output.contains("Total offline memory:         134217728"), "\(gone.output)")
      let back = overTheHost("chmem -v -b -e 9 -z Movable; cat /sys/devices/system/memory/memory9/valid_zones", path)
      #expect(back.lines.last == "Movable", "\(back.output)")
      #expect(shell("cat $M/proc/buddyinfo", path).output.contains("Node 1, zone  Movable"))
      // The kernel's image stays where it is.
      let busy = overTheHost("chmem -b -d 12", path)
      #expect(busy.status != 0 && busy.output.contains("disable failed: Device or resource busy"), "\(busy.output)")
      // By size: whatever can go, and comes back.
      let some = overTheHost("chmem -d 256M; lsmem -b -n; chmem -e 256M; lsmem -b -n", path)
      #expect(some.output.contains("Total offline memory:         268435456"), "\(some.output)")
      #expect(some.output.contains("Total offline memory:                 0"), "\(some.output)")
    }
  }

  @Test(.enabled(if: mountingObstacle == nil, Comment(rawValue: mountingObstacle ?? "")))
  func namesOfBlocksComeAndGo() throws {
    try withMachine { path in
      let missing = shell(
        "ls -d $NODES/node*/memory40 $M/sys/devices/system/memory/memory40; stat -c %s $M/dev/mem", path)
      #expect(missing.lines.last == "5368709120" && missing.output.contains("No such file"), "\(missing.output)")
      shell("echo 0x140000000 > $M/sys/devices/system/memory/probe && echo 'plug 3 128M' > $MEMORY", path)
      let there = shell("cd $NODES && ls -d node*/memory4[01]; cat node3/memory41/state; stat -c %s $M/dev/mem", path)
      #expect(
        there.lines == ["node0/memory40", "node3/memory41", "offline", "5637144576"], "\(there.output)")
      shell("echo reset > $MEMORY", path)
      let gone = shell("cat $NODES/node3/memory41/state; stat -c %s $M/dev/mem", path)
      #expect(gone.output.contains("No such file") && gone.lines.last == "5368709120", "\(gone.output)")
    }
  }

  private static let hwloc = obstacle(toRunning: ["lstopo-no-graphics"])
  @Test(.enabled(if: hwloc == nil, Comment(rawValue: hwloc ?? "")))
  func lstopoSeesTheMachine() throws {
    try withMachine { path in
      let topology = shell("lstopo-no-graphics --input $M --if fsroot --of console", path)
      #expect(topology.lines.filter { $0.contains("NUMANode") }.count == 4, "\(topology.output)")
      #expect(topology.lines.filter { $0.contains("PU L#") }.count == 8, "\(topology.output)")
    }
  }
}

extension Substring {
  var trimmed: Substring {
    var rest = drop { $0 == " " }
    while rest.last == " " { rest.removeLast() }
    return rest
  }
}
