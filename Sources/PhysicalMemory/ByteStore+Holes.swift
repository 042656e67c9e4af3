internal import Glibc
internal import MemoryTypes

/// Which pages of the emulated memory the host holds, as its page tables say it.
extension ByteStore {
  func nextData(from address: UInt64) -> UInt64? { next(from: address, held: true) }

  func nextHole(from address: UInt64) -> UInt64 { next(from: address, held: false) ?? UInt64(end) }

  /// Calls `body` with the place of every page that the host holds, ascending.
  func forEachHeldPage(_ body: (Int) -> Void) {
    var block = 0
    while let touchedBlock = touched.next(from: block), touchedBlock << blockShift < end {
      let start = touchedBlock << blockShift
      let states = pagesHeld(from: start, count: pages(from: start))
      for page in states.indices where states[page] { body(start + page * HostMapping.page) }
      block = touchedBlock + 1
    }
  }

  /// How many pages the block that begins there has.
  private func pages(from start: Int) -> Int {
    min(1 << blockShift, end - start + HostMapping.page - 1) / HostMapping.page
  }

  private func next(from address: UInt64, held: Bool) -> UInt64? {
    guard address < UInt64(end) else { return nil }
    var block = Int(address) >> blockShift
    while true {
      guard let touchedBlock = touched.next(from: block) else {
        return held || block << blockShift >= end ? nil : max(address, UInt64(block << blockShift))
      }
      if !held, touchedBlock > block { return max(address, UInt64(block << blockShift)) }
      let start = touchedBlock << blockShift
      let states = pagesHeld(from: start, count: pages(from: start))
      for page in states.indices where states[page] == held {
        let at = UInt64(start + page * HostMapping.page)
        if at + UInt64(HostMapping.page) > address { return max(at, address) }
      }
      block = touchedBlock + 1
      if block << blockShift >= end { return nil }
    }
  }

  /// Whether the host holds each of `count` pages from `start` on, in memory or swapped out: /proc/self/pagemap, bits 63 and 62. mincore(2)
  /// would not do, as it says no of what is swapped out. Where pagemap cannot be read, all are taken to be held.
  private func pagesHeld(from start: Int, count: Int) -> [Bool] {
    var entries = [UInt64](repeating: .max, count: count)
    let file = unsafe open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    if file >= 0 {
      let index = unsafe (Int(bitPattern: mapping.base) + start) / HostMapping.page
      // SAFETY: the buffer has `count` entries of 8 bytes.
      _ = unsafe entries.withUnsafeMutableBytes { unsafe pread(file, $0.baseAddress, count * 8, off_t(index * 8)) }
      close(file)
    }
    return entries.map { $0 >> 62 != 0 }
  }
}
