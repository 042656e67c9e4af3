internal import MemoryTypes
internal import Synchronization

extension PhysicalMemory {
  /// Recomputes every counter from the structures that it counts, and every structure from the others; a sentence for each difference, none
  /// where all agree.
  ///
  /// - Complexity: O(blocks that hold allocations * 512 + free chunks): memory that was never touched is not looked at.
  public func verify() -> [String] {
    withEverythingLocked {
      var differences: [String] = []
      for zone in 0..<zoneCount { verify(zone, &differences) }
      return differences
    }
  }

  private func verify(_ zone: Int, _ differences: inout [String]) {
    let name = unsafe "node \(zones[zone].node.rawValue) \(zones[zone].kind)"
    func expect(_ what: String, _ counted: Int, _ found: Int) {
      if counted != found { differences.append("\(name): \(what) is \(counted), the structures say \(found)") }
    }
    let found = unsafe zones[zone].recount { differences.append("\(name): \($0)") }
    unsafe expect("the free count", zones[zone].free + zones[zone].isolated, found.free)
    unsafe expect("the count of isolated free frames", zones[zone].isolated, found.isolated)
    for index in 0..<84 {
      unsafe expect(
        "the number of free chunks of order \(index % 21), mobility \(index / 21)", zones[zone].chunks[index],
        found.chunks[index])
    }
    // Reading all blocks of a machine of many TiB takes too long.
    if unsafe zones[zone].blockCount <= 1 << 16 {
      var strange = [Int](repeating: 0, count: Zone.mobilities)
      for block in unsafe 0..<zones[zone].blockCount { strange[unsafe zones[zone].mobility(ofBlock: block)] += 1 }
      unsafe expect("the count of unmovable blocks", zones[zone].strangeBlocks[0], strange[0])
      unsafe expect("the count of reclaimable blocks", zones[zone].strangeBlocks[2], strange[2])
      unsafe expect("the count of isolated blocks", zones[zone].isolatedBlocks, strange[Zone.isolation])
    }
    let listed = verifyLists(zone, name, &differences)
    var allocated = 0
    var kinds = [Int](repeating: 0, count: FrameOwner.Kind.allCases.count)
    let start = unsafe zones[zone].start
    let end = unsafe zones[zone].end
    var block = start >> 9
    var covered = start
    while let next = unsafe zones[zone].nextOccupied(from: block) {
      var frame = max(next << 9, covered, start)
      while frame < min((next + 1) << 9, end) {
        let word = table.word(frame)
        if word.isAllocated {
          allocated += word.count
          kinds[word.kindIndex] += word.count
          frame += word.count
        } else {
          frame += 1
        }
        if unsafe !zones[zone].usesBitmap(next) { break }
      }
      covered = frame
      block = next + 1
    }
    unsafe expect(
      "managed less free", zones[zone].managed - zones[zone].free - zones[zone].isolated - listed, allocated)
    var counted = InlineArray<8, Int>(repeating: 0)
    framesByOwner(of: zone, addedTo: &counted)
    for kind in kinds.indices { expect("the count of frames of owner kind \(kind)", counted[kind], kinds[kind]) }
  }

  /// Walks the lists of a zone's CPUs; the frames that they hold.
  private func verifyLists(_ zone: Int, _ name: String, _ differences: inout [String]) -> Int {
    var all = 0
    var seen: Set<Int> = []
    for cpu in unsafe zones[zone].registered {
      var held = 0
      for (slot, mobility) in CPUList.all {
        var next = unsafe list(zone, cpu).pointee.heads[CPUList.head(slot, mobility)]
        while next != 0 {
          let frame = Int(next - 1)
          let word = table.word(frame)
          if word.state != .listed || word.slot != slot || word.mobilityIndex != mobility {
            differences.append("\(name): frame \(frame) in list \(slot) of CPU \(cpu) is not marked so")
            break
          }
          if !seen.insert(frame).inserted {
            differences.append("\(name): frame \(frame) is in two lists, or twice in one")
            break
          }
          held += word.count
          if unsafe !zones[zone].isTaken(frame, word.count) {
            differences.append("\(name): listed frame \(frame) is free in the zone too")
          }
          next = word.nextListed
        }
      }
      let counted = unsafe list(zone, cpu).pointee.held
      if counted != held { differences.append("\(name): CPU \(cpu)'s list counts \(counted), holds \(held)") }
      all += held
    }
    return all
  }
}
