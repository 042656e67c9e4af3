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

  /// Runs `command` with the machine's /proc over the host's, and its nodes; as process 1, which it finds there for itself.
  private func overProc(_ command: String, _ path: String) -> Outcome {
    shell(
      """
      unshare -mpf sh -c '
        mount --make-rprivate / || exit 77
        mount --bind $M/sys/devices/system/node /sys/devices/system/node && mount --bind $M/proc /proc || exit 77
        \(command)'
      """, path)
  }

  private static let processTools = obstacle(toRunning: ["numastat", "pmap", "ps"])
  @Test(.enabled(if: processTools == nil, Comment(rawValue: processTools ?? "")))
  func numastatPmapAndPsSeeProcesses() throws {
    try withMachine { path in
      shell(
        """
        say() { echo "$1" > $MEMORY; }
        say 'spawn hog cpu=5'
        say '[pid 2] mmap(0x10000000, 0x800000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)'
        say '[pid 2] madvise(0x10000000, 0x400000, MADV_POPULATE_WRITE)'
        """, path)
      let nodes = overProc("NUMASTAT_WIDTH=200 numastat -p 2", path)
      #expect(nodes.output.contains("for PID 2 (hog)"), "\(nodes.output)")
      let total = nodes.lines.first { $0.hasPrefix("Total") }?.split(separator: " ").dropFirst()
      #expect(total.map { Array($0) } == ["0.00", "4.00", "0.00", "0.00", "4.00"], "\(nodes.output)")
      let map = overProc("pmap -x 2", path)
      #expect(map.lines.first == "2:   hog", "\(map.output)")
      let area = map.lines.first { $0.hasPrefix("0000000010000000") }?.split(separator: " ")
      #expect(area?.dropFirst().prefix(4).map { String($0) } == ["8192", "4096", "4096", "rw---"], "\(map.output)")
      let list = overProc("exec ps -A -o pid,ppid,rss,comm --no-headers", path)
      #expect(
        list.lines.map { $0.split(separator: " ").map { String($0) } } == [
          ["1", "0", "16", "init"], ["2", "1", "4096", "hog"],
        ], "\(list.output)")
    }
  }

  @Test(.enabled(if: mountingObstacle == nil, Comment(rawValue: mountingObstacle ?? "")))
  func ddReadsAndWritesAProcess() throws {
    try withMachine { path in
      let outcome = shell(
        """
        printf hello | dd of=$M/proc/1/mem bs=5 seek=$((0x1010)) oflag=seek_bytes conv=notrunc 2>/dev/null
        dd if=$M/proc/self/mem bs=1 skip=$((0x1010)) count=5 2>/dev/null; echo
        dd if=$M/proc/1/mem bs=1 skip=$((0x5000)) count=5 2>&1 | grep -o 'Input/output error'
        dd if=$M/proc/1/pagemap bs=8 skip=1 count=1 2>/dev/null | od -An -tx1 | cut -d' ' -f9
        dd if=$M/proc/1/pagemap bs=7 count=1 2>&1 | grep -o 'Invalid argument'
        echo 5 > $M/proc/1/oom_score_adj; cat $M/proc/1/oom_score_adj; { echo 1001 > $M/proc/1/oom_score_adj; } 2>/dev/null || echo refused
        echo 'spawn one' > $MEMORY; ls $M/proc/2/maps; echo '[pid 2] exit(0)' > $MEMORY; ls -d $M/proc/2 2>&1 | grep -o 'No such.*'
        { echo '[pid 2] fork()' > $MEMORY; } 2>/dev/null || echo refused
        """, path)
      #expect(
        outcome.lines.map(String.init) == [
          "hello", "Input/output error", "81", "Invalid argument", "5", "refused", "\(path)/proc/2/maps",
          "No such file or directory", "refused",
        ], "\(outcome.output)")
    }
  }

  @Test(.enabled(if: mountingObstacle == nil, Comment(rawValue: mountingObstacle ?? "")))
  func theStateDoesNotDependOnHowItCameAbout() throws {
    try withMachine("four-node", ["--threads", "3"]) { path in
      let outcome = shell(
        """
        script() {
          echo 'spawn other cpu=6'; echo 'alloc order=4 node=2'; echo 'fork()'
          echo '[pid 3] mmap(0x10000000, 0x40000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)'
          echo '[pid 3] store(0x10000000, "hello")'; echo check
        }
        script > $MEMORY; tail -n 1 $MEMORY
        script | $PROGRAM replay - | tail -n 1 | cut -d= -f2 | cut -c2-
        """, path)
      #expect(outcome.lines.count == 2 && outcome.lines.first == outcome.lines.last, "\(outcome.output)")
      #expect(outcome.lines.first?.hasPrefix("no difference, state ") == true, "\(outcome.output)")
    }
  }

  @Test func replayShowsWhatItHasBeforeItWaits() {
    let outcome = shell("{ echo reset; sleep 30; } | timeout 5 $PROGRAM replay -")
    #expect(outcome.lines == ["reset = reset"], "\(outcome.output)")
    let summary = shell(
      "printf 'alloc\nnonsense' | $PROGRAM replay --summary - | grep -c -e ^Summary -e '1 words, 1 refused'")
    #expect(summary.lines == ["2"], "\(summary.output)")
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
