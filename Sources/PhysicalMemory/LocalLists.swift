public import MemoryTypes
public import Synchronization

/// Where the lists of all CPUs and zones lie: zone by zone.
@frozen @usableFromInline @safe struct CPUListTable: @unchecked Sendable {
  @usableFromInline let base: UnsafeMutableRawPointer
  /// The first CPU number that no table has.
  @usableFromInline let cpuLimit: Int

  init(_ base: UnsafeMutableRawPointer, cpuLimit: Int) {
    unsafe self.base = base
    self.cpuLimit = cpuLimit
  }

  /// The list of a zone's free frames that a CPU keeps.
  @inlinable @inline(__always)
  subscript(_ zone: Int, _ cpu: Int) -> UnsafeMutablePointer<CPUList> {
    // SAFETY: both indices are in range; zeroed memory is an empty list.
    unsafe (base + (zone &* cpuLimit &+ cpu) &* CPUList.stride).assumingMemoryBound(to: CPUList.self)
  }
}

/// For each CPU and highest zone kind: the CPU's list of the zone that is asked first, where that is of the CPU's own node. Read without a
/// lock, while zones come and go: the list's lock orders the rest, and a list of a zone that has nothing (any more) is empty.
@frozen @usableFromInline @safe struct LocalLists: @unchecked Sendable {
  /// Addresses, 0 where there is no such list; eight a CPU.
  @usableFromInline let addresses: UnsafeMutablePointer<Atomic<UInt>>
  @usableFromInline let lists: CPUListTable

  /// Bytes for so many CPUs.
  static func size(cpuLimit: Int) -> Int { cpuLimit * 64 }

  /// `memory` is zeroed, and outlives this.
  init(_ memory: UnsafeMutableRawPointer, _ lists: CPUListTable) {
    // SAFETY: room for as many; zero is a valid Atomic.
    unsafe addresses = memory.bindMemory(to: Atomic<UInt>.self, capacity: lists.cpuLimit * 8)
    self.lists = lists
  }

  func set(_ cpu: Int, _ kind: Int, zone: Int?) {
    let address = zone.map { unsafe UInt(bitPattern: lists[$0, cpu]) } ?? 0
    // SAFETY: the CPU is below the limit.
    unsafe addresses[cpu * 8 + kind].store(address, ordering: .relaxed)
  }

  /// The list of a CPU, whatever its number.
  @inlinable @inline(__always)
  subscript(_ cpu: Int, _ kind: ZoneKind) -> UnsafeMutablePointer<CPUList>? {
    if UInt(bitPattern: cpu) >= UInt(bitPattern: lists.cpuLimit) { return nil }
    // SAFETY: the CPU is below the limit; the address is of a list, or 0.
    return unsafe UnsafeMutablePointer(
      bitPattern: addresses[cpu &* 8 &+ Int(truncatingIfNeeded: kind.rawValue)].load(ordering: .relaxed))
  }
}
