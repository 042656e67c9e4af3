internal import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory

/// Who asks for frames, for sys/kernel/debug/page_owner.
extension Machine {
  /// Whether that is kept at all (`page_owner`).
  public var keepsPageOwners: Bool { memory.watch?.owners != nil }

  /// What is allocated from now on is put down to a word, a call or a file, in the current line. The caller holds `lock`.
  ///
  /// - Parameters:
  ///   - process: whose call it is; nil for the kernel's own work.
  ///   - text: the line as it was written; cut where it is long.
  public func putDown(to name: String, of process: ProcessID? = nil, text: String = "") {
    guard let owners = memory.watch?.owners else { return }
    var place = AllocationPlace(line: line, name: name, text: String(text.prefix(200)))
    if let process, let known = users.process(process) {
      place.pid = process.rawValue
      place.command = known.name
    }
    owners.place = place
  }
}
