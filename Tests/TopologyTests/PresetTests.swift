import MemoryTypes
import Testing
import Topology

@Suite struct PresetTests {
  static let machines = Presets.all

  /// Managed and present memory of four-node and hmat, as `MemTotal` of each node and `/proc/zoneinfo` had them on Linux 6.1.
  @Test(arguments: [
    ("four-node", [1_029_984, 985_752, 966_352, 1_029_172], [262_046, 262_144, 262_112, 262_144]),
    ("hmat", [985_208, 1_029_820], [262_046, 262_112]),
  ])
  func managedAndPresentAreTheKernels(name: String, managed: [UInt64], present: [UInt64]) throws {
    let machine = try #require(MachineDescription.preset(named: name))
    for (index, node) in machine.nodes.enumerated() {
      let spanned = node.memory.reduce(0) { $0 + machine.frameSize.framesInside($1).count.rawValue }
      let withheld = machine.reservations(of: node)
      let gone = withheld.filter { !$0.kind.isPresent }.reduce(0) { $0 + $1.frames.count.rawValue }
      let taken = withheld.filter(\.kind.isPresent).reduce(0) { $0 + $1.frames.count.rawValue }
      // Linux leaves frame 0 out, which e820 reserves.
      #expect(spanned - gone == present[index])
      #expect(machine.frameSize.kilobytes(FrameCount(spanned - gone - taken)) == managed[index])
    }
  }

  @Test(arguments: machines)
  func reservationsAreDisjointAndInside(_ machine: MachineDescription) {
    for node in machine.nodes {
      let memory = node.memory.map { machine.frameSize.framesInside($0) }
      var behind = FrameNumber(0)
      for reservation in machine.reservations(of: node) {
        #expect(reservation.frames.start >= behind)
        #expect(memory.contains { $0.contains(reservation.frames.start) && reservation.frames.end <= $0.end })
        behind = reservation.frames.end
      }
    }
  }

  @Test func teraFillsSixteenTebibytes() throws {
    let tera = Preset.tera.machine
    #expect(tera.memoryEnd == PhysicalAddress(16 << 40))
    let total: UInt64 = tera.nodes.flatMap(\.memory).reduce(0) { $0 + $1.size.rawValue }
    #expect(total == ByteCount.tib(16).rawValue - ByteCount.gib(1).rawValue)
    #expect(tera.memoryBlockSize == .gib(2))
  }

  @Test func fourNodeHasTheKernelsBlocks() {
    #expect(Preset.fourNode.machine.memoryBlocks == Array(0..<24) + Array(32..<40))
  }

  @Test func blockSizeFollowsLinux() {
    func size(_ gib: UInt64, _ paging: Paging = .fourLevel) -> ByteCount {
      MachineDescription.probeMemoryBlockSize(end: PhysicalAddress(gib << 30), paging: paging)
    }
    #expect(size(63) == .mib(128))
    #expect(size(64) == .gib(2))
    #expect(size(129) == .gib(1))
    #expect(size(64, .pae) == .mib(128))
    #expect(size(64, .granule64K) == .mib(512))
    #expect(
      MachineDescription.probeMemoryBlockSize(end: PhysicalAddress((64 << 30) + (128 << 20)), paging: .fourLevel)
        == .mib(128))
  }
}
