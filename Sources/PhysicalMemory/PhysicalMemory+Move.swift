public import MemoryTypes

/// Who leads the holders of movable frames to others. Called without the allocator's locks, possibly in the middle of an allocation.
public protocol FrameMover: AnyObject, Sendable {
  /// Leads whoever holds `allocation` to `target` (as many frames, allocated already, of the same owner and mobility): bytes, entries,
  /// cache. False: it cannot be moved now (pinned, unmovable), and nothing changed. `target` is then the caller's to free, else the
  /// source is.
  func move(_ allocation: Allocation, to target: FrameRange) -> Bool
}

extension PhysicalMemory {
  /// Who moves allocations; nil: nobody, and nothing can be moved. Held until replaced.
  public func setMover(_ mover: (any FrameMover)?) { tuning.withLock { currentMover = mover } }

  var mover: (any FrameMover)? { tuning.withLock { currentMover } }

  /// Moves every allocation that has a frame in the range elsewhere: by preference on its own node and in its own zone, never into the range
  /// (`do_migrate_range`). What is free of the range stays free, and may be handed out meanwhile unless it is isolated.
  /// - Returns: the first allocation that cannot be moved, those behind it untouched; nil when all were.
  /// - Complexity: O(frames of the range's occupied blocks), and a copy of what is moved.
  public func empty(_ range: FrameRange, cpu: CPUID = CPUID(0)) -> Allocation? {
    guard let mover else { return allocations(in: range).first }
    // Frames of the range itself that were handed out as targets: kept until the end, so that they are not handed out again.
    var unsuitable: [FrameRange] = []
    defer { for range in unsuitable { giveBack(range, cpu) } }
    for allocation in allocations(in: range) {
      guard allocation.mobility == .movable, allocation.references == 1 else { return allocation }
      var target: FrameRange?
      while let found = self.target(for: allocation, cpu) {
        if !found.overlaps(range) {
          target = found
          break
        }
        unsuitable.append(found)
      }
      guard let target else { return allocation }
      // Finding the target may have reclaimed the page.
      guard self.allocation(containing: allocation.range.start) == allocation else {
        giveBack(target, cpu)
        continue
      }
      guard mover.move(allocation, to: target) else {
        giveBack(target, cpu)
        return allocation
      }
      giveBack(allocation.range, cpu)
    }
    return nil
  }

  /// The allocations that have a frame in the range, ascending.
  func allocations(in range: FrameRange) -> [Allocation] {
    var found: [Allocation] = []
    if let first = allocation(containing: range.start), first.range.start < range.start { found.append(first) }
    forEachAllocation(in: range) {
      found.append($0)
      return true
    }
    return found
  }

  /// Frames for what is to be moved, aligned to their count where that is a power of two, as they may have been asked for.
  private func target(for allocation: Allocation, _ cpu: CPUID) -> FrameRange? {
    let count = allocation.range.count
    let zone = self.zone(of: Int(allocation.range.start.rawValue))
    var request = FrameRequest(
      count: count, alignment: count.rawValue.nonzeroBitCount == 1 ? count : FrameCount(1), cpu: cpu,
      node: unsafe zones[zone].node, zone: unsafe zones[zone].kind, mobility: allocation.mobility,
      owner: allocation.owner)
    if let target = try? allocate(request) { return target }
    request.zone = nil
    return try? allocate(request)
  }

  func giveBack(_ range: FrameRange, _ cpu: CPUID) {
    do throws(MemoryError) { try free(range, cpu: cpu) } catch {
      preconditionFailure("frames that were just moved cannot be given back: \(error)")
    }
  }

  /// Makes the bytes of `target` those of `source`, which has as many frames; both are the caller's. What the host does not hold of the
  /// source is not committed for the target either.
  public func copyFrames(_ source: FrameRange, to target: FrameRange) {
    precondition(source.count == target.count)
    let shift = UInt64(frameSize.shift)
    var done: UInt64 = 0
    while done < source.count.rawValue {
      let frame = source.start.rawValue + done
      let part = min(source.count.rawValue - done, 512 - frame & 511)
      let from = PhysicalAddress(frame << shift)
      let to = PhysicalAddress((target.start.rawValue + done) << shift)
      if store.touched.contains(Int(frame >> 9)) {
        bytes.copy(from: from, to: to, size: ByteCount(part << shift))
      } else {
        bytes.zero(PhysicalRange(start: to, size: ByteCount(part << shift)))
      }
      done += part
    }
  }
}
