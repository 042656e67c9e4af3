import ArgumentParser
import Topology

/// `veridianfs machines`.
struct MachinesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "machines", abstract: "List the machines that have a name, one a line.",
    discussion: "'veridianfs describe NAME' shows one in full.")

  func run() {
    let presets = Preset.allCases
    let width = presets.map(\.rawValue.count).max() ?? 0
    for preset in presets {
      let name = preset.rawValue + String(repeating: " ", count: width - preset.rawValue.count)
      print("\(name)  \(preset.machine.summary)\(preset == .standard ? " (the default)" : "")")
    }
  }
}
