import Glibc
import MemoryTypes
import Synchronization
import Testing
import Topology

@testable import PhysicalMemory

/// Histories in which memory is allocated, freed, moved, added, taken away and brought back, against a naive model.
@Suite struct PlugModelTests {
  static let block = 32768
  private static let places: [OnlinePlace] = [.automatic, .kernel, .movable]

  private struct Place {
    var node: Int
    var online = true
    var movable = false
  }

  /// What should be there.
  private final class Model: FrameMover, @unchecked Sendable {
    let memory: PhysicalMemory
    var held: [(range: FrameRange, mobility: Mobility, mark: UInt64)] = []
    /// The node of every block, and whether it is in use and in a Movable zone.
    var blocks: [Int: Place] = [:]
    var poisoned: Set<UInt64> = []
    /// Marks of what must not be moved.
    var pinned: Set<UInt64> = []
    init(_ memory: PhysicalMemory) { self.memory = memory }

    func move(_ allocation: Allocation, to target: FrameRange) -> Bool {
      guard let index = held.firstIndex(where: { $0.range == allocation.range }), !pinned.contains(held[index].mark)
      else { return false }
      memory.copyFrames(allocation.range, to: target)
      held[index].range = target
      return true
    }
  }

  private func check(_ model: Model, _ context: String) throws {
    let memory = model.memory
    #expect(memory.verify() == [], "\(context)")
    let managed: Int = model.blocks.values.filter(\.online).count * Self.block
    var frames = 0
    for each in model.held { frames += Int(each.range.count.rawValue) }
    let free = managed - frames - model.poisoned.count
    let snapshot = memory.snapshot()
    #expect(snapshot.managed == managed, "\(context)")
    #expect(snapshot.free == free, "\(context)")
    for node in snapshot.nodes.indices {
      let expected: Int = model.blocks.values.filter { $0.online && $0.node == node }.count * Self.block
      #expect(Int(snapshot.nodes[node].present.rawValue) == expected, "\(context)")
      #expect(memory.zones(of: NodeID(node)).isEmpty == (expected == 0), "\(context)")
      for zone in snapshot.nodes[node].zones {
        let isWhole = zone.spanned >= zone.present && zone.managed == zone.present && zone.isolated.rawValue == 0
        #expect(isWhole, "\(context)")
      }
    }
    let sorted = model.held.sorted { $0.range.start < $1.range.start }
    for (one, next) in zip(sorted, sorted.dropFirst()) {
      #expect(!one.range.overlaps(next.range), "\(context): \(one.range) \(next.range)")
    }
    for each in sorted {
      let place = try #require(model.blocks[Int(each.range.start.rawValue) / Self.block], "\(context)")
      let fits = place.online && (!place.movable || each.mobility == Mobility.movable)
      #expect(fits, "\(context): \(each.range)")
      #expect(memory.bytes.load64(PhysicalAddress(each.range.start.rawValue << 12)) == each.mark, "\(context)")
    }
  }

