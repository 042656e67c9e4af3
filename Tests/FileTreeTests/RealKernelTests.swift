import FileTree
import Machine
import MemoryTypes
import SystemPackage
import Testing
import Topology

/// What Linux 6.1 showed on the machine that `four-node` describes, held against the emulation with Linux's rules.
@Suite struct RealKernelTests {
  @Test(arguments: [Preset.fourNode, .hmat])
  func agreesWithARealKernel(preset: Preset) throws {
    var description = preset.machine
    description.settings.profile = .linux
    if preset == .fourNode {
      // QEMU told its kernel of one socket with eight cores.
      for index in description.cpus.indices {
        description.cpus[index].package = 0
        description.cpus[index].core = index
      }
    }
    try agrees(Served(description), preset)
  }

  /// A machine made from what the real kernel shows of itself shows the same.
  @Test(arguments: [Preset.fourNode, .hmat])
  func agreesWhenImported(preset: Preset) throws {
    var description = try CapturedEntry.imported(preset.rawValue)
    description.settings.profile = .linux
    // The extract has the caches and cores of one CPU alone.
    try agrees(Served(description), preset) { $0.hasPrefix("sys/devices/system/cpu/") }
  }

  private func agrees(_ served: Served, _ preset: Preset, except: (String) -> Bool = { _ in false }) throws {
    let entries = try CapturedEntry.load(preset.rawValue).filter { !except($0.path) }
    #expect(entries.count > 100)
    for real in entries {
      let path = real.path
      let found: FileAttributes
      do { found = try served.attributes(path) } catch {
        Issue.record("\(path) is missing: \(error)")
        continue
      }
      let kinds: [FileAttributes.Kind: String] = [.file: "file", .directory: "dir", .link: "link"]
      #expect(kinds[found.kind] == real.type, "\(path)")
      #expect(String(found.permissions, radix: 8) == real.mode, "\(path)")
      if real.type != "link" { #expect(found.size == real.size, "\(path)") }
      if let link = real.link { #expect(try served.tree.target(ofLink: found.inode) == link, "\(path)") }
      guard real.type == "file" else { continue }
      let error = failure { () throws(Errno) in try served.text(path) }
      let names: [Errno: String] = [.permissionDenied: "EACCES", .ioError: "EIO"]
      #expect(error.map { names[$0] ?? "\($0)" } == real.error, "\(path)")
      guard real.error == nil, let content = real.content else { continue }
      let difference = try Comparison.difference(content, served.text(path), at: path)
      #expect(difference == nil, "\(path)")
    }
  }

  /// Directories have the entries that the real ones have, and in addition only what is named here.
  @Test func hasNoEntriesThatARealKernelHasNot() throws {
    let served = try Served(.fourNode, profile: .linux)
    let entries = try CapturedEntry.load("four-node")
    let real = Set(entries.map(\.path))
    for directory in entries where directory.type == "dir" {
      // The capture of this directory is an extract.
      if directory.path == "sys/devices/system/node" { continue }
      for entry in try served.tree.entries(of: served.attributes(directory.path).inode) {
        #expect(real.contains(directory.path + "/" + entry.name), "\(directory.path)/\(entry.name)")
      }
    }
  }

  private static let machines: [(Preset, imported: Bool)] = [
    (.fourNode, false), (.fourNode, true), (.hmat, false), (.hmat, true),
  ]

  private func linux(_ preset: Preset, imported: Bool) throws -> Served {
    var description = imported ? try CapturedEntry.imported(preset.rawValue) : preset.machine
    description.settings.profile = .linux
    return try Served(description)
  }

  /// What the topology decides is the real kernel's to the digit: sizes, watermarks, reserves and lists of every zone, totals of every node,
  /// the map of addresses, and what of `/proc/sys/vm` is computed at boot.
  @Test(arguments: machines)
  func hasTheRealNumbers(preset: Preset, imported: Bool) throws {
    let served = try linux(preset, imported: imported)
    var compared = 0
    for real in try CapturedEntry.load(preset.rawValue) {
      let path = real.path
      guard let content = real.content else { continue }
      switch path.split(separator: "/").last {
      case "zoneinfo":
        let (theirs, ours) = (ZoneNumbers(content), ZoneNumbers(try served.text(path)))
        #expect(theirs.zones.count == 5 * served.machine.description.nodes.count)
        for zone in theirs.zones.keys { #expect(ours.fixed(zone) == theirs.fixed(zone), "\(zone)") }
      case "iomem", "min_free_kbytes", "lowmem_reserve_ratio", "admin_reserve_kbytes":
        #expect(try served.text(path) == content, "\(path)")
      case "meminfo": #expect(try served.text(path).value("MemTotal:") == content.value("MemTotal:"), "\(path)")
      default: continue
      }
      compared += 1
    }
    #expect(compared >= 6)
  }

  @Test func keepsLessFreeWithoutHugePages() throws {
    // As `calculate_min_free_kbytes` has it at the second go; a real kernel with 89 pages less of ramdisk says 7986.
    var description = Preset.fourNode.machine
    description.settings.profile = .linux
    description.settings.thp = .never
    let path = "proc/sys/vm/min_free_kbytes"
    #expect(try Served(description).text(path) == "7985\n")
    // What suits the square root of all memory.
    description.settings.profile = .veridian
    description.settings.thp = .always
    #expect(try Served(description).text(path) == "8001\n")
  }

  @Test func seesADifference() {
    // The comparison itself.
    #expect(Comparison.shape("Node 0 MemTotal:   1024 kB") == "Node # MemTotal: # kB")
    #expect(Comparison.shape("0x1f 00000021 -5 1.5 abcdefg") == "# # # # abcdefg")
    #expect(Comparison.difference("a 1\n", "a 2\n", at: "x/vmstat") == nil)
    #expect(Comparison.difference("a 1\n", "b 1\n", at: "x/vmstat") != nil)
    #expect(Comparison.difference("a 1\nb 1\n", "a 1\n", at: "x/vmstat") != nil)
    #expect(Comparison.difference("a   1\n", "a  1\n", at: "x/meminfo") != nil)
    #expect(Comparison.difference("1\n", "2\n", at: "x/online") != nil)
  }
}
