import Commands
import AddressSpaces
import MemoryTypes
import PhysicalMemory
import Topology
import Translation

/// A machine's memory with process 1 on CPU 0, as `replay` starts it.
struct CallMachine {
  let memory: UserMemory
  private let frames: TableFrames
  private let physical: PhysicalMemory

  /// `hugePages`, `sharedHugePages`: when private and when shared memory gets transparent huge pages.
  init(
    _ name: String = "four-node", profile: Profile = .linux, wx: Bool = false, format: PageFormat? = nil,
    hugePages: HugePageSettings.Enabled = .never, sharedHugePages: HugePageSettings.Shared = .never
  ) throws {
    var description = MachineDescription.preset(named: name)!
    description.settings.profile = profile
    physical = try PhysicalMemory(description)
    frames = try TableFrames(physical)
    let format = format ?? PageFormat.standard(for: description.architecture)
    let kernel = try PageTable(kernelOf: frames, format: format)
    let settings = UserMemory.Settings(
      seed: 0, randomizesLayout: false, enforcesWriteXorExecute: wx,
      homeNodes: Dictionary(uniqueKeysWithValues: description.cpus.map { ($0.id, $0.node) }))
    memory = try UserMemory(physical: physical, kernelTable: kernel, settings: settings)
    memory.transparent.enabled = hugePages
    memory.transparent.shared = sharedHugePages
    try memory.spawn(name: "init")
  }

  /// What the allocator's counts and structures disagree in.
  var differences: [String] { physical.verify() }

  /// The script's transcript.
  func replay(_ script: String) throws -> String {
    let session = CallSession(memory)
    var transcript = ""
    var isOfNobody = false
    for line in script.split(separator: "\n") {
      if let text = try session.transcribe(line, isOfNobody: &isOfNobody) { transcript += text + "\n" }
    }
    return transcript
  }
}
