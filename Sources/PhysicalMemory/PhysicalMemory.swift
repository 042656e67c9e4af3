public import MemoryTypes
public import Synchronization
public import Topology

/// The frames and bytes of a machine: allocation, giving back, and what can be known of it.
///
/// Safe from many threads. Lock order: a CPU's list (two of them: the lower address first), a zone (two of them: the lower index first).
/// The table of a frame is guarded as `EntryWord` says.
@safe public final class PhysicalMemory: @unchecked Sendable {
  public let frameSize: FrameSize
  public let bytes: PhysicalBytes
  let description: MachineDescription
  let layout: MachineLayout
  let store: ByteStore
  @usableFromInline let table: FrameTable
  let tableMapping: HostMapping
  private let blockMapping: HostMapping
  private let listMapping: HostMapping
  private let zoneMetadata: HostMapping
  /// Where each zone's metadata begins in `zoneMetadata`, and its size.
  private let metadataParts: [Range<Int>]

  /// Constant but for their contents; `zoneCount` of them, by node, then by kind: one of each kind a node, populated or not.
  let zones: UnsafeMutablePointer<Zone>
  /// Each zone's lock: apart, so that an access to a zone as a whole is none to its lock.
  let zoneLocks: UnsafeMutablePointer<Lock>
  let zoneCount: Int
  let router: Router
  @usableFromInline let lists: CPUListTable
  /// Who looks on; nil: nobody.
  public let watch: AllocationWatch?
  /// Allocations and frees that somebody looked on, of which `AllocationWatch` samples some: here, as counting them there would take a
  /// reference at every step.
  @safe @exclusivity(unchecked) var watched = (allocations: UInt64(0), frees: UInt64(0))
  /// Whether somebody keeps who asked for what.
  let keepsOwners: Bool
  /// `Router`'s, at hand for the hot path; where somebody looks on there are none, so that everything takes the long way, past the watch.
  @usableFromInline let localLists: LocalLists
  /// Likewise the first frame that the hot path does not give back.
  @usableFromInline let localLimit: UInt64
  private let noLists: HostMapping
  @usableFromInline let sections: RoutingTable
  @usableFromInline let sectionShift: Int
  /// Guards what follows; taken before all other locks.
  let tuning = Lock()
  /// Isolations in force in the low 16 bits, above them how many there have been: what is freed while there are any takes the long way
  /// round the CPUs' lists.
  @usableFromInline let isolations = Atomic<UInt64>(0)
  /// Frames that were taken out for good (`num_poisoned_pages`).
  let poisoned = Atomic<Int>(0)
  var currentTunables = MemoryTunables(
    hybridThreshold: 512, minFreeKilobytes: 0, watermarkScaleFactor: 10, lowmemReserveRatio: [], listHigh: nil,
    listHighFraction: 0)
  var currentReclaimer: (any FrameReclaimer)?
  var currentMover: (any FrameMover)?
  /// What was set for `min_free_kbytes` last; nil while it follows memory's size.
  var chosenMinFree: UInt64?
  /// Frames that are held for good and were said to be broken.
  var brokenFrames: Set<FrameNumber> = []
  /// What memory there is.
  var plugged = PluggedMemory()

  /// - Throws: `overlappingReservations`; `hostRefusedMapping`.
  /// - Complexity: O(nodes * (ranges + zones + memory / 4 GiB)); nothing is touched that grows with memory but a table of sections.
  ///
  /// `watched` memory measures a sample of what it does, and with the setting `page_owner` keeps who asked for what. It must not be used by
  /// several threads at once.
  public convenience init(_ description: MachineDescription, watched: Bool = false) throws(MemoryError) {
    try self.init(
      description,
      zones: description.zoneSpans.map { span in
        let start = Int(clamping: span.start.rawValue)
        return MachineLayout.Span(kind: span.kind, frames: start..<max(start, Int(clamping: span.end.rawValue)))
      }, frameSize: description.frameSize, watched: watched)
  }

