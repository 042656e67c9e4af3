import Testing

@testable import PhysicalMemory

/// Trees of bits against sets: whatever came before, both hold the same, and find the same.
@Suite struct BitTreeTests {
  @Test(arguments: [1, 63, 64, 65, 4096, 4097, 300_000], [false, true])
  func holdsWhatASetHolds(leaves: Int, isMirrored: Bool) {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    var shape = BitTreeShape(leaves: leaves)
    shape.isMirrored = isMirrored
    // The upper levels lie in front of the leaves, and a word that is nobody's on either side of these.
    let base = shape.upperWords + 1
    let count = base + shape.leafWords + 1
    let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
    unsafe memory.initialize(repeating: 0, count: count)
    defer { unsafe memory.deallocate() }
    unsafe withUnsafePointer(to: shape) { shape in
      let tree = unsafe BitTree(
        words: HostArray(UnsafeMutableRawPointer(memory), count: count), base: isMirrored ? count - 1 : base, upper: 0,
        shape: shape)
      var model: Set<Int> = []
      for step in 0..<min(2000, 1 << 20 / leaves + 50) {
        let first = random.below(leaves)
        let range = first..<min(leaves, first + 1 + random.below(random.below(4) == 0 ? 300 : 20))
        switch random.below(5) {
        case 0:
          tree.insert(first)
          model.insert(first)
        case 1:
          tree.remove(first)
          model.remove(first)
        case 2:
          #expect(tree.insert(range) == range.count { !model.contains($0) }, "seed \(seed), step \(step)")
          model.formUnion(range)
        case 3:
          #expect(tree.remove(range) == range.count { model.contains($0) }, "seed \(seed), step \(step)")
          model.subtract(range)
        default:
          tree.seed(range)
          model.formUnion(range)
        }
        let expected = model.sorted()
        #expect(tree.first == expected.first, "seed \(seed), step \(step)")
        #expect(tree.contains(first) == model.contains(first), "seed \(seed), step \(step)")
        #expect(tree.next(from: first) == expected.first { $0 >= first }, "seed \(seed), step \(step)")
        var end = first
        while model.contains(end) { end += 1 }
        #expect(tree.end(ofRunFrom: first) == end, "seed \(seed), step \(step)")
      }
      _ = tree.remove(0..<leaves)
    }
    #expect((0..<count).allSatisfy { unsafe memory[$0] == 0 }, "seed \(seed)")
  }
}
