public import MemoryTypes

extension MMU {
  /// Adds what every CPU that was ever used holds, in the order in which it would give it up, and has counted.
  ///
  /// - Complexity: O(CPUs, and the caches of those that were used).
  public func addState(to digest: inout StateDigest) {
    for cpu in 0..<cpuCount where unsafe cpus[cpu].isActive {
      digest.add(cpu)
      digest.add((try? isLazy(CPUID(cpu))) ?? false)
      unsafe cpus[cpu].addState(to: &digest)
      if let counters = try? counters(of: CPUID(cpu)) { counters.addState(to: &digest) }
    }
    for context in 0..<contextCount {
      let context = unsafe contexts[context]
      digest.add([context.serial, context.generation])
    }
    shootdowns.addState(to: &digest)
    digest.add([singlePageFlushCeiling, requestCost])
  }
}

extension CPUState {
  fileprivate func addState(to digest: inout StateDigest) {
    digest.add([slot, nextSlot, context])
    digest.add([lastStamp, globalStamp, kernelStamp, kernelWalkStamp, kernelSeen])
    let front = unsafe front.pointee
    digest.add([
      front.epoch, front.userTag, front.userWalkTag, front.seen, front.cachedLevels, front.lastWalkStamp,
      front.knownBits, front.knownFlags,
    ])
    for slot in 0..<Self.slotCount {
      digest.add([slots[slot].serial, slots[slot].stamp, slots[slot].walkStamp, slots[slot].seen])
    }
    for level in 0..<5 {
      first[level].addState(to: &digest)
      walks[level].addState(to: &digest)
    }
    second.addState(to: &digest)
  }
}

extension TLBCache {
  fileprivate func addState(to digest: inout StateDigest) {
    forEach { tag, word in digest.add([tag, word]) }
    // SAFETY: a byte a set.
    for set in 0...Int(setMask) { digest.add(unsafe Int(turns[set])) }
  }
}

extension TLBCounters {
  fileprivate func addState(to digest: inout StateDigest) {
    for level in 0..<5 { digest.add([firstHits[level], secondHits[level], references[level]]) }
    digest.add([
      walks, shortWalks, faults, switches, received, acknowledged, pagesFlushed, fullFlushes, lateFlushes,
    ])
  }
}

extension ShootdownCounters {
  fileprivate func addState(to digest: inout StateDigest) {
    digest.add([
      single, range, global, full, deferred, batched, sent, acknowledged, avoided, remote, localFull, localPages,
      nanoseconds,
    ])
  }
}
