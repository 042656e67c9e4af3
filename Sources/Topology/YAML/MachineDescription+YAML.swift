import MemoryTypes

extension MachineDescription {
  /// The description in full as YAML, which reads back as an equal description.
  public var yaml: String {
    var text = ""
    func line(_ words: String) { text += words + "\n" }
    func scalar(_ value: String) -> String {
      var quoted = "\""
      for unit in value.unicodeScalars {
        switch unit {
        case "\"", "\\": quoted += "\\" + String(unit)
        case _ where unit.value < 0x20 || unit.value == 0x7F: quoted += "\\x" + hex(unit.value, digits: 2)
        default: quoted.unicodeScalars.append(unit)
        }
      }
      return quoted + "\""
    }
    line("name: \(scalar(name))")
    line("summary: \(scalar(summary))")
    line("architecture: \(architecture)")
    if let linuxPaging { line("linux_paging: \(linuxPaging)") }
    line("memory_block_size: \(Quantity.print(memoryBlockSize.rawValue))")
    line("settings:")
    for setting in Setting.all {
      if let value = setting.given(settings) { line("  \(setting.key): \(value)") }
    }
    line("cpus:")
    for cpu in cpus {
      line(
        "  - {id: \(cpu.id.rawValue), package: \(cpu.package), die: \(cpu.die), core: \(cpu.core), thread: \(cpu.thread)}"
      )
    }
    line(caches.isEmpty ? "caches: []" : "caches:")
    for cache in caches {
      line(
        "  - {level: \(cache.level), kind: \(cache.kind.rawValue), size: \(Quantity.print(cache.size.rawValue)), "
          + "line: \(cache.lineSize), ways: \(cache.ways), cpus: \"\(RangeList.list(cache.cpus.lazy.map(\.rawValue)))\"}"
      )
    }
    line("nodes:")
    for node in nodes {
      let members = cpus.lazy.filter { $0.node == node.id }.map(\.id.rawValue)
      line("  - id: \(node.id.rawValue)")
      line("    kind: \(node.kind)")
      line("    cpus: \"\(RangeList.list(members))\"")
      if node.lateMemory.rawValue > 0 { line("    late_memory: \(Quantity.print(node.lateMemory.rawValue))") }
      line("    memory: [\(node.memory.map(\.description).joined(separator: ", "))]")
    }
    line("distances:")
    for row in distances { line("  - [\(row.map(String.init).joined(separator: ", "))]") }
    line(reserved.isEmpty ? "reserved: []" : "reserved:")
    for region in reserved {
      line("  - {range: \(region.range), kind: \(region.kind), description: \(scalar(region.description))}")
    }
    line(performance.isEmpty ? "performance: []" : "performance:")
    for entry in performance {
      line(
        "  - {initiator: \(entry.initiator.rawValue), target: \(entry.target.rawValue), "
          + "read_latency: \(entry.readLatency), write_latency: \(entry.writeLatency), "
          + "read_bandwidth: \(entry.readBandwidth), write_bandwidth: \(entry.writeBandwidth)}")
    }
    return text
  }

  private func hex(_ number: UInt32, digits: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
  }
}
