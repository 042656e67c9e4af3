import FileTree
import SystemPackage
import Testing
import Topology

/// What Linux 6.1 showed on the machine that `four-node` describes, held against the emulation with Linux's rules.
@Suite struct RealKernelTests {
  @Test func agreesWithARealKernel() throws {
    // QEMU told its kernel of one socket with eight cores.
    var description = Preset.fourNode.machine
    description.settings.profile = .linux
    for index in description.cpus.indices {
      description.cpus[index].package = 0
      description.cpus[index].core = index
    }
    let served = try Served(description)
    let entries = try CapturedEntry.load("four-node")
    #expect(entries.count > 200)
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

  /// The totals of each node are the real ones to the page: what is managed is RAM less what is reserved at boot.
  @Test(arguments: 0..<4)
  func hasTheRealTotals(node: Int) throws {
    let served = try Served(.fourNode, profile: .linux)
    let path = "sys/devices/system/node/node\(node)/meminfo"
    let known = try CapturedEntry.load("four-node").first { $0.path == path }?.content
    guard let known else { return }
    #expect(try served.text(path).value("MemTotal:") == known.value("MemTotal:"))
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
