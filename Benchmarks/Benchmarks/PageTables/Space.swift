import Figures
import MemoryTypes
import PhysicalMemory
import RadixTree
import Topology
import Translation

/// The tables of an address space and the CPUs of its machine, of which the first has it loaded.
final class Space: @unchecked Sendable {
  let table: PageTable
  let mmu: MMU
  /// Bytes of a page.
  let page: UInt64
  /// Where workloads map: the beginning of a table at every level but the root.
  let start: UInt64 = 1 << 30
  private let kernel: PageTable

  init(_ paging: Paging = .fourLevel, cpus: Int = 2) {
    let memory = try! PhysicalMemory(.measured(bytes: 1 << 30, cpus: cpus, paging: paging))
    let format = PageFormat.named(paging.rawValue, for: paging.architecture)!
    kernel = try! PageTable(kernelOf: TableFrames(memory), format: format)
    mmu = try! MMU(cpuCount: cpus, kernel: kernel)
    table = try! PageTable(space: 1, kernel: kernel, enforcesWriteXorExecute: true)
    page = format.frameSize.bytes.rawValue
    try! mmu.attach(table)
    try! mmu.switchSpace(on: CPUID(0), to: table)
  }

  deinit { mmu.detach(table) }

  /// Maps a page to a frame of the same number: whose it is, or whether it is there, is no matter of page tables.
  @inline(__always)
  func map(_ address: UInt64) {
    let frame = FrameRange(start: FrameNumber(address / page), count: FrameCount(1))
    try! table.map(VirtualAddress(address), to: frame, flags: [.present, .writable, .user])
  }

  @inline(__always)
  func unmap(_ address: UInt64) -> FlushObligation { try! table.unmap(PageRange(VirtualAddress(address))) }

  @inline(__always)
  func read(_ address: UInt64) -> UInt64 {
    guard case .success(let physical) = mmu.access(VirtualAddress(address), .read, user: true, on: CPUID(0)) else {
      fatalError("a page of the workload is not mapped")
    }
    return physical.rawValue
  }
}

/// The reference in C, see `radix_tree.h`.
final class Radix: @unchecked Sendable {
  let tree = radix_tree_create()
  deinit { radix_tree_destroy(tree) }
}

/// A space with so many pages mapped, and the reference with 1 GiB.
func mapped(_ pages: Int) -> (space: Space, radix: Radix) {
  let state = (space: Space(), radix: Radix())
  mapAll(state.space, pages)
  mapAll(state.radix, 1 << 18)
  return state
}
