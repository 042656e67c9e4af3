import AddressSpaces
import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import Testing
import Topology

/// Every operation on memory together, at random, against what a reader must find.
@Suite struct MemoryModelTests {
  /// What a process's pages and files must hold.
  private struct Model {
    var processes: [(pid: ProcessID, area: UInt64, words: [Int: UInt64])] = []
    var files: [(name: String, bytes: [UInt8])] = []
    var held: [(range: FrameRange, isMovable: Bool)] = []
  }

  private static let pages = 400

  /// Two machines that are soon short, and one of whose nodes the second can be taken away block by block.
  private static let machines: [(sizes: [UInt64], paging: Paging)] = [
    ([12, 8], .fourLevel), ([12, 8], .granule16K), ([128, 256], .fourLevel),
  ]

  @Test(arguments: [1, 2, 3, 4] as [UInt64], 0..<3) func everything(_ seed: UInt64, _ kind: Int) throws {
    let (sizes, paging) = Self.machines[kind]
    print("memory model: seed \(seed), nodes of \(sizes) MiB, \(paging)")
    var random = Random(seed: seed)
    let small = try SmallMachine(sizes, paging: paging)
    let machine = small.machine
    machine.memory.drainLists()
    let total = machine.memory.snapshot().nodes.map(\.free)
    var model = Model()
    var names = 0
    func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

    for step in 0..<400 {
      switch below(12) {
      case 0 where model.processes.count < 4:
        guard let process = try? small.users.spawn(name: "model", cpu: CPUID(below(4))) else { break }
        if let area = try? small.map(process, pages: Self.pages) { model.processes.append((process.pid, area, [:])) }
      case 1 where !model.processes.isEmpty && model.processes.count < 4:
        let parent = model.processes[below(model.processes.count)]
        if let process = small.users.process(parent.pid), let child = try? small.users.fork(process) {
          model.processes.append((child.pid, parent.area, parent.words))
        }
      case 2, 3, 4:
        guard !model.processes.isEmpty else { break }
        let index = below(model.processes.count)
        for _ in 0..<below(80) {
          guard let process = small.users.process(model.processes[index].pid) else { break }
          let page = below(Self.pages)
          let word = random.next()
          let outcome = unsafe withUnsafeBytes(of: word) {
            unsafe small.users.store(process, model.processes[index].area + UInt64(page) * small.page, $0)
          }
          guard case .done = outcome else { break }
          model.processes[index].words[page] = word
        }
      case 5 where model.files.count < 4:
        names += 1
        if machine.createFile("f\(names)", size: 0) != nil { model.files.append(("f\(names)", [])) }
      case 6, 7:
        guard !model.files.isEmpty else { break }
        let index = below(model.files.count)
        guard let file = machine.file(named: model.files[index].name) else { break }
        let offset = below(model.files[index].bytes.count + 1)
        let size = below(60 * Int(small.page))
        let byte = UInt8(truncatingIfNeeded: random.next())
        do throws(MemoryError) {
          try machine.write(
            file, offset: UInt64(offset), size: UInt64(size), pattern: [byte], cpu: CPUID(below(4)))
          let end = max(model.files[index].bytes.count, offset + size)
          model.files[index].bytes += [UInt8](repeating: 0, count: end - model.files[index].bytes.count)
          model.files[index].bytes.replaceSubrange(
            offset..<offset + size, with: [UInt8](repeating: byte, count: size))
        } catch { #expect(file.size == UInt64(model.files[index].bytes.count)) }
      case 8:
        let mobility = Mobility.allCases[below(3)]
        let count = [1, 1, 2, 3, 8, 40, 512][below(7)]
        let request = FrameRequest(
          count: FrameCount(UInt64(count)), cpu: CPUID(below(4)), mobility: mobility,
          owner: FrameOwner(.command, id: UInt32(step)))
        if let range = try? machine.memory.allocate(request) { model.held.append((range, mobility == .movable)) }
      case 9:
        // Movable frames may lie elsewhere by now: all of the lines' are found where they are.
        var ranges: [FrameRange] = []
        machine.memory.forEachAllocation {
          if $0.owner.kind == .command { ranges.append($0.range) }
          return true
        }
        #expect(ranges.count == model.held.count)
        for range in ranges where below(2) == 0 {
          try machine.memory.free(range, cpu: CPUID(below(4)))
          model.held.removeLast()
        }
      case 10:
        switch below(7) {
        // What holds unmovable memory is refused, and nothing changes then.
        case 5: try? machine.setOffline(machine.blocks[below(machine.blocks.count)])
        case 6:
          try? machine.setOnline(
            machine.blocks[below(machine.blocks.count)], as: [.automatic, .movable, .kernel][below(3)])
        case 0: machine.compactAll()
        case 1: machine.reclaimCaches(pages: true, slab: true)
        case 2 where !model.files.isEmpty:
          if let file = machine.file(named: model.files[below(model.files.count)].name) { small.users.sync(file) }
        case 3 where !model.files.isEmpty:
          let gone = model.files.remove(at: below(model.files.count))
          #expect(machine.removeFile(gone.name))
        case 4 where model.processes.count > 1:
          let gone = model.processes.remove(at: below(model.processes.count))
          if let process = small.users.process(gone.pid) { small.users.exit(process) }
        default: break
        }
      default:
        guard !model.files.isEmpty else { break }
        try compare(model.files[below(model.files.count)], small)
      }
      machine.endLine()
      // The OOM killer takes whole processes.
      model.processes.removeAll { small.users.process($0.pid) == nil }
      let differences = machine.verify()
      #expect(differences == [], "seed \(seed), step \(step)")
      if !differences.isEmpty { return }
    }

    for file in model.files { try compare(file, small) }
    for each in model.processes {
      guard let process = small.users.process(each.pid) else { continue }
      for (page, word) in each.words {
        var found: UInt64 = 0
        let outcome = unsafe withUnsafeMutableBytes(of: &found) {
          unsafe small.users.load(process, each.area + UInt64(page) * small.page, into: $0)
        }
        guard case .done = outcome else { break }
        #expect(found == word, "seed \(seed), page \(page) of \(each.pid)")
      }
      small.users.exit(process)
    }
    for file in model.files { #expect(machine.removeFile(file.name)) }
    var ranges: [FrameRange] = []
    machine.memory.forEachAllocation {
      if $0.owner.kind == .command { ranges.append($0.range) }
      return true
    }
    for range in ranges { try machine.memory.free(range, cpu: CPUID(0)) }
    for block in machine.blocks { try machine.setOnline(block) }
    machine.memory.drainLists()
    #expect(machine.verify() == [])
    // Process 1 may have been killed, which gives more than was free at first.
    let free = machine.memory.snapshot().nodes.map(\.free)
    #expect(zip(free, total).allSatisfy { $0 >= $1 } || free.reduce(.zero, +) >= total.reduce(.zero, +))
  }

  private func compare(_ file: (name: String, bytes: [UInt8]), _ small: SmallMachine) throws {
    let found = try #require(small.machine.file(named: file.name))
    var bytes: [UInt8] = []
    do {
      try small.users.read(found, offset: 0, size: found.size, cpu: CPUID(0)) { bytes += $1 }
    } catch { return }
    #expect(bytes == file.bytes, "\(file.name)")
  }
}
