import AddressSpaces
import Figures
import Glibc
import Machine
import MemoryTypes
import Topology

/// A process on a machine of one node, without huge pages.
final class Subject: @unchecked Sendable {
  static let page: UInt64 = 4096
  /// Where workloads map.
  static let start: UInt64 = 1 << 36
  let machine: Machine
  let process: AddressSpaces.Process
  var memory: UserMemory { machine.users }

  init(bytes: Int, areas: Int = 2) {
    var description = MachineDescription.measured(bytes: bytes, cpus: 2)
    description.settings.thp = .never
    machine = try! Machine(description)
    process = try! machine.users.spawn(name: "measured")
    memory.limits.mapCount = max(memory.limits.mapCount, areas + 2)
    // A stack is there, and the workload's own area will be.
    for index in 2..<max(2, areas) { map(Self.start / 2 + UInt64(index - 2) * 2 * Self.page, pages: 1) }
  }

  /// Private memory to read and write, of which no more is promised than there is.
  func map(_ address: UInt64 = Subject.start, pages: Int) {
    let size = UInt64(pages) * Self.page
    // PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED|MAP_NORESERVE
    _ = try! memory.mmap(process, address, size, protection: 3, flags: 0x4032, file: nil, offset: 0)
  }

  /// Makes so many pages absent again (MADV_DONTNEED).
  func discard(pages: Int) { try! memory.madvise(process, Self.start, UInt64(pages) * Self.page, advice: 4) }

  /// Writes 8 bytes into each of so many pages.
  func fill(pages: Int) {
    var value: UInt64 = 0x0101_0101_0101_0101
    withUnsafeBytes(of: &value) { bytes in
      for page in 0..<UInt64(pages) { _ = memory.store(process, Self.start + page * Self.page, bytes) }
    }
  }
}

/// A write to each of so many pages of a process, without a byte.
@inline(never)
func touchAll(_ memory: UserMemory, _ process: AddressSpaces.Process, pages: Int) {
  for page in 0..<UInt64(pages) {
    precondition(memory.touch(process, Subject.start &+ page &* Subject.page, 1, write: true))
  }
}

/// The host's memory, in pages of 4 KiB like the emulated machine's.
final class HostPages: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  private let bytes: Int

  init(_ count: Int) {
    bytes = count << 12
    base = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    madvise(base, bytes, MADV_NOHUGEPAGE)
    memset(base, 1, bytes)
  }

  deinit { munmap(base, bytes) }
}