  init(
    _ description: MachineDescription, zones spans: [MachineLayout.Span], frameSize: FrameSize, watched: Bool = false
  ) throws(MemoryError) {
    self.description = description
    self.frameSize = frameSize
    (layout, store) = try Self.place(description, spans, frameSize)
    bytes = PhysicalBytes(store)
    tableMapping = try HostMapping(
      size: FrameTable.wordsSize(limit: layout.reachLimit) * 2, access: .readWrite, isHuge: true)
    blockMapping = try HostMapping(size: FrameTable.blockWordsSize(limit: layout.reachLimit), access: .readWrite)
    table = unsafe FrameTable(tableMapping.base, blockWords: blockMapping.base, limit: layout.reachLimit)
    let tracks = watched && description.settings.pageOwner
    keepsOwners = tracks
    watch = watched ? AllocationWatch(owners: tracks ? try PageOwners(frames: layout.reachLimit) : nil) : nil
    zoneCount = layout.zones.count
    let cpuLimit = (description.cpus.map(\.id.rawValue).max() ?? -1) + 1
    listMapping = try HostMapping(size: zoneCount * cpuLimit * CPUList.stride, access: .readWrite)
    var parts: [Range<Int>] = []
    let zoneLayouts = layout.zones.map { Zone.Layout(reach: $0.reach) }
    for part in zoneLayouts {
      let start = parts.last?.upperBound ?? 0
      parts.append(start..<start + (part.size + HostMapping.page - 1) & ~(HostMapping.page - 1))
    }
    metadataParts = parts
    zoneMetadata = try HostMapping(size: parts.last?.upperBound ?? 0, access: .readWrite)
    unsafe lists = CPUListTable(listMapping.base, cpuLimit: cpuLimit)
    router = try Router(description, layout, lists: lists)
    noLists = try HostMapping(size: LocalLists.size(cpuLimit: cpuLimit), access: .readWrite)
    localLists = watched ? unsafe LocalLists(noLists.base, lists) : router.localLists
    localLimit = watched ? 0 : UInt64(table.limit)
    sections = router.sections
    sectionShift = router.sectionShift
    precondition(FrameOwner.Kind.allCases.count <= 7)
    precondition(MemoryLayout<CPUList>.size + MemoryLayout<Lock>.size <= CPUList.stride)
    // SAFETY: room for `zoneCount` zones, each initialised below.
    unsafe zones = UnsafeMutablePointer<Zone>.allocate(capacity: max(1, zoneCount))
    unsafe zoneLocks = UnsafeMutablePointer<Lock>.allocate(capacity: max(1, zoneCount))
    for (index, zone) in layout.zones.enumerated() {
      unsafe (zoneLocks + index).initialize(to: Lock())
      unsafe (zones + index).initialize(
        to: Zone(
          nodeIndex: zone.nodeIndex, node: description.nodes[zone.nodeIndex].id, kind: zone.kind, reach: zone.reach,
          present: zone.present, layout: zoneLayouts[index], metadata: zoneMetadata.base + parts[index].lowerBound))
      seed(index)
    }
    plugged = initialMemory()
    currentTunables = defaultTunables()
    applyTunables(booting: true)
  }

  /// Each node's memory as the machine is made with it.
  private func initialMemory() -> PluggedMemory {
    var memory = PluggedMemory()
    for (index, node) in description.nodes.enumerated() {
      for range in node.memory {
        let frames = frameSize.framesInside(range)
        if frames.count.rawValue > 0 { memory.add(Int(frames.start.rawValue)..<Int(frames.end.rawValue), to: index) }
      }
    }
    return memory
  }

  deinit {
    unsafe zones.deinitialize(count: zoneCount)
    unsafe zones.deallocate()
    unsafe zoneLocks.deinitialize(count: zoneCount)
    unsafe zoneLocks.deallocate()
  }

  /// A machine's frames and bytes, with room for more where the host has address space for it.
  private static func place(
    _ description: MachineDescription, _ spans: [MachineLayout.Span], _ frameSize: FrameSize
  ) throws(MemoryError) -> (MachineLayout, ByteStore) {
    let shift = UInt64(frameSize.shift)
    func store(_ layout: MachineLayout) throws(MemoryError) -> ByteStore {
      try ByteStore(
        ranges: layout.memory.map { UInt64($0.lowerBound) << shift..<UInt64($0.upperBound) << shift },
        reach: layout.reachLimit << Int(shift), frameSize: frameSize)
    }
    let layout = try MachineLayout(description, zones: spans, frameSize: frameSize)
    do throws(MemoryError) { return (layout, try store(layout)) } catch {
      guard case .hostRefusedMapping = error else { throw error }
    }
    let fixed = try MachineLayout(description, zones: spans, frameSize: frameSize, grows: false)
    return (fixed, try store(fixed))
  }

