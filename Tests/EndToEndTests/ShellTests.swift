import Testing

/// The files as a shell sees them, over a real mount.
@Suite(.serialized, .enabled(if: mountingObstacle == nil, Comment(rawValue: mountingObstacle ?? "")))
struct ShellTests {
  /// Runs a script, and holds each line of its output against what is expected.
  private func expect(
    _ script: String, _ lines: [String], at path: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let outcome = shell(script, path)
    #expect(outcome.lines.map(String.init) == lines, "\(script)", sourceLocation: sourceLocation)
  }

  @Test func doesWhatTheFirstPagePromises() throws {
    try withMachine { path in
      let meminfo = shell("cat $NODES/node*/meminfo", path)
      #expect(meminfo.status == 0)
      #expect(meminfo.lines.filter { $0.contains("MemTotal:") }.count == 4)
      let mem = shell("echo mem > $MEMORY && cat $MEMORY", path)
      #expect(mem.status == 0 && mem.output.hasPrefix("Memory (kB)"))
      let walk = shell("echo 'dump_pt 0x1000' > $MEMORY; cat $MEMORY", path)
      #expect(walk.lines.count == 5 && walk.lines[0].hasPrefix("PML4") && walk.lines[4].hasPrefix("0x1000 -> 0x"))
      let alloc = shell(
        """
        before=$(awk '/MemFree/ {print $4}' $NODES/node1/meminfo)
        echo 'alloc order=4 node=1' > $MEMORY; cat $MEMORY
        after=$(awk '/MemFree/ {print $4}' $NODES/node1/meminfo)
        echo $((before - after))
        echo "free $(cat $MEMORY)" > $MEMORY; cat $MEMORY
        echo $((before - $(awk '/MemFree/ {print $4}' $NODES/node1/meminfo)))
        """, path)
      let address = alloc.lines.first.flatMap { UInt64($0.dropFirst(2), radix: 16) } ?? 0
      #expect((1 << 30..<2 << 30).contains(address), "on node 1: \(alloc.output)")
      #expect(alloc.lines.dropFirst() == ["64", "freed 16 frames", "0"])
    }
  }

  @Test func tellsEchoWhyALineIsRefused() throws {
    try withMachine { path in
      for (line, words) in [
        ("bogus", "Invalid argument"), ("alloc order=99", "out of range"), ("alloc order=20", "Cannot allocate memory"),
        ("alloc node=9", "No such device"), ("free 0x64200000", "Operation not permitted"),
      ] {
        let outcome = shell("/bin/echo '\(line)' > $MEMORY; echo $?; cat $MEMORY", path)
        #expect(outcome.lines.count == 3, "\(outcome.output)")
        #expect(outcome.lines.first?.contains(words) == true, "\(outcome.output)")
        #expect(outcome.lines.dropFirst().first == "1", "\(outcome.output)")
        #expect(outcome.lines.last?.hasPrefix("\(line) = -1 E") == true, "\(outcome.output)")
      }
      expect("echo bogus 2>/dev/null > $MEMORY && echo fine; echo $?", ["1"], at: path)
    }
  }

  @Test func hasTheModesAndSizesOfARealKernel() throws {
    try withMachine { path in
      expect(
        """
        cd $M; stat -c '%a %s %b %F' sys/devices/system/node/node0/meminfo sys/devices/system/node/node0/cpulist \
          sys/devices/system/node/node0/compact sys/devices/system/memory/memory0/state proc/meminfo \
          sys/kernel/debug/memory sys/devices/system/node proc
        readlink sys/devices/system/node/node0/cpu0 proc/self
        stat -c %s dev/mem
        """,
        [
          "444 4096 0 regular file", "444 28672 0 regular file", "200 4096 0 regular file", "644 4096 0 regular file",
          "444 0 0 regular empty file", "644 0 0 regular empty file", "755 0 0 directory", "555 0 0 directory",
          "../../cpu/cpu0", "1", "5368709120",
        ], at: path)
    }
  }