  /// Isolates a range, where that can be, and lets go of it.
  private func isolateForAMoment(_ memory: PhysicalMemory, _ range: FrameRange, _ context: String) {
    do {
      let isolation = try memory.isolate(range)
      #expect(memory.verify() == [], "\(context)")
      memory.endIsolation(isolation)
    } catch {
      switch error {
      case .busy, .notPluggable: break
      default: Issue.record("\(context): \(error)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
  func agreesWithModel(seed: UInt64) throws {
    let profile: Profile = seed % 2 == 0 ? .veridian : .linux
    let memory = try unguarded(
      machine([[0x40000..<0x80000], [0x80000..<0xA0000, 0x100000..<0x120000]], cpus: [2, 1], profile: profile))
    let model = Model(memory)
    memory.setMover(model)
    for number in 8..<20 { model.blocks[number] = Place(node: number < 16 ? 0 : 1) }
    for number in 32..<36 { model.blocks[number] = Place(node: 1) }
    var random = SplitMix64(seed: seed)
    var marks: UInt64 = 0
    for step in 0..<500 {
      let context = "seed \(seed) step \(step)"
      func range(_ number: Int) -> FrameRange { frames(number * Self.block, Self.block) }
      switch random.below(20) {
      case 0..<8:
        let counts: [Int] = [1, 1, 2, 3, 8, 33, 512, 700, 4096, 32768]
        let count = counts[random.below(counts.count)]
        let mobility: Mobility = random.below(4) == 0 ? .unmovable : .movable
        var request = FrameRequest(count, cpu: random.below(3), mobility: mobility)
        if random.below(3) == 0 { request.node = NodeID(random.below(2)) }
        guard let got = try? memory.allocate(request) else { break }
        marks += 1
        memory.bytes.store64(marks, at: PhysicalAddress(got.start.rawValue << 12))
        model.held.append((got, mobility, marks))
        if random.below(12) == 0 { model.pinned.insert(marks) }
      case 8..<12:
        guard let index = model.held.indices.randomElement(using: &random) else { break }
        try memory.free(model.held.remove(at: index).range, cpu: CPUID(random.below(3)))
      case 12..<15:
        let number = model.blocks.keys.sorted().randomElement(using: &random)!
        let before = memory.snapshot()
        let held = model.held.map(\.range)
        do {
          try memory.offline(range(number))
          #expect(model.blocks[number]!.online, "\(context)")
          model.blocks[number]!.online = false
          model.poisoned = model.poisoned.filter { (frame: UInt64) -> Bool in Int(frame) / Self.block != number }
        } catch {
          switch error {
          case .notPluggable:
            // In use in one zone it is whole: only what is not in use is refused like that.
            #expect(!model.blocks[number]!.online, "\(context): \(error)")
            #expect((memory.snapshot() == before) == true, "\(context)")
          case .busy:
            // What was moved before it was seen that the rest cannot be lies where it was.
            #expect(model.held.map(\.range) == held, "\(context): \(error)")
            #expect(memory.snapshot().nodes.map(\.free) == before.nodes.map(\.free), "\(context)")
          default: Issue.record("\(context): \(error)")
          }
        }
      case 15..<17:
        let number = model.blocks.keys.sorted().randomElement(using: &random)!
        let place = Self.places[random.below(3)]
        let before = memory.snapshot()
        let possible = memory.possibleZones(for: range(number))
        do {
          try memory.online(range(number), as: place)
          #expect(!model.blocks[number]!.online, "\(context)")
          let zone = try #require(memory.onlyZone(of: range(number)), "\(context)")
          let expected: [ZoneKind] = place == OnlinePlace.automatic ? Array(possible.prefix(1)) : possible
          #expect(expected.contains(zone), "\(context)")
          model.blocks[number]!.online = true
          model.blocks[number]!.movable = zone == .movable
        } catch {
          let mayFail = model.blocks[number]!.online || (place == OnlinePlace.movable && profile == Profile.veridian)
          #expect(mayFail, "\(context): \(error)")
          #expect((memory.snapshot() == before) == true, "\(context)")
        }
      case 17:
        let number = 36 + random.below(12)
        let node = random.below(2)
        let before = memory.snapshot()
        do {
          try memory.add(range(number), to: NodeID(node))
          #expect(model.blocks[number] == nil, "\(context)")
          model.blocks[number] = Place(node: node, online: false)
        } catch { #expect(model.blocks[number] != nil, "\(context): \(error)") }
        #expect((memory.snapshot() == before) == true, "\(context)")
      case 18:
        let number = model.blocks.keys.sorted().randomElement(using: &random)!
        let before = memory.snapshot()
        isolateForAMoment(memory, range(number), context)
        #expect((memory.snapshot() == before) == true, "\(context)")
      default:
        let number = model.blocks.keys.sorted().randomElement(using: &random)!
        let frame = FrameNumber(UInt64(number * Self.block + random.below(Self.block)))
        let known = memory.poisonedFrames
        if (try? memory.softOffline(frame)) != nil {
          #expect(memory.isPoisoned(frame), "\(context)")
          if model.poisoned.insert(frame.rawValue).inserted {
            #expect(memory.poisonedFrames == known + 1, "\(context)")
          }
        }
      }
      try check(model, context)
    }
    memory.reset()
    #expect(memory.verify() == [])
    #expect(memory.snapshot().free == 16 * Self.block)
  }

  // MARK: Threads

  /// Frames that threads hold, and that may be moved while nobody looks at them.
  @safe private final class Slots: FrameMover, @unchecked Sendable {
    let memory: PhysicalMemory
    let locks: UnsafeMutablePointer<Lock>
    let ranges: UnsafeMutablePointer<FrameRange?>
    static let count = 256
    let moves = Atomic<Int>(0)

    init(_ memory: PhysicalMemory) {
      self.memory = memory
      unsafe locks = .allocate(capacity: Self.count)
      unsafe ranges = .allocate(capacity: Self.count)
      for index in 0..<Self.count {
        unsafe (locks + index).initialize(to: Lock())
        unsafe (ranges + index).initialize(to: nil)
      }
    }
    deinit {
      unsafe locks.deinitialize(count: Self.count)
      unsafe locks.deallocate()
      unsafe ranges.deallocate()
    }

    func move(_ allocation: Allocation, to target: FrameRange) -> Bool {
      for index in 0..<Self.count {
        guard unsafe locks[index].tryLock() else { continue }
        defer { unsafe locks[index].unlock() }
        guard unsafe ranges[index] == allocation.range else { continue }
        memory.copyFrames(allocation.range, to: target)
        unsafe ranges[index] = target
        moves.add(1, ordering: .relaxed)
        return true
      }
      return false
    }
  }

  @Test func memoryComesAndGoesUnderThreadsThatAllocate() throws {
    let memory = try unguarded(machine([[0x8000..<0x20000], [0x20000..<0x38000]], profile: .linux))
    let slots = Slots(memory)
    memory.setMover(slots)
    let managed = memory.snapshot().managed
    let stop = Atomic<Int>(0)
    let wrong = Atomic<Int>(0)
    let plugged = Atomic<Int>(0)
    onThreads(3) { thread in
      var random = SplitMix64(seed: UInt64(thread))
      if thread == 2 {
        // Blocks 1 to 6; some at a time are gone, or in the Movable zone.
        while stop.load(ordering: .relaxed) < 2 {
          let range = frames((1 + random.below(6)) * Self.block, Self.block)
          guard (try? memory.offline(range)) != nil else { continue }
          plugged.add(1, ordering: .relaxed)
          if memory.snapshot().managed != managed - Self.block { wrong.add(1, ordering: .relaxed) }
          try! memory.online(range, as: Self.places[random.below(3)])
        }
        return
      }
      for step in 0..<6000 {
        let index = random.below(Slots.count / 2) * 2 + thread
        unsafe slots.locks[index].lock()
        let mark = UInt64(index)
        if let range = unsafe slots.ranges[index] {
          if memory.bytes.load64(PhysicalAddress(range.start.rawValue << 12)) != mark {
            wrong.add(1, ordering: .relaxed)
          }
          try! memory.free(range, cpu: CPUID(random.below(4)))
          unsafe slots.ranges[index] = nil
        } else {
          let counts: [Int] = [1, 1, 2, 8, 3, 77, 512, 700]
          let count = counts[random.below(counts.count)]
          let request = FrameRequest(count, cpu: random.below(4), mobility: .movable)
          if let range = try? memory.allocate(request) {
            memory.bytes.store64(mark, at: PhysicalAddress(range.start.rawValue << 12))
            unsafe slots.ranges[index] = range
          } else {
            wrong.add(1, ordering: .relaxed)
          }
        }
        unsafe slots.locks[index].unlock()
        if step % 64 == 0 { sched_yield() }
      }
      stop.add(1, ordering: .relaxed)
    }
    #expect(wrong.load(ordering: .relaxed) == 0)
    #expect(plugged.load(ordering: .relaxed) > 0 && slots.moves.load(ordering: .relaxed) > 0)
    #expect(memory.verify() == [])
    for index in 0..<Slots.count {
      if let range = unsafe slots.ranges[index] { try memory.free(range, cpu: CPUID(0)) }
    }
    #expect(memory.snapshot().free == managed)
    #expect(memory.verify() == [])
    for number in 1..<7 { try memory.offline(frames(number * Self.block, Self.block)) }
    #expect(memory.snapshot().managed == 0)
    memory.setMover(nil)
  }
}
