/// What a zone counts of what passes the CPU lists by. The caller holds the lock.
extension Zone {
  @inline(__always)
  mutating func countAllocation(_ count: Int, kind: Int) {
    if count < threshold { bitmapCounts.allocations &+= 1 } else { buddyCounts.allocations &+= 1 }
    unsafe kinds[unchecked: kind] &+= count
  }

  @inline(__always)
  mutating func countFree(_ count: Int, kind: Int) {
    if count < threshold { bitmapCounts.frees &+= 1 } else { buddyCounts.frees &+= 1 }
    unsafe kinds[unchecked: kind] &-= count
  }

  /// Counts a request that no zone could serve, in the zone that it preferred.
  mutating func countFailure(_ count: Int) {
    if count < threshold { bitmapCounts.failures &+= 1 } else { buddyCounts.failures &+= 1 }
  }
}
