public import MemoryTypes

/// A translation that a CPU holds.
public struct CachedTranslation: Hashable, Sendable {
  public var address: VirtualAddress
  public var physical: PhysicalAddress
  public var level: Int
  public var flags: PageFlags
  /// The space it belongs to; nil for the kernel's half.
  public var space: UInt32?
}

/// Which of a CPU's structures answered an access.
@frozen public enum TranslationSource: Hashable, Sendable {
  /// The first-level cache of that level's pages, the second-level cache.
  case first(level: Int), second(level: Int)
  /// A walk that read so many entries, from the root down or from below a table entry that was cached.
  case walk(references: Int, fromRoot: Bool)
}

extension MMU {
  /// As `access`, and says what answered.
  public func trace(
    _ address: VirtualAddress, _ kind: AccessKind, user: Bool, on cpu: CPUID
  ) throws(MemoryError) -> (result: AccessResult, source: TranslationSource) {
    let before = try counters(of: cpu)
    let result = access(address, kind, user: user, on: cpu)
    let after = try counters(of: cpu)
    if after.walks > before.walks {
      let references = Int(after.referenceCount - before.referenceCount)
      return (result, .walk(references: references, fromRoot: after.shortWalks == before.shortWalks))
    }
    for level in 0..<format.levels {
      if after.secondHits[level] > before.secondHits[level] { return (result, .second(level: level)) }
      if after.firstHits[level] > before.firstHits[level] { return (result, .first(level: level)) }
    }
    return (result, .walk(references: 0, fromRoot: true))
  }

  /// Every translation that an access on this CPU could use, or could after loading its space; ascending by address, each
  /// once. Throws `noSuchCPU`.
  public func cachedTranslations(on cpu: CPUID) throws(MemoryError) -> [CachedTranslation] {
    try check(cpu)
    unsafe cpus[cpu.rawValue].putBack()
    let state = unsafe cpus[cpu.rawValue]
    var found: Set<CachedTranslation> = []
    func add(_ tag: UInt64, _ word: UInt64) {
      let stamp = tag >> 3 & 0xFFFF
      let level = Int(tag & 7) - 1
      let isKernel = stamp == state.globalStamp || stamp == state.kernelStamp
      var space: UInt32?
      if !isKernel {
        // entries under stamps that nobody has any more are dead
        guard let slot = (0..<CPUState.slotCount).first(where: { state.slots[$0].stamp == stamp }),
          let owner = owner(of: state.slots[slot])
        else { return }
        space = owner
      } else if unsafe state.kernelSeen != contexts.pointee.generation {
        return
      }
      found.insert(
        CachedTranslation(
          address: format.address(position: (tag >> 19) &<< format.shifts[level], kernel: isKernel),
          physical: PhysicalAddress(word & (.max &<< format.pageShift)), level: level,
          flags: PageFlags(rawValue: UInt16(word & 0x7FF)), space: space))
    }
    for level in 0..<format.levels { state.first[level].forEach(add) }
    state.second.forEach(add)
    return found.sorted { ($0.address, $0.space ?? 0) < ($1.address, $1.space ?? 0) }
  }

  /// Whose slot it is: nil where the space is gone or has changed since this CPU last used it.
  private func owner(of slot: CPUState.Slot) -> UInt32? {
    if slot.serial == 0 { return nil }
    for index in stride(from: 1, to: contextCount, by: 1) where unsafe contexts[index].serial == slot.serial {
      if unsafe contexts[index].generation != slot.seen { return nil }
      return unsafe contexts[index].table?._withUnsafeGuaranteedRef { $0.space }
    }
    return nil
  }
}
