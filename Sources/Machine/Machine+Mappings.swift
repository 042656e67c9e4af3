public import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory
public import Translation

/// What the kernel's own interface does to address spaces: `map`, `unmap`, `protect`. `process` nil stands for the kernel.
extension Machine {
  /// Maps one page of `size` to frames that `alloc` has taken.
  ///
  /// All or nothing. Throws `unsupportedPageSize`, `misalignedFrame`, what the allocator says of frames that nobody holds, `frameInUse` of
  /// those that somebody else does, and what `UserMemory.mapFrames` throws.
  public func map(
    _ address: VirtualAddress, to frame: FrameNumber, size: ByteCount, flags: PageFlags, of process: Process?
  ) throws(MemoryError) {
    guard let level = format.level(ofPageSize: size) else { throw .unsupportedPageSize(size) }
    guard format.isCanonical(address) else { throw .notCanonical(address) }
    guard address.rawValue & (size.rawValue - 1) == 0 else { throw .misaligned(address, size) }
    let frames = FrameRange(start: frame, count: FrameCount(format.basePages(level: level)))
    guard frame.rawValue & (frames.count.rawValue - 1) == 0 else { throw .misalignedFrame(frame, size) }
    if flags.contains(UserMemory.frameMark) {
      throw .invalidFlags("\(UserMemory.frameMark) marks what this word has mapped, and is set by it")
    }
    try checkHeldByCommands(frames)
    try users.mapFrames(frames, at: address, level: level, flags: flags, of: process)
  }

  /// Every frame must be one that `alloc` has taken: whoever maps others would see or change what is not theirs.
  private func checkHeldByCommands(_ frames: FrameRange) throws(MemoryError) {
    let limit = UInt64(1) << (format.physicalBits - format.pageShift)
    guard frames.start.rawValue < limit else { throw .noSuchFrame(frames.start) }
    var frame = frames.start
    while frame < frames.end {
      guard let allocation = memory.allocation(containing: frame) else {
        // Whether it is free, reserved or no memory at all is the allocator's to say.
        try memory.free(FrameRange(start: frame, count: FrameCount(1)), cpu: CPUID(0))
        throw .notAllocated(frame)
      }
      guard allocation.owner.kind == .command else {
        throw .frameInUse(frame, owner: allocation.owner.description)
      }
      frame = allocation.range.end
    }
  }

  /// The first frame of a range that holds a page table: what is written there is nobody's to write, as the kernel would no longer know
  /// whose pages are whose.
  public func firstPageTable(in range: FrameRange) -> FrameNumber? {
    var frame = range.start
    while frame < range.end {
      guard let allocation = memory.allocation(containing: frame) else {
        frame = FrameNumber(frame.rawValue + 1)
        continue
      }
      if allocation.owner.kind == .pageTable { return frame }
      frame = allocation.range.end
    }
    return nil
  }

  /// Refuses to give back frames that `map` shows somewhere.
  public func checkUnmapped(_ frames: FrameRange) throws(MemoryError) {
    if let frame = users.mappedFrame(in: frames) { throw .frameInUse(frame, owner: "a mapping that map has made") }
  }

  /// Nanoseconds since the machine began, as far as its events have a cost.
  public var clock: UInt64 { users.mmu.shootdownCost }
}