  @Test func refusesWhatEachFileSystemRefuses() throws {
    try withMachine { path in
      /// The reason that a command gives.
      func reason(_ command: String) -> String {
        String(shell("cd $NODES/node1; \(command)", path).output.split(separator: ":").last ?? "").split(
          separator: "\n"
        )
        .first.map { String($0.drop { $0 == " " }) } ?? ""
      }
      #expect(reason("/bin/echo 1 > meminfo") == "Permission denied", "even for root")
      #expect(reason("cat compact") == "Permission denied")
      #expect(reason("touch new") == "Permission denied")
      #expect(reason("mkdir new") == "Operation not permitted")
      #expect(reason("rm -f meminfo") == "Operation not permitted")
      #expect(reason("rmdir power") == "Operation not permitted")
      #expect(reason("mv meminfo other") == "Operation not permitted")
      #expect(reason("ln meminfo other") == "Operation not permitted")
      #expect(reason("ln -s meminfo other") == "Operation not permitted")
      #expect(reason("touch $M/proc/new") == "No such file or directory")
      #expect(reason("mkdir $M/proc/new") == "No such file or directory")
      #expect(reason("/bin/echo 1 > $M/proc/meminfo") == "Input/output error")
      #expect(reason("touch $M/sys/kernel/debug/new") == "Permission denied")
      #expect(reason("mkdir $M/sys/kernel/debug/new") == "Operation not permitted")
      let pool = "hugepages/hugepages-2048kB/nr_hugepages"
      #expect(reason("/bin/echo rubbish > \(pool)") == "Invalid argument")
      #expect(reason("/bin/echo 99999999999999999999 > \(pool)").contains("out of range"))
      #expect(shell("set -C; echo 1 > $NODES/node1/\(pool)", path).status != 0, "O_EXCL")
      expect(
        "cd $NODES/node1; echo 1 > \(pool) && echo 2 >> \(pool) && truncate -s 0 \(pool) && cat \(pool)", ["2"],
        at: path)
    }
  }

  @Test func keepsScriptsWithTheirOwnHandlesApart() throws {
    try withMachine { path in
      expect(
        """
        exec 3<>$MEMORY 4<>$MEMORY
        echo reset >&3; echo 'alloc order=99' >&4 2>/dev/null; cat <&3; cat <&4 | cut -d' ' -f1-6
        echo reset >&3; cat <&3
        echo 'reset\nreset' >&3; while read -r line <&3; do echo "<$line>"; done
        """,
        [
          "reset", "alloc order=99 = -1 ERANGE (invalid", "reset", "<reset>", "<reset>",
        ], at: path)
    }
  }

  @Test func takesLongScriptsInAnyPieces() throws {
    try withMachine { path in
      for writer in ["cat > $MEMORY", "dd of=$MEMORY bs=4096 2>/dev/null", "dd of=$MEMORY bs=64K 2>/dev/null"] {
        expect(
          """
          i=0; while [ $i -lt 3000 ]; do echo "alloc  node=$((i % 4)) count=$((i % 7 + 1))"; i=$((i + 1)); done | \(writer)
          cat $MEMORY | wc -l
          echo 'free all' > $MEMORY; cat $MEMORY; echo check > $MEMORY; cut -d, -f1 $MEMORY
          """, ["3000", "freed 11994 frames in 3000 allocations", "no difference"], at: path)
      }
    }
  }

  @Test func readsAndWritesPhysicalMemory() throws {
    try withMachine { path in
      expect(
        """
        exec 3<>$MEMORY; echo 'alloc node=3' >&3; read -r address <&3
        printf hello | dd of=$M/dev/mem bs=1 seek=$((address)) conv=notrunc 2>/dev/null
        dd if=$M/dev/mem bs=1 skip=$((address)) count=5 2>/dev/null; echo
        printf x | dd of=$M/dev/mem bs=1 seek=$((0xd0000000)) conv=notrunc 2>&1 | grep -o 'No such device or address'
        exec 4<>$MEMORY; echo 'dump_pt 0x7ffffffff000 pid=1' >&4; read -r _ _ root _ <&4
        printf x | dd of=$M/dev/mem bs=1 seek=$((root << 12)) conv=notrunc 2>&1 | grep -o 'Operation not permitted'
        """, ["hello", "No such device or address", "Operation not permitted"], at: path)
    }
  }

