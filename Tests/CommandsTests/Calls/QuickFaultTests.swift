import Commands
import Foundation
import Machine
import MemoryTypes
import Testing
import Topology
import Translation

@testable import AddressSpaces

/// The ways that first writes to private pages have of their own, and writes to shared ones, against the general one: nobody can tell them
/// apart.
@Suite struct QuickFaultTests {
  @Test(
    arguments: [Preset.fourNode, .aarch64, .riscv64], [HugePageSettings.Enabled.never, .always])
  func leavesWhatTheGeneralWayLeaves(_ preset: Preset, _ hugePages: HugePageSettings.Enabled) throws {
    for seed in UInt64(11)...13 {
      var description = preset.machine
      description.settings.thp = hugePages == .never ? .never : .always
      let quick = try Console(description)
      let general = try Console(description)
      var history = DeferredForkTests.History(random: SplitMix64(seed: seed))
      var taken: UInt64 = 0
      let mapped = "mmap(0x100000000, 25165824, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
      for step in 0..<600 {
        let line = step == 0 ? mapped : history.line()
        if let (process, address) = written(line) {
          taken += quick.machine.withLock { touch(quick.machine.unsettledUsers, process, address, isGeneral: false) }
          _ = general.machine.withLock { touch(general.machine.unsettledUsers, process, address, isGeneral: true) }
        }
        #expect(quick.refusal(line) == general.refusal(line), "seed \(seed), step \(step): \(line)")
        if step % 100 == 99 {
          #expect(try quick.answer("check") == general.answer("check"), "seed \(seed), step \(step)")
          #expect(quick.state == general.state, "seed \(seed), step \(step)")
        }
      }
      #expect(taken > 30, "seed \(seed): next to nothing was a first write")
      let copied = quick.machine.withLock { quick.machine.users.events.copyOnWrite }
      #expect(copied > 10, "seed \(seed): next to nothing was copied")
    }
  }

  /// The process and the address of a line that stores.
  private func written(_ line: String) -> (ProcessID, UInt64)? {
    guard let store = line.range(of: "] store(0x"), let number = Int32(line.dropFirst(5).prefix { $0 != "]" }),
      let address = UInt64(line[store.upperBound...].prefix { $0 != "," }, radix: 16)
    else { return nil }
    return (ProcessID(number), address)
  }

  /// Writes where an area allows it; how many pages were made or copied for it.
  private func touch(_ memory: UserMemory, _ pid: ProcessID, _ address: UInt64, isGeneral: Bool) -> UInt64 {
    guard let process = memory.process(pid), let area = process.space.areas.area(at: address),
      area.flags.contains(.write)
    else { return 0 }
    func made() -> UInt64 { memory.events.demandZero + memory.events.copyOnWrite }
    let before = made()
    if !isGeneral {
      #expect(memory.touch(process, address, 1, write: true))
      return made() - before
    }
    memory.currentCPU = process.cpu
    if process.space.isDeferred(at: address) { memory.settle(process.space, at: address) }
    if !memory.mmu.isReady(process.space.settledTable.pages, on: process.cpu) {
      try! memory.mmu.switchSpace(on: process.cpu, to: process.space.settledTable.pages)
    }
    while true {
      guard case .fault(let fault) = memory.mmu.access(VirtualAddress(address), .write, user: true, on: process.cpu)
      else { break }
      _ = process.space.fault(process, address, write: true, wasPresent: fault.reason == .permission)
    }
    return made() - before
  }
}
