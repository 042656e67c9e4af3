import MemoryTypes

/// What `/proc/zoneinfo` says of zones with memory.
struct ZoneTable {
  struct Zone {
    var node: NodeID
    /// As the file names it.
    var name: String
    /// Frames.
    var start: UInt64 = 0
    var spanned: UInt64 = 0
    var managed: UInt64 = 0
    var min: UInt64 = 0
    /// By kind of zone, lowest first.
    var protection: [UInt64] = []
    /// Its place among the node's zones, empty ones counted.
    var place: Int
    var end: UInt64 { start + spanned }
  }
  var zones: [Zone] = []

  init(_ text: String) {
    var place = 0
    for line in text.split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == "," || $0 == ":" }
      if words.count >= 4, words[0] == "Node", words[2] == "zone", let node = Int(words[1]) {
        let id = NodeID(node)
        place = zones.last?.node == id ? place + 1 : 0
        zones.append(Zone(node: id, name: String(words[3]), place: place))
      }
      guard let last = zones.indices.last, words.count >= 2, let value = UInt64(words[1].drop { $0 == "(" }) else {
        continue
      }
      switch words[0] {
      case "start_pfn": zones[last].start = value
      case "spanned": zones[last].spanned = value
      case "managed": zones[last].managed = value
      // Pagesets have a `high`, and statistics names of their own, but nothing else is called `min`.
      case "min": zones[last].min = value
      case "protection": zones[last].protection = Self.numbers(line)
      default: break
      }
    }
    zones.removeAll { $0.spanned == 0 || $0.end > 1 << 52 || $0.managed > $0.spanned }
  }

  private static func numbers(_ line: Substring) -> [UInt64] {
    line.split { !$0.isNumber }.compactMap { UInt64($0) }
  }

  /// How many frames each node's largest zone had not got yet when the watermarks were computed, found from how `pages` frames of minimum
  /// were shared out by what each zone managed (`__setup_per_zone_wmarks`): `min = pages * managed / total`, rounded down. Empty where that
  /// does not explain the minima.
  func lateFrames(minimum pages: UInt64) -> [NodeID: UInt64] {
    let shared = zones.filter { $0.name != "HighMem" && $0.managed > 0 && $0.managed < 1 << 40 }
    guard pages > 0, pages < 1 << 23, !shared.isEmpty, shared.allSatisfy({ $0.min > 0 && $0.min <= pages }) else {
      return [:]
    }
    let sum = shared.reduce(0) { $0 + $1.managed }
    // The total was in the interval of every zone that lacked nothing, and below those of the others.
    let upper = shared.map { pages * $0.managed / $0.min }.min() ?? 0
    guard upper < sum else { return [:] }
    for total in stride(from: upper, to: upper - Swift.min(upper / 512, 65536), by: -1) {
      if let late = lateFrames(pages: pages, total: total, missing: sum - total, shared) { return late }
    }
    return [:]
  }

  /// The same for one total; nil where no shares explain it.
  private func lateFrames(pages: UInt64, total: UInt64, missing: UInt64, _ shared: [Zone]) -> [NodeID: UInt64]? {
    var least: [(node: NodeID, frames: UInt64, room: UInt64)] = []
    var left = missing
    for zone in shared {
      // What the zone may have managed then: from the minimum, and from what a lower zone kept from requests for this one.
      var low = (zone.min * total + pages - 1) / pages
      var high = Swift.min(zone.managed, ((zone.min + 1) * total - 1) / pages)
      if let kept = reserve(against: zone) {
        low = max(low, kept.lowerBound)
        high = Swift.min(high, kept.upperBound)
      }
      guard low <= high else { return nil }
      if high == zone.managed, low <= zone.managed {
        least.append((zone.node, 0, isLargest(zone) ? high - low : 0))
        continue
      }
      guard isLargest(zone) else { return nil }
      least.append((zone.node, zone.managed - high, high - low))
    }
    for entry in least {
      guard entry.frames <= left else { return nil }
      left -= entry.frames
    }
    // The rest lies where something is missing already.
    for index in least.indices where least[index].frames > 0 {
      let more = Swift.min(left, least[index].room)
      least[index].frames += more
      left -= more
    }
    guard left == 0 else { return nil }
    return Dictionary(least.filter { $0.frames > 0 }.map { ($0.node, $0.frames) }) { $0 + $1 }
  }

  private func isLargest(_ zone: Zone) -> Bool {
    zones.allSatisfy { $0.node != zone.node || $0.managed <= zone.managed }
  }

  /// What the zone managed by what the node's lowest zone kept from its requests at Linux's default ratio of 256, where it is the only
  /// zone above that one.
  private func reserve(against zone: Zone) -> ClosedRange<UInt64>? {
    let own = zones.filter { $0.node == zone.node }
    guard own.count == 2, own[1].place == zone.place, own[0].name == "DMA" || own[0].name == "DMA32",
      zone.place < own[0].protection.count
    else { return nil }
    let kept = own[0].protection[zone.place]
    return kept * 256...kept * 256 + 255
  }
}
