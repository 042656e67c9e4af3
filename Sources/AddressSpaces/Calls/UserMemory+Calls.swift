/// The system calls on areas, for whoever carries out a process's calls. Arguments are the registers' values; each call is one step.
extension UserMemory {
  private func enter(_ process: Process) -> AddressSpace {
    currentCPU = process.cpu
    return process.space
  }

  /// mmap(2). `file`: what the descriptor stands for; nil with MAP_ANONYMOUS, and where the descriptor is none.
  public func mmap(
    _ process: Process, _ address: UInt64, _ length: UInt64, protection: UInt64, flags: UInt64, file: MemoryFile?,
    offset: UInt64
  ) throws(CallError) -> UInt64 {
    try enter(process).map(process, address, length, protection: protection, flags: flags, file: file, offset: offset)
  }

  public func munmap(_ process: Process, _ address: UInt64, _ length: UInt64) throws(CallError) {
    try enter(process).unmap(address, length)
  }

  public func mprotect(_ process: Process, _ address: UInt64, _ length: UInt64, protection: UInt64) throws(CallError) {
    try enter(process).protect(process, address, length, protection: protection)
  }

  public func mremap(
    _ process: Process, _ address: UInt64, _ oldLength: UInt64, _ newLength: UInt64, flags: UInt64, to target: UInt64
  ) throws(CallError) -> UInt64 {
    try enter(process).remap(process, address, oldLength, newLength, flags: flags, to: target)
  }

  public func madvise(_ process: Process, _ address: UInt64, _ length: UInt64, advice: UInt64) throws(CallError) {
    try enter(process).advise(process, address, length, advice: advice)
  }

  /// mlock(2), and mlock2(2) with flags.
  public func mlock(_ process: Process, _ address: UInt64, _ length: UInt64, flags: UInt64 = 0) throws(CallError) {
    try enter(process).lock(process, address, length, flags: flags)
  }

  public func munlock(_ process: Process, _ address: UInt64, _ length: UInt64) throws(CallError) {
    try enter(process).unlock(process, address, length)
  }

  public func mlockall(_ process: Process, flags: UInt64) throws(CallError) {
    try enter(process).lockAll(process, flags)
  }
  public func munlockall(_ process: Process) { enter(process).unlockAll() }

  public func msync(_ process: Process, _ address: UInt64, _ length: UInt64, flags: UInt64) throws(CallError) {
    try enter(process).sync(address, length, flags: flags)
  }

  /// mincore(2): for each page whether it is in memory.
  public func mincore(_ process: Process, _ address: UInt64, _ length: UInt64) throws(CallError) -> [Bool] {
    try enter(process).residency(address, length)
  }

  /// brk(2): the break afterwards, unchanged where it cannot be moved.
  public func brk(_ process: Process, to address: UInt64) -> UInt64 { enter(process).moveBreak(process, to: address) }
}
