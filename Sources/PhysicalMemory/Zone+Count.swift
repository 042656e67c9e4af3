internal import MemoryTypes

/// Down to where a request may take a zone (Linux's ALLOC_WMARK_LOW, ALLOC_WMARK_MIN, ALLOC_NO_WATERMARKS).
enum Mark { case low, min, none }

/// What a zone counts of what passes the CPU lists by. The caller holds the lock.
extension Zone {
  /// How many frames the zone may give to requests whose highest zone is `kind`, one after the other; 0 or less: none.
  @inline(__always)
  func most(_ mark: Mark, highest kind: ZoneKind) -> Int {
    switch mark {
    case .none: free
    case .min: free - watermarks.min - watermarks.boost - watermarks.protection[Int(kind.rawValue)]
    case .low: free - watermarks.low - watermarks.boost - watermarks.protection[Int(kind.rawValue)]
    }
  }

  /// Whether the zone keeps enough when it gives `count` frames to a request whose highest zone is `kind` (`__zone_watermark_ok`).
  @inline(__always)
  func mayGive(_ count: Int, _ mark: Mark, highest kind: ZoneKind) -> Bool { count <= most(mark, highest: kind) }

  @inline(__always)
  mutating func countAllocation(_ count: Int, kind: Int) {
    if count < threshold { bitmapCounts.allocations &+= 1 } else { buddyCounts.allocations &+= 1 }
    allocatedFrames &+= UInt64(truncatingIfNeeded: count)
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
