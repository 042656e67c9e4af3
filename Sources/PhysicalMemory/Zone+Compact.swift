/// What compaction asks of a zone. The caller holds the lock; `block` counts from the zone's first.
extension Zone {
  /// The first movable block from `block` on that is taken apart and has 2^index to 2^(index+1) - 1 free frames.
  func nextMovable(withClass index: Int, from block: Int) -> Int? { classTree(1, index).next(from: block) }

  /// Free frames in movable blocks that are taken apart: what there is to move others into without taking a whole block apart.
  var looseMovableFrames: Int { (0..<9).reduce(0) { $0 + count(1, $1) << $1 } }

  /// Takes every free frame of a block that is taken apart, so that nobody else does; `release` gives them back.
  mutating func holdFree(_ block: Int) -> [Range<Int>] {
    var held: [Range<Int>] = []
    while let first = findRun(block, 1, 1) {
      var end = first + 1
      while end < 512, !isUsed((block + firstBlock) << 9 + end) { end += 1 }
      takeRun(block, first, end - first)
      free -= end - first
      held.append(first..<end)
    }
    return held
  }

  mutating func release(_ block: Int, _ held: [Range<Int>]) {
    for run in held {
      free += run.count
      giveRun(block, run.lowerBound, run.count)
    }
  }

  /// `take` without taking a whole block apart or stealing from other mobilities.
  mutating func takeLoose(_ count: Int, alignment: Int) -> Int? {
    guard count < Zone.blockFrames, let frame = takePartial(count, alignment, 1, tries: .max) else { return nil }
    free -= count
    return frame
  }
}
