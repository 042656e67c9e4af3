public import MemoryTypes

extension PhysicalMemory {
  /// Takes single frames, as many as the buffer has room for and memory gives: each an allocation of its own, as by `allocate` with a
  /// count of 1, for a fraction of the cost (Linux's `alloc_pages_bulk`).
  ///
  /// `request`'s count and alignment are taken as 1.
  /// - Returns: how many there are, at the buffer's start: fewer than asked for only where `allocate` would have failed for the next.
  /// - Throws: what `allocate` throws, but for `outOfMemory`.
  /// - Complexity: one lock and one release of the CPU's list for each of its refills.
  public func allocateBatch(into buffer: UnsafeMutableBufferPointer<FrameNumber>, _ request: FrameRequest)
    throws(MemoryError) -> Int
  {
    var single = request
    single.count = FrameCount(1)
    single.alignment = FrameCount(1)
    var filled = 0
    while filled < buffer.count {
      unsafe filled += popMany(single, UnsafeMutableBufferPointer(rebasing: buffer[filled...]))
      if filled == buffer.count { break }
      // Refills the list, falls back, or fails.
      do {
        unsafe buffer[filled] = try allocate(single).start
      } catch {
        if case .outOfMemory = error { return filled }
        throw error
      }
      filled += 1
    }
    return filled
  }

  /// Gives single frames back, from the first on, for a fraction of the cost of as many calls of `free`.
  /// - Throws: what `free` throws of the first that it refuses; those before it are free then, it and those behind it are as they were.
  /// - Complexity: one lock of the CPU's list for all that it gave.
  public func freeBatch(_ frames: UnsafeBufferPointer<FrameNumber>, cpu: CPUID) throws(MemoryError) {
    var done = 0
    while done < frames.count {
      let given = unsafe pushMany(UnsafeBufferPointer(rebasing: frames[done...]), cpu.rawValue)
      if given == 0 { try freeAnywhere(FrameRange(start: unsafe frames[done], count: FrameCount(1)), cpu) }
      done += max(given, 1)
    }
  }
}
