import MemoryTypes
import Testing
import Topology

@Suite struct SettingTests {
  @Test(arguments: [
    ("profile", "linux"), ("seed", "42"), ("aslr", "off"), ("thp", "madvise"),
    ("thp_shmem", "within_size"), ("hugepages", "64"), ("paging", "5level"), ("zones", "dma,normal"),
    ("wx", "off"), ("hybrid_threshold", "1"), ("tlb_cost_ns", "0"),
  ])
  func whatIsSetIsPrinted(key: String, value: String) throws {
    var machine = Preset.fourNode.machine
    try machine.settings.set(key, value)
    let setting = try #require(Setting.named(key))
    #expect(setting.given(machine.settings) == value)
    #expect(setting.resolved(machine) == value)
    #expect(machine.validate() == [])
  }

  @Test func everyRowIsTried() {
    #expect(
      Setting.all.map(\.key) == [
        "profile", "seed", "aslr", "thp", "thp_shmem", "hugepages", "paging", "zones", "wx", "hybrid_threshold",
        "tlb_cost_ns",
        "page_owner",
      ])
    for setting in Setting.all {
      #expect(!setting.documentation.isEmpty)
      #expect(!setting.resolved(Preset.fourNode.machine).isEmpty)
    }
  }

  @Test(arguments: [
    ("profile", "Linux"), ("seed", "-1"), ("seed", "18446744073709551616"), ("aslr", "2"), ("thp", ""),
    ("thp_shmem", "sometimes"), ("hugepages", "-1"), ("paging", "6level"),
    ("zones", ""), ("zones", "dma"), ("zones", "normal,dma"), ("zones", "normal,normal"), ("wx", "on"),
    ("hybrid_threshold", "0"),
    ("hybrid_threshold", "513"), ("tlb_cost_ns", "1000000001"), ("page_owner", "2"),
  ])
  func whatIsNoneIsRefused(key: String, value: String) throws {
    var settings = Settings()
    let expected = try #require(Setting.named(key)).expected
    #expect(throws: SettingError.invalidValue(key: key, value: value, expected: expected)) {
      try settings.set(key, value)
    }
    #expect(settings == Settings())
  }

  @Test func unknownKeysNameTheKnown() {
    var settings = Settings()
    let error = #expect(throws: SettingError.self) { try settings.set("colour", "red") }
    #expect(error?.description.contains("'colour'") == true)
    for setting in Setting.all { #expect(error?.description.contains(setting.key) == true) }
  }

  @Test func theProfileDecidesWhatIsNotSet() throws {
    var settings = Settings()
    #expect(settings.resolvedWX == .enforce)
    try settings.set("profile", "linux")
    #expect(settings.resolvedWX == .off)
    try settings.set("wx", "enforce")
    #expect(settings.resolvedWX == .enforce)
  }

  @Test func whatDoesNotFitTheArchitectureIsAMistake() throws {
    var machine = Preset.aarch64.machine
    try machine.settings.set("paging", "4level")
    try machine.settings.set("zones", "normal,high")
    #expect(machine.validate().map(\.place) == [.setting("paging"), .setting("zones")])
  }
}
