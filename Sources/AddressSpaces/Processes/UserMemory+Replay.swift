internal import MemoryTypes
internal import Translation

/// What recorded programs need besides calls: a fresh space, a break where it was, and pages where they touched memory.
extension UserMemory {
  /// execve(2) without a program: the process's areas go, a fresh stack comes.
  public func exec(_ process: Process) {
    currentCPU = process.cpu
    guard let space = try? makeSpace(process.pid, process.space.layout, process.cpu) else { return }
    let old = process.space
    process.space = space
    tearDown(old)
    addStack(to: space)
  }

  /// Moves the beginning of a heap that is still empty.
  public func placeBreak(_ process: Process, at address: UInt64) {
    let space = process.space
    guard space.breakEnd == space.layout.heapStart, address < space.layout.userEnd else { return }
    space.layout.heapStart = address
    space.breakEnd = address
  }

  /// Maps private memory wherever nothing lies in a range: what execve mapped of a program, as far as its log knows.
  public func mapImage(_ process: Process, _ start: UInt64, _ length: UInt64) {
    let space = process.space
    var page = space.roundedDown(start)
    let (end, overflows) = start.addingReportingOverflow(length)
    guard !overflows, end <= space.layout.userEnd else { return }
    while page < end {
      let next = space.areas.first(endingAbove: page)
      let stop = min(next?.start ?? end, space.roundedUp(end))
      if page < stop {
        _ = try? mmap(process, page, stop - page, protection: 3, flags: 0x32, file: nil, offset: 0)
      }
      guard let next, next.end < end else { return }
      page = next.end
    }
  }

  /// Makes a file at least so large, in bytes; no file is larger than 2^63 - 1 (MAX_LFS_FILESIZE).
  public func extend(_ file: MemoryFile, to size: UInt64) { file.size = max(file.size, min(size, 1 << 63 - 1)) }

  /// Ends the hold of whoever made the file.
  public func close(_ file: MemoryFile) { drop(file) }

  /// An access of a recorded program: where no area holds the page, one that does is made first. False after a signal.
  @inline(__always)
  public func touch(_ process: Process, _ address: UInt64, _ size: UInt64, write: Bool) -> Bool {
    currentCPU = process.cpu
    let first = translate(process, address, write: write)
    // Mostly one page holds all of it, and allows it.
    let pageSize: UInt64 = 1 << pageShift
    if case .success = first, size <= pageSize, address & (pageSize - 1) + size <= pageSize { return true }
    return touchFurther(process, address, size, write: write, first)
  }

  /// `touch`, after the access to the first page has come to `first`.
  @inline(never)
  private func touchFurther(
    _ process: Process, _ address: UInt64, _ size: UInt64, write: Bool, _ first: Result<PhysicalAddress, Refusal>
  ) -> Bool {
    var page = address & ~(1 << pageShift - 1)
    let last = address &+ max(size, 1) &- 1
    var outcome = first
    while page <= last {
      if case .failure(let refusal) = outcome, refusal.signal == .segmentation(.mapError) {
        // The program's own access was none that failed.
        events.invalid -= 1
        // PROT_READ|PROT_WRITE|PROT_EXEC, as code and data are not told apart; where W^X holds, without the right to execute.
        let protection: UInt64 = settings.enforcesWriteXorExecute ? 3 : 7
        _ = try? mmap(process, page, 1 << pageShift, protection: protection, flags: 0x32, file: nil, offset: 0)
        outcome = translate(process, page, write: write)
      }
      guard case .success = outcome else {
        _ = reap(process)
        return false
      }
      let (next, overflows) = page.addingReportingOverflow(1 << pageShift)
      if overflows || next > last { return true }
      page = next
      outcome = translate(process, page, write: write)
    }
    return true
  }
}
