internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage

extension Table {
  /// What VeridianOS's book calls the allocator's run-time tunables.
  static let tunableRows: [Row] = {
    let directory = "sys/kernel/mm"
    let document = "VeridianOS, memory allocator, \"Runtime Tunables\""
    func tunable(
      _ name: String, _ value: @escaping @Sendable (MemoryTunables) -> Int,
      _ store: @escaping @Sendable (inout MemoryTunables, [UInt8]) throws(Errno) -> Void
    ) -> Row {
      Row(
        directory + "/" + name, 0o644,
        .attribute(
          { (machine, _, text) throws(Errno) in
            text.append(decimal: value(machine.memory.tunables))
            text.newline()
          },
          { (machine, _, bytes) throws(Errno) in
            var tunables = machine.memory.tunables
            try store(&tunables, bytes)
            machine.setTunables(tunables)
          }), document)
    }
    /// A number that is well formed and out of range is EINVAL, as in most of sysfs' store functions; ERANGE is what no 64 bits hold.
    @Sendable func number(_ bytes: [UInt8], _ range: ClosedRange<UInt64>) throws(Errno) -> Int {
      let value = try unsignedNumber(bytes, base: 10)
      guard range.contains(value) else { throw .invalidArgument }
      return Int(value)
    }
    return [
      // Requests of at least this many frames look at the buddy system first.
      tunable("hybrid_threshold", \.hybridThreshold) { (tunables, bytes) throws(Errno) in
        tunables.hybridThreshold = try number(bytes, 1...512)
      },
      // What a CPU's list of a zone may hold of orders 0 to 3; 0: as the profile has it.
      tunable("percpu_frames", { $0.listHigh ?? 0 }) { (tunables, bytes) throws(Errno) in
        let frames = try number(bytes, 0...1 << 20)
        tunables.listHigh = frames == 0 ? nil : frames
      },
      tunable("numa_balance", { $0.balancesNodes ? 1 : 0 }) { (tunables, bytes) throws(Errno) in
        tunables.balancesNodes = try number(bytes, 0...1) == 1
      },
    ]
  }()
}
