public import MemoryTypes

/// Who leads the holders of movable frames to others. Called without the allocator's locks, possibly in the middle of an allocation.
public protocol FrameMover: AnyObject, Sendable {
  /// Leads whoever holds `allocation` to `target` (as many frames, allocated already, of the same owner and mobility): bytes, entries,
  /// cache. False: it cannot be moved now (pinned, unmovable), and nothing changed. `target` is then the caller's to free, else the
  /// source is.
  func move(_ allocation: Allocation, to target: FrameRange) -> Bool

  /// Makes allocations of one frame each of `allocation`, where its holder can; whether that was done.
  func split(_ allocation: Allocation) -> Bool
}

extension FrameMover {
  public func split(_ allocation: Allocation) -> Bool { false }
}

extension PhysicalMemory {
  /// Who moves allocations; nil: nobody, and nothing can be moved. Held until replaced.
  public func setMover(_ mover: (any FrameMover)?) { tuning.withLock { currentMover = mover } }

  var mover: (any FrameMover)? { tuning.withLock { currentMover } }

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
