import Testing
import Topology

@Suite struct RangeListTests {
  @Test func listsAreAsLinuxWritesThem() {
    #expect(RangeList.list([]) == "")
    #expect(RangeList.list([5]) == "5")
    #expect(RangeList.list([0, 1, 2, 3, 8]) == "0-3,8")
    #expect(RangeList.list([0, 2, 3]) == "0,2-3")
  }

  @Test func masksHaveTheWidthThatLinuxGivesThem() {
    #expect(RangeList.mask([5], width: 8) == "20")
    #expect(RangeList.mask([0, 1, 2, 3], width: 8) == "0f")
    #expect(RangeList.mask([0], width: 2) == "1")
    #expect(RangeList.mask([0, 33], width: 40) == "02,00000001")
    #expect(RangeList.mask([31], width: 32) == "80000000")
    #expect(RangeList.mask([9], width: 8) == "00")
    #expect(RangeList.mask([], width: 0) == "")
    #expect(RangeList.mask([64], width: 65) == "1,00000000,00000000")
  }

  @Test func listsParse() {
    #expect(RangeList.parse(list: "0-3,8\n", limit: 16) == [0, 1, 2, 3, 8])
    #expect(RangeList.parse(list: "", limit: 16) == [])
    #expect(RangeList.parse(list: "3,1,1", limit: 16) == [1, 3])
    #expect(RangeList.parse(list: "0-7:2/4", limit: 16) == [0, 1, 4, 5])
    for wrong in [
      "3-1", "a", "-1", "1-", "16", "0-16", "1-2-3", "+1", "0-7:2", "0-7:2/0", "0-99999999999999999999", "0-3:5/4",
    ] {
      #expect(RangeList.parse(list: wrong, limit: 16) == nil, "\(wrong)")
    }
  }

  @Test func masksParse() {
    #expect(RangeList.parse(mask: "f0\n", limit: 8) == [4, 5, 6, 7])
    #expect(RangeList.parse(mask: "00000001,00000001", limit: 64) == [0, 32])
    for wrong in ["", "g", "1 1", "1,,1", "100", "123456789", "-1", "+f"] {
      #expect(RangeList.parse(mask: wrong, limit: 8) == nil, "\(wrong)")
    }
  }

  @Test(arguments: [1, 8, 31, 32, 33, 64, 200]) func whatIsWrittenReadsBack(width: Int) {
    var random = SeededNumbers(seed: UInt64(width))
    for _ in 0..<200 {
      let ids = (0..<width).filter { _ in random.next() % 3 == 0 }
      #expect(RangeList.parse(list: RangeList.list(ids), limit: width) == ids, "width \(width)")
      #expect(RangeList.parse(mask: RangeList.mask(ids, width: width), limit: width) == ids, "width \(width)")
    }
  }
}

/// SplitMix64.
struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