  /// Gives a zone all that it manages.
  private func seed(_ zone: Int) {
    for range in layout.zones[zone].present {
      for part in layout.unreserved(range) { unsafe zones[zone].seed(part) }
    }
  }

  /// Back to the state after making but for the tunables: nothing allocated, all counters zero, bytes given back to the host, memory where
  /// it was.
  ///
  /// Whoever holds frames must have let go of them.
  public func reset() {
    tuning.lock()
    defer { tuning.unlock() }
    plugged = initialMemory()
    withEverythingLocked {
      store.reset()
      watch?.reset()
      watched = (0, 0)
      poisoned.store(0, ordering: .relaxed)
      brokenFrames = []
      tableMapping.discard(offset: 0, size: tableMapping.size)
      blockMapping.discard(offset: 0, size: blockMapping.size)
      zoneMetadata.discard(offset: 0, size: zoneMetadata.size)
      for zone in 0..<zoneCount {
        for cpu in unsafe zones[zone].registered { unsafe list(zone, cpu).pointee.clear() }
        unsafe zones[zone].clear(present: layout.zones[zone].present)
        seed(zone)
      }
      router.rebuild(description, layout)
      if chosenMinFree == nil { followMinFree() }
      applyTunables()
    }
  }

  /// The index of the zone that the frame lies in; -1 where there is no memory.
  @inline(__always)
  func zone(of frame: Int) -> Int {
    let section = frame &>> sectionShift
    if UInt(bitPattern: section) >= UInt(bitPattern: sections.count) { return -1 }
    let entry = sections[section]
    return entry == Router.mixed ? searchZone(of: frame) : Int(entry) &- 1
  }

  /// The index of the zone that has all of the section of a frame below the table's limit; below 0 where none has.
  @inlinable @inline(__always)
  func zoneOfSection(of frame: Int) -> Int {
    Int(truncatingIfNeeded: Int16(bitPattern: sections[frame &>> sectionShift])) &- 1
  }

  @inline(never)
  private func searchZone(of frame: Int) -> Int { router.searchZone(of: frame) }

  @inline(__always)
  func nodeIndex(ofZone zone: Int) -> Int { unsafe zones[zone].nodeIndex }

  /// The list of a zone's free frames that a CPU keeps.
  @inline(__always)
  func list(_ zone: Int, _ cpu: Int) -> UnsafeMutablePointer<CPUList> { unsafe lists[zone, cpu] }

  /// Gives back to the host what it holds of whole free blocks of a zone, once they are many: the zone is locked.
  ///
  /// A sixteenth of the zone is kept, so that what is freed and allocated again in turn stays committed.
  @inline(__always)
  func discardIfMany(_ zone: Int) {
    let limit = unsafe max(64, zones[zone].managed >> 13)
    if unsafe zones[zone].discardableCount > limit { discardFreeBlocks(zone) }
  }

  /// Gives back to the host what it holds of whole free blocks of a zone: the zone is locked.
  @inline(never)
  func discardFreeBlocks(_ zone: Int) {
    unsafe zones[zone].drainDiscardable { [store] blocks in
      store.discard(blocks: blocks)
      table.discard(blocks.lowerBound << 9..<blocks.upperBound << 9, tableMapping)
    }
  }

  /// Gives back to the host, at once, the bytes of all whole free blocks that it holds.
  public func trim() {
    for zone in 0..<zoneCount {
      unsafe zoneLocks[zone].lock()
      discardFreeBlocks(zone)
      unsafe zoneLocks[zone].unlock()
    }
  }

  // MARK: What there is

  /// All nodes, in ascending order.
  public var nodes: [NodeID] { description.nodes.map(\.id) }

  /// The zones that the node has memory in, lowest first.
  public func zones(of node: NodeID) -> [ZoneKind] {
    guard let index = router.nodeIndex(node) else { return [] }
    return zones(at: index).filter { router.isPopulated($0) }.map { layout.zones[$0].kind }
  }

  /// Whether any node has memory in zones of that kind.
  func hasMemory(in kind: ZoneKind) -> Bool {
    layout.zones.indices.contains { layout.zones[$0].kind == kind && router.isPopulated($0) }
  }

  /// The nodes that serve a request of the node's, best first; empty where there is no such node.
  public func fallbackOrder(of node: NodeID) -> [NodeID] {
    guard let index = router.nodeIndex(node) else { return [] }
    return router.orders[index].map { description.nodes[$0].id }
  }
}
