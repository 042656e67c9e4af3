import Machine
import Testing

@Suite struct StatisticsTests {
  @Test func countersHaveAPlaceForEachCaseAndNoMore() {
    func check<Key: Counted>(_ key: Key.Type) {
      #expect(Key.allCases.map(\.rawValue) == Array(0..<Key.allCases.count))
      var counters = Counters<Key>()
      for each in Key.allCases {
        counters[each] = each.rawValue + 1
      }
      #expect(Key.allCases.allSatisfy { counters[$0] == $0.rawValue + 1 })
    }
    check(ZoneStatistic.self)
    check(NumaStatistic.self)
    check(NodeStatistic.self)
    check(VMEvent.self)
    #expect(MemoryLayout<ZoneStatistic.Values>.size == ZoneStatistic.allCases.count * MemoryLayout<Int>.size)
    #expect(MemoryLayout<NumaStatistic.Values>.size == NumaStatistic.allCases.count * MemoryLayout<Int>.size)
    #expect(MemoryLayout<NodeStatistic.Values>.size == NodeStatistic.allCases.count * MemoryLayout<Int>.size)
  }
}
