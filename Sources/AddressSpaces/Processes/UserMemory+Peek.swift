internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Reads and writes of a process's memory by somebody else: `/proc/PID/mem` (`access_remote_vm` with FOLL_FORCE). Faults are taken as the
/// process would take them, but counted for it without a signal; rights are those that the area could be given, not those it has.
extension UserMemory {
  /// Copies bytes out; how many, up to the first page that cannot be had. EIO where that is the first.
  public func peek(_ process: Process, _ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(CallError)
    -> Int
  {
    try eachPage(process, address, UInt64(buffer.count), write: false) { physicalAddress, offset, count in
      // SAFETY: a part of the buffer's length.
      unsafe physical.bytes.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + count]), at: physicalAddress)
    }
  }

  /// Copies bytes in; how many, up to the first page that cannot be had. EIO where that is the first.
  public func poke(_ process: Process, _ address: UInt64, _ bytes: UnsafeRawBufferPointer) throws(CallError) -> Int {
    try eachPage(process, address, UInt64(bytes.count), write: true) { physicalAddress, offset, count in
      // SAFETY: a part of the bytes' length.
      let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
      unsafe write(part, at: physicalAddress)
    }
  }

  private func eachPage(
    _ process: Process, _ start: UInt64, _ length: UInt64, write: Bool, _ body: (PhysicalAddress, Int, Int) -> Void
  ) throws(CallError) -> Int {
    currentCPU = process.cpu
    defer { _ = reap(process) }
    let space = process.space
    var done: UInt64 = 0
    // A stack grows to hold the first byte, as it would for the process (`expand_stack` in `__access_remote_vm`).
    if length > 0 { _ = space.findArea(start) ?? space.growStack(process, to: start) }
    while done < length {
      let address = start &+ done
      let page = space.roundedDown(address)
      let count = min(length - done, page &+ space.pageSize &- address)
      guard let frame = force(process, page, write: write) else { break }
      body(self.address(frame) + ByteCount(address - page), Int(done), Int(count))
      done += count
    }
    if done == 0, length > 0 { throw .io }
    return Int(done)
  }

  /// The frame of a page that may be read, or written without anybody else seeing it (`check_vma_flags`, `can_follow_write_pte`).
  private func force(_ process: Process, _ page: UInt64, write: Bool) -> FrameNumber? {
    let space = process.space
    guard let area = space.areas.area(at: page) else { return nil }
    let mayWrite = area.flags.contains(.write) || area.flags.copiesOnWrite
    if write ? !mayWrite : !area.flags.contains(.mayRead) { return nil }
    while true {
      if let entry = space.table.entry(at: page) {
        // SAFETY: a frame of this machine.
        let isOwn =
          unsafe isOrdinary(entry)
          && records[entry.level > 0 ? head(of: entry.frame) : entry.frame].pointee.flags.isSuperset(of: [
            .anonymous, .exclusive,
          ])
        if !write || entry.flags.contains(.writable) || isOwn {
          touch(entry, write: write)
          return entry.frame
        }
      }
      guard case .done = space.faultOnce(process, area, page, write: write) else { return nil }
    }
  }
}
