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
  /// `percpu_pagelist_high_fraction`: the lists of a zone may hold 1/fraction of it between them; 0: as many frames as its low watermark.
  public var listHighFraction: Int
  /// `numa_balance`: whether movable frames go to nodes that are less used than their own.
  public var balancesNodes = false
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

  /// What is computed anew from what zones manage now; Linux's writers of `/proc/sys/vm` do so for their own part alone.
  public struct Renewal: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let watermarks = Renewal(rawValue: 1)
    /// What zones keep from requests that could go elsewhere.
    public static let reserves = Renewal(rawValue: 2)
  }

  /// Sets all at once; values out of range are brought to the nearest that is in it. What follows from those that change is renewed, and
  /// `renewal` besides.
  public func setTunables(_ tunables: MemoryTunables, renewing renewal: Renewal = []) {
    var new = tunables
    new.hybridThreshold = max(1, min(512, new.hybridThreshold))
    new.watermarkScaleFactor = max(0, min(3000, new.watermarkScaleFactor))
    new.watermarkBoostFactor = max(0, min(1 << 31 - 1, new.watermarkBoostFactor))
    new.lowmemReserveRatio = (0..<6).map {
      $0 < tunables.lowmemReserveRatio.count ? max(0, tunables.lowmemReserveRatio[$0]) : 0
    }
    new.listHigh = tunables.listHigh.map { max(1, min(1 << 20, $0)) }
    new.listHighFraction = max(0, tunables.listHighFraction)
    tuning.withLock {
      if new.minFreeKilobytes != currentTunables.minFreeKilobytes { chosenMinFree = new.minFreeKilobytes }
      var renewal = renewal
      if new.minFreeKilobytes != currentTunables.minFreeKilobytes
        || new.watermarkScaleFactor != currentTunables.watermarkScaleFactor
      {
        renewal.insert(.watermarks)
      }
      if new.lowmemReserveRatio != currentTunables.lowmemReserveRatio { renewal.insert(.reserves) }
      currentTunables = new
      withEverythingLocked { applyTunables(renewing: renewal) }
    }
  }

  /// Who is asked for memory when it runs short; nil: nobody. Held until replaced.
  public func setReclaimer(_ reclaimer: (any FrameReclaimer)?) { tuning.withLock { currentReclaimer = reclaimer } }

  var reclaimer: (any FrameReclaimer)? { tuning.withLock { currentReclaimer } }

  /// The machine's setting, and for the rest Linux's defaults for it (`calculate_min_free_kbytes`, mm/page_alloc.c).
  func defaultTunables() -> MemoryTunables {
    var tunables = MemoryTunables(
      hybridThreshold: description.settings.hybridThreshold,
      minFreeKilobytes: minFreeKilobytes(usableFrames(bootManaged) { _ in 0 }), watermarkScaleFactor: 10,
      lowmemReserveRatio: [256, 256, 32, 0, 0, 0], listHigh: nil, listHighFraction: 0)
    guard description.initializesHugePages else { return tunables }
    let lowmem = lowmemFrames(bootManaged)
    let usable = usableFrames(bootManaged) { marks(of: $0, tunables, lowmem: lowmem, managed: bootManaged).high }
    if description.settings.thp == .never {
      tunables.minFreeKilobytes = minFreeKilobytes(usable)
    } else {
      tunables.minFreeKilobytes = max(tunables.minFreeKilobytes, recommendedMinFree(usable))
    }
    return tunables
  }

  /// What zones hold above their high watermarks (`nr_free_buffer_pages`).
  private func usableFrames(_ managed: (Int) -> Int, above high: (Int) -> Int) -> Int {
    (0..<zoneCount).reduce(0) { unsafe zones[$1].kind <= .normal ? $0 + max(0, managed($1) - high($1)) : $0 }
  }

  /// As grows with the square root of what can be used, in KiB (`calculate_min_free_kbytes`).
  private func minFreeKilobytes(_ frames: Int) -> UInt64 {
    max(128, min(262_144, Self.squareRoot(UInt64(frames) << UInt64(frameSize.shift - 10) * 16)))
  }

  /// Enough for two blocks of each zone to be free, and for one of each mobility to give way to another, but at most a twentieth of what can
  /// be used, in KiB (mm/khugepaged.c, `set_recommended_min_free_kbytes`).
  private func recommendedMinFree(_ usable: Int) -> UInt64 {
    let zones = (0..<zoneCount).count { unsafe self.zones[$0].kind <= .normal && self.zones[$0].presentFrames > 0 }
    let blocks = zones * (2 + Mobility.allCases.count * Mobility.allCases.count)
    return UInt64(min(blocks * Zone.blockFrames, usable / 20)) << UInt64(frameSize.shift - 10)
  }

  /// What a zone manages while the kernel boots: the node's memory that comes free late is taken to lie in its largest zone.
  private func bootManaged(_ zone: Int) -> Int {
    let node = nodeIndex(ofZone: zone)
    let managed = unsafe zones[zone].managed
    let late = Int(description.nodes[node].lateMemory.rawValue >> UInt64(frameSize.shift))
    if late == 0 { return managed }
    for other in zones(at: node) where unsafe other != zone && zones[other].managed > managed { return managed }
    return max(0, managed - late)
  }

  /// Follows the size of memory, unless somebody has chosen a larger value (`init_per_zone_wmark_min`). `tuning` is locked.
  func followMinFree() {
    let usable = usableFrames({ unsafe zones[$0].managed }) { unsafe zones[$0].watermarks.high }
    let calculated = minFreeKilobytes(usable)
    if calculated > chosenMinFree ?? 0 { currentTunables.minFreeKilobytes = calculated }
    if description.initializesHugePages, description.settings.thp != .never {
      currentTunables.minFreeKilobytes = max(currentTunables.minFreeKilobytes, recommendedMinFree(usable))
    }
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

  /// The tunables and watermarks that the machine began with.
  public func resetTunables() {
    tuning.withLock {
      currentTunables = defaultTunables()
      chosenMinFree = nil
      withEverythingLocked { applyTunables(booting: true) }
    }
  }

  /// Computes what follows from the tunables: everything is locked. `booting`: from what was managed when Linux first did so.
  func applyTunables(booting: Bool = false, renewing renewal: Renewal = [.watermarks, .reserves]) {
    let tunables = currentTunables
    func managed(_ zone: Int) -> Int { booting ? bootManaged(zone) : unsafe zones[zone].managed }
    let lowmem = lowmemFrames(managed)
    for zone in 0..<zoneCount {
      var marks = marks(of: zone, tunables, lowmem: lowmem, managed: managed)
      let old = unsafe zones[zone].watermarks
      if !renewal.contains(.watermarks) {
        (marks.min, marks.low, marks.high, marks.boost) = (old.min, old.low, old.high, old.boost)
      }
      if !renewal.contains(.reserves) { marks.protection = old.protection }
      unsafe zones[zone].watermarks = marks
      let blocks = unsafe zones[zone].managed / Zone.blockFrames
      let highest = marks.high * tunables.watermarkBoostFactor / 10000
      unsafe zones[zone].maximumBoost = blocks < 4 || highest == 0 ? 0 : max(Zone.blockFrames, highest)
      unsafe zones[zone].threshold = tunables.hybridThreshold
      unsafe zones[zone].limits = listLimits(zone, tunables, marks)
      for cpu in unsafe zones[zone].registered { unsafe list(zone, cpu).pointee.setLimits(zones[zone].limits) }
    }
  }

  /// What zones manage between them, those aside that the kernel has no addresses for.
  private func lowmemFrames(_ managed: (Int) -> Int) -> Int {
    (0..<zoneCount).reduce(0) { unsafe zones[$1].kind == .high ? $0 : $0 + managed($1) }
  }

  /// A zone's watermarks and reserves, from what each zone manages (`__setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`).
  private func marks(of zone: Int, _ tunables: MemoryTunables, lowmem: Int, managed: (Int) -> Int) -> Watermarks {
    let total = Int(tunables.minFreeKilobytes >> UInt64(frameSize.shift - 10))
    let own = managed(zone)
    let share =
      lowmem == 0
      ? 0 : Int(UInt64(lowmem).dividingFullWidth(UInt64(total).multipliedFullWidth(by: UInt64(own))).quotient)
    var marks = Watermarks()
    marks.min = unsafe zones[zone].kind == .high ? max(32, min(128, own / 1024)) : share
    let step = max(
      share >> 2, own / 10000 * tunables.watermarkScaleFactor + own % 10000 * tunables.watermarkScaleFactor / 10000)
    marks.low = marks.min + step
    marks.high = marks.low + step
    let ratio = unsafe tunables.lowmemReserveRatio[Int(zones[zone].kind.rawValue)]
    guard ratio > 0, own > 0 else { return marks }
    for kind in unsafe Int(zones[zone].kind.rawValue) + 1..<6 {
      var above = 0
      for other in zone + 1..<zones(at: nodeIndex(ofZone: zone)).upperBound
      where unsafe Int(zones[other].kind.rawValue) <= kind { above += managed(other) }
      marks.protection[kind] = above / ratio
    }
    return marks
  }

  /// VeridianOS's constants, or Linux's `zone_batchsize` and `zone_highsize`.
  private func listLimits(_ zone: Int, _ tunables: MemoryTunables, _ marks: Watermarks) -> CPUListLimits {
    var limits = CPUListLimits(high: 48, batch: 32, highLarge: 2)
    let managed = unsafe zones[zone].managed
    let isLinux = description.settings.profile == .linux
    if isLinux {
      let quarter = max(1, min(managed >> 10, 1 << (20 - Int(frameSize.shift))) / 4)
      let rounded = quarter + quarter / 2
      limits.batch = max(1, 1 << (63 - rounded.leadingZeroBitCount) - 1)
    }
    if isLinux || tunables.listHighFraction > 0 {
      let cpus = router.cpuCounts[nodeIndex(ofZone: zone)]
      let shared = tunables.listHighFraction > 0 ? managed / tunables.listHighFraction : marks.low
      limits.high = max(shared / (cpus > 0 ? cpus : max(1, description.cpus.count)), limits.batch << 2)
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
