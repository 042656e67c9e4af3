import AddressSpaces
import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// A machine whose memory is soon full, with processes whose pages hold what their addresses say.
struct SmallMachine {
  let machine: Machine
  var users: UserMemory { machine.users }
  let page: UInt64

  /// Nodes of that many MiB where a frame is of 4 KiB, of more where it is larger; two CPUs each.
  init(_ sizes: [UInt64] = [32], paging: Paging = .fourLevel, profile: Profile = .linux) throws {
    let architecture = paging.architecture
    let sizes = sizes.map { $0 << UInt64(paging.frameSize.shift - 12) }
    var settings = Settings()
    settings.profile = profile
    settings.aslr = false
    settings.paging = paging
    var start: UInt64 = architecture == .x86_64 || architecture == .i386 ? 0 : 0x8000_0000
    var nodes: [Node] = []
    for (index, size) in sizes.enumerated() {
      nodes.append(
        Node(
          id: NodeID(index), memory: [PhysicalRange(start: PhysicalAddress(start), size: .mib(size))], kind: .dram))
      start += size << 20
    }
    let cpus = sizes.indices.flatMap { node in
      (0..<2).map { CPU(id: CPUID(node * 2 + $0), package: node, die: 0, core: $0, thread: 0, node: NodeID(node)) }
    }
    machine = try Machine(
      MachineDescription(
        name: "small", architecture: architecture, cpus: cpus, nodes: nodes,
        distances: sizes.indices.map { a in sizes.indices.map { $0 == a ? 10 : 20 } }, settings: settings))
    page = 1 << machine.users.pageShift
  }

  /// Maps private or shared anonymous memory; its address.
  func map(_ process: Process, pages: Int, shared: Bool = false) throws -> UInt64 {
    try users.mmap(
      process, 0, UInt64(pages) * page, protection: 3, flags: shared ? 0x21 : 0x22, file: nil, offset: 0)
  }

  /// Writes a word of its own to each page. False once the process was killed.
  @discardableResult
  func fill(_ process: Process, _ address: UInt64, pages: Int, salt: UInt64 = 0) -> Bool {
    for index in 0..<UInt64(pages) {
      let word = (address + index * page) ^ salt
      let outcome = unsafe withUnsafeBytes(of: word) { unsafe users.store(process, address + index * page, $0) }
      guard case .done = outcome else { return false }
    }
    return true
  }

  /// How many of the pages do not hold what `fill` wrote.
  func damaged(_ process: Process, _ address: UInt64, pages: Int, salt: UInt64 = 0) -> Int {
    (0..<UInt64(pages)).count { index in
      var word: UInt64 = 0
      let outcome = unsafe withUnsafeMutableBytes(of: &word) {
        unsafe users.load(process, address + index * page, into: $0)
      }
      guard case .done = outcome else { return true }
      return word != (address + index * page) ^ salt
    }
  }

  /// A line of the language, carried out; what it printed.
  @discardableResult
  func say(_ line: String) throws -> String {
    var text = TextBuffer()
    try unsafe Array(line.utf8).withUnsafeBytes { try unsafe Interpreter(machine).carryOut($0, into: &text) }
    return unsafe text.withBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}
