import AddressSpaces
import Machine
import MemoryTypes
import Testing
import Topology

@testable import PhysicalMemory

/// Emptying a range leads every holder elsewhere, and no byte is lost.
@Suite struct MoveTests {
  @Test(arguments: Paging.allCases) func emptiesARange(_ paging: Paging) throws {
    let small = try SmallMachine([64], paging: paging)
    let memory = small.machine.memory
    let parent = try small.users.spawn(name: "parent")
    let own = try small.map(parent, pages: 300)
    let shared = try small.map(parent, pages: 40, shared: true)
    small.fill(parent, own, pages: 300)
    small.fill(parent, shared, pages: 40)
    let child = try small.users.fork(parent)
    small.fill(child, own, pages: 50, salt: 7)
    let line = try memory.allocate(
      FrameRequest(count: FrameCount(5), mobility: .movable, owner: FrameOwner(.command, id: 1)))
    let word: UInt64 = 0x1234_5678
    try unsafe withUnsafeBytes(of: word) {
      try unsafe memory.bytes.write($0, at: memory.frameSize.address(of: line.start + FrameCount(4)))
    }

    // Block by block, the whole machine: what is unmovable stays, all else leaves the block.
    var ranges: [FrameRange] = []
    memory.forEachAllocation { allocation in
      let block = FrameRange(
        start: FrameNumber(allocation.range.start.rawValue & ~511), count: FrameCount(512))
      if allocation.mobility == .movable, ranges.last != block { ranges.append(block) }
      return true
    }
    #expect(!ranges.isEmpty)
    for range in ranges {
      let stuck = try empty(range, of: memory) {
        memory.forEachAllocation { allocation in
          #expect(!allocation.range.overlaps(range))
          return true
        }
      }
      if let stuck { #expect(stuck.mobility != .movable, "\(stuck)") }
      #expect(memory.verify() == [])
    }
    #expect(small.users.events.migrated > 0)
    #expect(small.users.events.migrationsFailed == 0)
    #expect(small.damaged(parent, own, pages: 300) == 0)
    #expect(small.damaged(child, own, pages: 50, salt: 7) == 0)
    #expect(small.damaged(parent, shared, pages: 40) == 0)
    #expect(small.damaged(child, shared, pages: 40) == 0)

    var found: [Allocation] = []
    memory.forEachAllocation {
      if $0.owner.kind == .command { found.append($0) }
      return true
    }
    #expect(found.count == 1)
    #expect(found[0].range.count == FrameCount(5))
    var read: UInt64 = 0
    unsafe withUnsafeMutableBytes(of: &read) {
      unsafe memory.bytes.read(into: $0, at: memory.frameSize.address(of: found[0].range.start + FrameCount(4)))
    }
    #expect(read == word)
    small.users.exit(child)
    small.users.exit(parent)
    #expect(memory.verify() == [])
  }

  /// What somebody holds beyond the allocation itself stays where it is.
  @Test func leavesWhatIsPinned() throws {
    let small = try SmallMachine([32])
    let memory = small.machine.memory
    let held = try memory.allocate(FrameRequest(mobility: .movable, owner: FrameOwner(.command, id: 1)))
    try memory.retain(held.start)
    let block = FrameRange(start: FrameNumber(held.start.rawValue & ~511), count: FrameCount(512))
    #expect(try empty(block, of: memory) {}?.range.start == held.start)
    #expect(memory.references(of: held.start) == 2)
    #expect(memory.verify() == [])
  }

  /// Leads what lies in a block elsewhere: what could not be moved, or nil after `body` has seen the block empty. Blocks that hold what is
  /// unmovable are left alone.
  private func empty(_ range: FrameRange, of memory: PhysicalMemory, _ body: () -> Void) throws -> Allocation? {
    let isolation: Isolation
    do { isolation = try memory.isolate(range) } catch { return nil }
    var moved: [Relocation] = []
    let frames = Int(range.start.rawValue)..<Int(range.end.rawValue)
    let stuck = memory.evacuate(frames, isolation.zone, &moved)
    if stuck == nil { body() }
    memory.endIsolation(isolation)
    return stuck
  }
}
