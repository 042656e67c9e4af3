public import MemoryTypes

/// What a walk read, level by level from the root down, and where it ended: `dump_pt`.
public struct Walk: Sendable {
  public struct Step: Sendable {
    /// Counted from the pages up, as in `PageFormat`.
    public var level: Int
    public var table: FrameNumber
    public var index: Int
    public var entryAddress: PhysicalAddress
    public var raw: UInt64
    public var kind: EntryKind
    /// Of a leaf or a held entry, its own flags; of a table, what it lets pass: always `present`.
    public var flags: PageFlags
  }

  public enum Outcome: Hashable, Sendable {
    /// The byte's address; the page's level; what is left of the leaf's flags after every table on the way.
    case mapped(PhysicalAddress, level: Int, flags: PageFlags)
    /// The entry of this level is absent, held or reserved.
    case absent(level: Int)
    case held(level: Int)
    case reserved(level: Int)
    /// A table entry leads to where there is no memory.
    case noMemory(PhysicalAddress, level: Int)
    case notCanonical
  }

  public var address: VirtualAddress
  public var steps: [Step]
  public var outcome: Outcome
}

extension PageTable {
  /// Walks as the hardware would, and reports every entry on the way. Changes nothing, accessed bits included.
  public func walk(_ address: VirtualAddress) -> Walk {
    guard format.isCanonical(address) else { return Walk(address: address, steps: [], outcome: .notCanonical) }
    let position = format.position(address)
    var steps: [Walk.Step] = []
    steps.reserveCapacity(format.rootLevel + 1)
    var table = root(of: address)
    var level = format.rootLevel
    while true {
      let index = format.index(position, level: level)
      let entryAddress = PhysicalAddress(table &<< format.pageShift + UInt64(index) * 8)
      let raw = frames.load(table, index)
      let kind = format.kind(raw, level: level)
      var flags: PageFlags = []
      switch kind {
      case .leaf, .held: flags = format.flags(raw)
      case .table: flags = format.restrict([.present, .writable, .user, .executable], by: raw, level: level)
      case .absent, .reserved: break
      }
      steps.append(
        Walk.Step(
          level: level, table: FrameNumber(table), index: index, entryAddress: entryAddress, raw: raw, kind: kind,
          flags: flags))
      switch kind {
      case .absent: return Walk(address: address, steps: steps, outcome: .absent(level: level))
      case .held: return Walk(address: address, steps: steps, outcome: .held(level: level))
      case .reserved: return Walk(address: address, steps: steps, outcome: .reserved(level: level))
      case .table:
        let next = format.tableAddress(raw)
        guard next.rawValue < frames.size.rawValue else {
          return Walk(address: address, steps: steps, outcome: .noMemory(next, level: level))
        }
        table = next.rawValue &>> format.pageShift
        level -= 1
      case .leaf:
        let offset = position & (1 &<< format.shifts[level] - 1)
        let physical = format.leafAddress(raw, level: level) + ByteCount(offset)
        var effective = flags
        for step in steps where step.level > level {
          effective = format.restrict(effective, by: step.raw, level: step.level)
        }
        return Walk(address: address, steps: steps, outcome: .mapped(physical, level: level, flags: effective))
      }
    }
  }

  /// Where an address leads: nil where the walk ends before a leaf. The same answer as `walk`, in a few nanoseconds.
  @inlinable public func translate(_ address: VirtualAddress) -> PhysicalAddress? {
    guard format.isCanonical(address) else { return nil }
    let position = format.position(address)
    var table = root(of: address)
    var level = format.rootLevel
    while true {
      let raw = frames.load(table, format.index(position, level: level))
      switch format.kind(raw, level: level) {
      case .table:
        table = format.tableAddress(raw).rawValue &>> format.pageShift
        if table >= frames.frameCount { return nil }
        level -= 1
      case .leaf:
        // SAFETY: a level is below 5.
        let offset = unsafe position & (1 << format.shifts[unchecked: level] - 1)
        return PhysicalAddress(format.leafAddress(raw, level: level).rawValue | offset)
      case .absent, .held, .reserved: return nil
      }
    }
  }

  /// The entry that maps or holds an address; nil where nothing does.
  public func mapping(at address: VirtualAddress) -> Mapping? {
    if let raw = baseEntry(at: address) {
      if raw == 0 { return nil }
      let (physical, flags) = decodeBase(raw)
      // Its table lies in this half, where an address is its position.
      return Mapping(
        address: VirtualAddress(address.rawValue & ~pageMask), physical: physical, level: 0, raw: raw, flags: flags)
    }
    guard format.isCanonical(address) else { return nil }
    if let kernel, format.isKernel(address) { return kernel.mapping(at: address) }
    if isKernel, !format.isKernel(address) { return nil }
    let position = format.position(address)
    let (raw, level) = entry(at: position)
    return raw == 0 ? nil : mapping(position & (.max &<< format.shifts[level]), raw, level: level)
  }
}