  @Test(.enabled(if: !isSanitized, "a sanitizer leaves no room for 16 TiB")) func copies16TiBOfHolesInAMoment() throws {
    try withMachine("tera") { path in
      let copy = shell(
        """
        printf x | dd of=$M/dev/mem bs=1 seek=$((5 << 40)) conv=notrunc 2>/dev/null
        d=$(mktemp -d) && cd $d && truncate -s 16T copy || exit 77
        timeout 30 cp --sparse=always $M/dev/mem copy; echo $?
        stat -c %s copy; dd if=copy bs=1 skip=$((5 << 40)) count=1 2>/dev/null; echo
        rm -rf $d
        """, path)
      // A host's file system may hold no file as large.
      if copy.status != 77 { #expect(copy.lines == ["0", "17592186044416", "x"], "\(copy.output)") }
      let resident = shell(
        "for p in $(pgrep -f \"mount $M\"); do awk '/VmRSS/ {print $2}' /proc/$p/status; done | sort -n | tail -1", path
      )
      #expect(Int(resident.lines.first ?? "").map { $0 < 64 << 10 } == true, "kB resident: \(resident.output)")
    }
  }

  @Test func survivesEightShells() throws {
    try withMachine { path in
      expect(
        """
        free() { cat $NODES/node*/meminfo | grep MemFree; }
        free > /tmp/before.$$
        for worker in 1 2 3 4 5 6 7 8; do
          (
            exec 3<>$MEMORY; end=$(($(date +%s) + 3)); n=0
            while [ $(date +%s) -lt $end ]; do
              n=$((n + 1))
              echo "alloc node=$((n % 4)) count=$((n % 50 + 1))" >&3 && read -r address <&3 && echo "free $address" >&3 && cat <&3
              echo nonsense >&3; cat <&3
              cat $NODES/node*/* $M/proc/buddyinfo; echo x > $NODES/node1/hugepages/hugepages-2048kB/nr_hugepages
            done
          ) > /dev/null 2>&1 &
        done
        wait
        echo check > $MEMORY; cut -d, -f1 $MEMORY; free | cmp - /tmp/before.$$ && echo same; rm /tmp/before.$$
        """, ["no difference", "same"], at: path)
    }
  }

  // MARK: Other users

  /// Runs a command as nobody, who has no part in the mount.
  private func asNobody(_ command: String, _ path: String) -> Outcome {
    shell("cd $M && setpriv --reuid 65534 --regid 65534 --clear-groups \(command)", path)
  }

  private static let others = obstacle(toRunning: ["setpriv"])
  @Test(.enabled(if: others == nil, Comment(rawValue: others ?? "")))
  func keepsTheMemoryOfProcessesFromOtherUsers() throws {
    try withMachine("four-node", ["--allow-other"]) { path in
      shell("echo 'spawn hog' > $MEMORY", path)
      for name in ["maps", "smaps", "smaps_rollup", "numa_maps", "pagemap", "mem", "clear_refs"] {
        let refused = asNobody("cat proc/2/\(name)", path)
        #expect(refused.status == 1 && refused.output.contains("Permission denied"), "\(name): \(refused.output)")
      }
      for name in ["status", "statm", "limits", "comm", "cmdline", "oom_score", "oom_score_adj"] {
        #expect(asNobody("cat proc/2/\(name)", path).output == shell("cat $M/proc/2/\(name)", path).output, "\(name)")
      }
      // Where the stack and the break begin, and that it waits.
      let mine = shell("cat $M/proc/2/stat", path).output.split(separator: " ")
      let theirs = asNobody("cat proc/2/stat", path).output.split(separator: " ")
      #expect(mine.indices.filter { mine[$0] != theirs[$0] } == [25, 26, 27, 34, 46], "\(mine) \(theirs)")
      #expect(theirs[25...27] == ["1", "1", "0"] && theirs[34] == "0" && theirs[46] == "0")
      #expect(asNobody("head -1 proc/iomem", path).output == "00000000-00000000 : Reserved\n")
    }
  }

  // MARK: The program

  @Test func isCalledByItsNameInTheBackground() throws {
    try withMachine { path in
      expect(
        """
        $PROGRAM unmount $M; $PROGRAM mount $M --background
        for p in $(pgrep -f "veridianfs mount $M"); do
          cat /proc/$p/task/*/comm | sort -u; tr '\\0' ' ' < /proc/$p/cmdline | cut -d' ' -f1,2
        done
        $PROGRAM unmount $M
        """, ["veridianfs", "veridianfs mount"], at: path)
    }
  }

  @Test func replacesADeadMountAndEndsWithStatusZero() throws {
    try withMachine { path in
      expect(
        """
        test -d $M   # from here on the kernel knows the attributes, dead or not
        for p in $(pgrep -f "mount $M"); do kill -9 $p; done
        while cat $M/proc/meminfo > /dev/null 2>&1; do :; done
        $PROGRAM mount $M --background > /dev/null 2>&1; echo $?
        head -c 8 $M/proc/meminfo; echo
        $PROGRAM mount $M > /dev/null 2>&1 || echo refused
        $PROGRAM unmount $M; echo $?
        mountpoint -q $M || echo gone
        for signal in INT TERM; do
          $PROGRAM mount $M --log-level error & server=$!
          until [ -e $M/proc ]; do sleep 0.05; done
          kill -$signal $server; wait $server; echo $?
        done
        $PROGRAM mount $M --log-level error & server=$!
        until [ -e $M/proc ]; do sleep 0.05; done
        umount $M; wait $server; echo $?
        """, ["0", "MemTotal", "refused", "0", "gone", "0", "0", "0"], at: path)
    }
  }
}
