import SystemPackage
import Testing
import Topology

/// Random lines, good and bad, against a model of what is allocated.
@Suite struct HistoryTests {
  @Test(
    arguments: [
      (Preset.fourNode, 1), (.fourNode, 2), (.largest, 3), (.i386HighMemory, 4), (.aarch64, 5), (.riscv64, 6),
      (.cxl, 7),
    ] as [(Preset, UInt64)])
  func survivesAThousandRandomLines(preset: Preset, seed: UInt64) throws {
    let console = try Console(preset)
    let booted = console.free
    var random = SplitMix64(seed: seed)
    /// Address and frames of what is allocated.
    var held: [(address: String, frames: Int)] = []
    let client = console.open()
    for step in 0..<1000 {
      let context = "\(preset) seed \(seed) step \(step)"
      let free = console.free.reduce(0, +)
      switch random.below(10) {
      case 0..<5:
        let order = random.below(12)
        let count = 1 + random.below(random.below(2) == 0 ? 20 : 3000)
        let byOrder = random.below(2) == 0
        var line = byOrder ? "alloc order=\(order)" : "alloc count=\(count)"
        if random.below(2) == 0 { line += " node=\(random.below(console.free.count))" }
        if random.below(3) == 0 { line += " cpu=\(random.below(2))" }
        if let errno = client.writeAll(line + "\n") {
          #expect(errno == .noMemory, "\(context): \(line): \(client.readAll())")
          #expect(console.free.reduce(0, +) == free, "\(context): \(line)")
        } else {
          let frames = byOrder ? 1 << order : count
          held.append((String(client.readAll().dropLast()), frames))
          #expect(console.free.reduce(0, +) == free - frames, "\(context): \(line)")
        }
      case 5..<8:
        guard let index = held.indices.randomElement(using: &random) else { continue }
        let (address, frames) = held.remove(at: index)
        #expect(client.writeAll("free \(address)\n") == nil, "\(context)")
        #expect(client.readAll().hasPrefix("freed \(frames) frame"), "\(context)")
        #expect(console.free.reduce(0, +) == free + frames, "\(context)")
        #expect(client.writeAll("free \(address)\n") == .invalidArgument, "\(context)")
        _ = client.readAll()
      default:
        let line = Self.nonsense(&random)
        if client.writeAll(line + "\n") != nil {
          #expect(console.free.reduce(0, +) == free, "\(context): \(line)")
        } else if line.hasPrefix("reset") || line.hasPrefix("free all") {
          held = []
        } else if line.hasPrefix("alloc") {
          held += client.readAll().lines.map { (String($0), free - console.free.reduce(0, +)) }
        }
        _ = client.readAll()
      }
      if step % 250 == 249 { #expect(console.differences == [], "\(context)") }
    }
    #expect(client.writeAll("free all\n") == nil)
    #expect(client.readAll().contains("in \(held.count) allocations") || held.count == 1, "\(preset) seed \(seed)")
    #expect(console.free == booted, "\(preset) seed \(seed)")
    #expect(try console.answer("check").hasPrefix("no difference, state "), "\(preset) seed \(seed)")
  }

  /// Words of the language and others, in any order.
  private static func nonsense(_ random: inout SplitMix64) -> String {
    let words = [
      "mem", "dump_pt", "alloc", "free", "all", "list", "check", "help", "order=1", "node=1", "count=3", "zone=DMA",
      "zone=", "order=99", "0x1000", "0xffffffffffffffff", "-1", "=", "1T", "\u{e9}", "\t", "node=77", "cpu=1", "x=y",
    ]
    return (0...random.below(4)).map { _ in words[random.below(words.count)] }.joined(separator: " ")
  }
}
