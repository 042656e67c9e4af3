internal import MemoryTypes
internal import Topology

/// What may be set of the allocator while it runs (Linux's /proc/sys/vm, VeridianOS's /sys/kernel/mm).
public struct MemoryTunables: Equatable, Sendable {
  /// `hybrid_threshold`: requests of at least this many frames look at the buddy system first. 1 to 512.
  public var hybridThreshold: Int
  /// `min_free_kbytes`: what all minimum watermarks add up to.
  public var minFreeKilobytes: UInt64
  /// `watermark_scale_factor`: the distance between watermarks in ten-thousandths of a zone. 0 to 3000.
  public var watermarkScaleFactor: Int
  /// `lowmem_reserve_ratio` by `ZoneKind.rawValue`: a zone keeps 1/ratio of the zones above it from requests that could have used those;
  /// 0: keeps nothing.
  public var lowmemReserveRatio: [Int]
  /// `watermark_boost_factor`: up to how many ten-thousandths of its high watermark a zone's watermarks are raised for a while when memory of
  /// another mobility was broken into; 0: not at all.
  public var watermarkBoostFactor = 15000
  /// `percpu_frames`: frames of orders 0 to 3 that a CPU's list of a zone may hold; nil: as the profile has it.
  public var listHigh: Int?
}

/// A zone's watermarks, in frames (Linux's `_watermark` and `lowmem_reserve`).
struct Watermarks: Equatable {
  var min = 0
  var low = 0
  var high = 0
  /// Added to all three for a while after memory of another mobility was broken into; ends when kswapd has run.
  var boost = 0
  /// What is kept from requests whose highest zone is of that kind.
  var protection = InlineArray<6, Int>(repeating: 0)

  static func == (a: Self, b: Self) -> Bool {
    (a.min, a.low, a.high, a.boost) == (b.min, b.low, b.high, b.boost)
      && (0..<6).allSatisfy { a.protection[$0] == b.protection[$0] }
  }
}

/// Who is asked for memory when it runs short. Called without a lock, on the thread that allocates.
public protocol FrameReclaimer: AnyObject, Sendable {
  /// A request found every zone that may serve it below its low watermark, or without as many frames in a row (`wake_all_kswapds`).
  func memoryIsLow(for request: FrameRequest)
  /// Nothing can serve the request: gives frames back, and says whether it gave any.
  func reclaim(for request: FrameRequest) -> Bool
}

extension PhysicalMemory {
  /// What is in force.
  public var tunables: MemoryTunables { tuning.withLock { currentTunables } }

  /// Sets all at once; values out of range are brought to the nearest that is in it.
  public func setTunables(_ tunables: MemoryTunables) {
    var new = tunables
    new.hybridThreshold = max(1, min(512, new.hybridThreshold))
    new.watermarkScaleFactor = max(0, min(3000, new.watermarkScaleFactor))
    new.watermarkBoostFactor = max(0, min(1 << 31 - 1, new.watermarkBoostFactor))
    new.lowmemReserveRatio = (0..<6).map {
      $0 < tunables.lowmemReserveRatio.count ? max(0, tunables.lowmemReserveRatio[$0]) : 0
    }
    new.listHigh = tunables.listHigh.map { max(1, min(1 << 20, $0)) }
    tuning.withLock {
      if new.minFreeKilobytes != currentTunables.minFreeKilobytes { chosenMinFree = new.minFreeKilobytes }
      currentTunables = new
      withEverythingLocked { applyTunables() }
    }
  }

  /// Who is asked for memory when it runs short; nil: nobody. Held until replaced.
  public func setReclaimer(_ reclaimer: (any FrameReclaimer)?) { tuning.withLock { currentReclaimer = reclaimer } }

  var reclaimer: (any FrameReclaimer)? { tuning.withLock { currentReclaimer } }

  /// The machine's setting, and for the rest Linux's defaults for it (`calculate_min_free_kbytes`, mm/page_alloc.c).
  func defaultTunables() -> MemoryTunables {
    MemoryTunables(
      hybridThreshold: description.settings.hybridThreshold, minFreeKilobytes: calculatedMinFree(),
      watermarkScaleFactor: 10,
      lowmemReserveRatio: [256, 256, 32, 0, 0, 0], listHigh: nil)
  }

