internal import Glibc
public import MemoryTypes
internal import Synchronization

extension PhysicalMemory {
  /// Adds everything that decides what this memory does and holds: zones, free memory and the order in which it is handed out, allocations,
  /// counters, tunables, and the bytes of all that is not zero. What the host's clock measured is left out.
  ///
  /// - Complexity: O(blocks that hold allocations or were touched * 512 frames, and their bytes): the rest of memory is not looked at.
  public func addState(to digest: inout StateDigest) {
    withEverythingLocked {
      for zone in 0..<zoneCount { add(zone, to: &digest) }
    }
    let tunables = tunables
    digest.add([
      tunables.hybridThreshold, Int(tunables.minFreeKilobytes), tunables.watermarkScaleFactor,
      tunables.watermarkBoostFactor, tunables.listHigh ?? -1, tunables.listHighFraction, tunables.balancesNodes ? 1 : 0,
    ])
    digest.add(tunables.lowmemReserveRatio)
    digest.add(poisonedFrames)
    bytes.addState(to: &digest)
  }

  private func add(_ zone: Int, to digest: inout StateDigest) {
    for range in unsafe zones[zone].present { digest.add([range.lowerBound, range.upperBound]) }
    unsafe zones[zone].addState(to: &digest)
    unsafe digest.add(zones[zone].foreign.load(ordering: .relaxed))
    addAllocations(zone, to: &digest)
    for cpu in unsafe zones[zone].registered {
      digest.add(cpu)
      for (slot, mobility) in CPUList.all {
        var next = unsafe list(zone, cpu).pointee.heads[CPUList.head(slot, mobility)]
        while next != 0 {
          digest.add(next)
          next = table.word(Int(next - 1)).nextListed
        }
        digest.add(0)
      }
      unsafe list(zone, cpu).pointee.addState(to: &digest)
    }
  }

  private func addAllocations(_ zone: Int, to digest: inout StateDigest) {
    var block = unsafe zones[zone].start >> 9
    while let next = unsafe zones[zone].nextOccupied(from: block) {
      for frame in next << 9..<(next + 1) << 9 {
        let word = table.word(frame)
        guard word.isAllocated else { continue }
        digest.add(frame)
        digest.add(word.bits)
        digest.add(table.holderLink(frame, word))
        if unsafe !zones[zone].usesBitmap(next) { break }
      }
      block = next + 1
    }
  }
}

extension Zone {
  fileprivate func addState(to digest: inout StateDigest) {
    digest.add([free, managed, handedOver, isolated, isolatedBlocks, threshold, maximumBoost])
    digest.add([limits.high, limits.batch, limits.highLarge])
    digest.add([watermarks.min, watermarks.low, watermarks.high, watermarks.boost])
    for kind in 0..<6 { digest.add(watermarks.protection[kind]) }
    for counts in [bitmapCounts, buddyCounts] { digest.add([counts.allocations, counts.frees, counts.failures]) }
    digest.add([allocatedFrames, numa.hit, numa.miss, numa.interleaveHit, numa.local, numa.other])
    for kind in 0..<8 { digest.add(kinds[kind]) }
    for mobility in 0..<Zone.mobilities {
      digest.add(strangeBlocks[mobility])
      for order in 9...Zone.maximumOrder {
        let tree = buddyTree(mobility, order)
        var next = tree.next(from: 0)
        while let leaf = next {
          digest.add([mobility, order, leaf])
          next = tree.next(from: leaf + 1)
        }
      }
    }
    var next = occupied.next(from: 0)
    while let block = next {
      digest.add([block, mobility(ofBlock: block), Int(used[block])])
      if used[block] != 0 { for word in 0..<8 { digest.add(bits[block << 3 + word]) } }
      next = occupied.next(from: block + 1)
    }
  }
}

extension CPUList {
  fileprivate mutating func addState(to digest: inout StateDigest) {
    digest.add([Int(room), Int(roomLarge), Int(high), Int(highLarge), Int(grant)])
    digest.add([freesAtGrant, numaMisses, numaOthers])
    for slot in 0..<CPUList.slots {
      let all = total(ofSlots: slot..<slot + 1)
      digest.add([all.allocations, all.frees])
    }
    var frames = InlineArray<8, Int>(repeating: 0)
    addFrames(to: &frames)
    for kind in 0..<7 { digest.add(frames[kind]) }
  }
}

extension PhysicalBytes {
  /// Adds every host page's worth of bytes that are not all zero, with its address.
  fileprivate func addState(to digest: inout StateDigest) {
    let words = HostMapping.page / 8
    store.forEachHeldPage { place in
      // SAFETY: what the host holds is memory, in whole pages.
      let page = unsafe (base + place).assumingMemoryBound(to: UInt64.self)
      // All words equal the first where each equals its neighbour.
      if unsafe page[0] == 0, unsafe memcmp(page, page + 1, (words - 1) * 8) == 0 { return }
      digest.add(place)
      unsafe digest.add(UnsafeBufferPointer(start: page, count: words))
    }
  }
}