  /// In KiB, before it is brought between 128 and 262144: what zones hold above their high watermarks decides (`nr_free_buffer_pages`).
  private func calculatedMinFree() -> UInt64 {
    let frames = (0..<zoneCount).reduce(0) {
      unsafe zones[$1].kind <= .normal ? $0 + max(0, zones[$1].managed - zones[$1].watermarks.high) : $0
    }
    let kilobytes = UInt64(frames) << UInt64(frameSize.shift - 10)
    return max(128, min(262_144, Self.squareRoot(kilobytes * 16)))
  }

  /// Follows the size of memory, unless somebody has chosen a larger value (`calculate_min_free_kbytes`). `tuning` is locked.
  func followMinFree() {
    let calculated = calculatedMinFree()
    if calculated > chosenMinFree ?? 0 { currentTunables.minFreeKilobytes = calculated }
  }

  /// The largest integer whose square is not above `value`, which is below 2^60 (Linux's `int_sqrt`).
  private static func squareRoot(_ value: UInt64) -> UInt64 {
    var root: UInt64 = 0
    for bit in stride(from: 29, through: 0, by: -1) {
      let candidate = root | 1 << UInt64(bit)
      if candidate * candidate <= value { root = candidate }
    }
    return root
  }

  /// Computes what follows from the tunables: everything is locked (`__setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`).
  func applyTunables() {
    let tunables = currentTunables
    let total = Int(tunables.minFreeKilobytes >> UInt64(frameSize.shift - 10))
    let lowmem = (0..<zoneCount).reduce(0) { unsafe zones[$1].kind == .high ? $0 : $0 + zones[$1].managed }
    for zone in 0..<zoneCount {
      let managed = unsafe zones[zone].managed
      let share =
        lowmem == 0
        ? 0 : Int(UInt64(lowmem).dividingFullWidth(UInt64(total).multipliedFullWidth(by: UInt64(managed))).quotient)
      var marks = Watermarks()
      marks.min = unsafe zones[zone].kind == .high ? max(32, min(128, managed / 1024)) : share
      let step = max(
        share >> 2,
        managed / 10000 * tunables.watermarkScaleFactor + managed % 10000 * tunables.watermarkScaleFactor / 10000)
      marks.low = marks.min + step
      marks.high = marks.low + step
      let ratio = unsafe tunables.lowmemReserveRatio[Int(zones[zone].kind.rawValue)]
      if ratio > 0, managed > 0 {
        for kind in unsafe Int(zones[zone].kind.rawValue) + 1..<6 {
          var above = 0
          for other in zone + 1..<zones(at: nodeIndex(ofZone: zone)).upperBound
          where unsafe Int(zones[other].kind.rawValue) <= kind { unsafe above += zones[other].managed }
          marks.protection[kind] = above / ratio
        }
      }
      unsafe zones[zone].watermarks = marks
      let blocks = unsafe zones[zone].managed / Zone.blockFrames
      let highest = marks.high * tunables.watermarkBoostFactor / 10000
      unsafe zones[zone].maximumBoost = blocks < 4 || highest == 0 ? 0 : max(Zone.blockFrames, highest)
      unsafe zones[zone].threshold = tunables.hybridThreshold
      unsafe zones[zone].limits = listLimits(zone, tunables, marks)
      for cpu in unsafe zones[zone].registered { unsafe list(zone, cpu).pointee.setLimits(zones[zone].limits) }
    }
  }

  /// VeridianOS's constants, or Linux's `zone_batchsize` and `zone_highsize`.
  private func listLimits(_ zone: Int, _ tunables: MemoryTunables, _ marks: Watermarks) -> CPUListLimits {
    var limits = CPUListLimits(high: 48, batch: 32, highLarge: 2)
    if description.settings.profile == .linux {
      let managed = unsafe zones[zone].managed
      let quarter = max(1, min(managed >> 10, 1 << (20 - Int(frameSize.shift))) / 4)
      let rounded = quarter + quarter / 2
      limits.batch = max(1, 1 << (63 - rounded.leadingZeroBitCount) - 1)
      let cpus = router.cpuCounts[nodeIndex(ofZone: zone)]
      limits.high = max(marks.low / (cpus > 0 ? cpus : max(1, description.cpus.count)), limits.batch << 2)
    }
    // A thousandth of the zone in blocks of 2 MiB.
    limits.highLarge = unsafe max(2, min(16, zones[zone].managed >> 19))
    if let high = tunables.listHigh {
      limits.high = high
      limits.batch = min(limits.batch, max(1, high * 2 / 3))
    }
    return limits
  }
}
