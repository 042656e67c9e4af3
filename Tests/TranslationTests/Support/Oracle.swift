import Glibc
import MemoryTypes

@testable import Translation

/// Asks a program that has a real MMU at hand (QEMU's) where the tables in a memory image lead.
enum Oracle {
  static var program: String? { environment("MMU_ORACLE") }
  static var isThere: Bool { program.map { unsafe access($0, X_OK) == 0 } ?? false }
  static var histories: Int { environment("ORACLE_HISTORIES").flatMap(Int.init) ?? 20 }

  private static func environment(_ name: String) -> String? { unsafe getenv(name).map { unsafe String(cString: $0) } }

  static func temporaryFile() -> String {
    "\(environment("TMPDIR") ?? "/tmp")/translation-\(getpid())-\(clock()).image"
  }

  /// x86-64 and RISC-V list their mappings; AArch64 does not.
  static func listsPermissions(_ format: PageFormat) -> Bool { format.architecture != .aarch64 }

  struct Failure: Error { var command: String }

  /// The lines that the program prints.
  private static func ask(
    _ format: PageFormat, _ file: String, _ registers: [(name: String, value: UInt64)], _ rest: String
  ) throws -> [Substring] {
    var command = "\(program ?? "") \(format.architecture.rawValue) --memory \(file)"
    for (name, value) in registers { command += " --set \(name)=0x\(String(value, radix: 16))" }
    if format == .x86_64_5level { command += " --set levels=5" }
    command += " " + rest
    var text: [UInt8] = []
    guard let pipe = unsafe popen(command, "r") else { throw Failure(command: command) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe fread($0.baseAddress!, 1, $0.count, pipe) }
      if count == 0 { break }
      text += buffer[..<count]
    }
    guard unsafe pclose(pipe) == 0 else { throw Failure(command: command) }
    return String(decoding: text, as: UTF8.self).split(separator: "\n")
  }

  /// Each address with the physical one, or nil for none.
  static func translations(
    _ format: PageFormat, file: String, registers: [(name: String, value: UInt64)], addresses: [UInt64]
  ) throws -> [UInt64: UInt64?] {
    var answers: [UInt64: UInt64?] = [:]
    let list = addresses.map { "0x" + String($0, radix: 16) }.joined(separator: " ")
    for line in try ask(format, file, registers, list) {
      let words = line.split(separator: " ")
      guard words.count == 3, let address = UInt64(words[0].dropFirst(2), radix: 16) else { continue }
      answers[address] = .some(words[2] == "none" ? nil : UInt64(words[2].dropFirst(2), radix: 16))
    }
    return answers
  }

  /// Pages that follow one another, in virtual and in physical memory, with the same permissions.
  struct Run: Equatable {
    var start: UInt64
    var physical: UInt64
    var size: UInt64
    var permissions: String

    /// Ascending runs with `next` behind them, which joins the last where it can.
    static func append(_ next: Run, to runs: inout [Run]) {
      if let last = runs.last, last.start + last.size == next.start, last.physical + last.size == next.physical,
        last.permissions == next.permissions
      {
        runs[runs.count - 1].size += next.size
      } else {
        runs.append(next)
      }
    }
  }

  static func permissions(_ flags: PageFlags) -> String {
    let letters: [(PageFlags, String)] = [
      (.writable, "w"), (.user, "u"), (.executable, "x"), (.global, "g"), (.accessed, "a"), (.dirty, "d"),
    ]
    return letters.map { flags.contains($0.0) ? $0.1 : "-" }.joined()
  }

  /// QEMU's own list of all mappings: `info tlb` on x86, `info mem` on RISC-V.
  static func runs(_ format: PageFormat, file: String, registers: [(name: String, value: UInt64)]) throws -> [Run] {
    var runs: [Run] = []
    let mask: UInt64 = 1 << format.addressBits - 1
    for line in try ask(format, file, registers, "--map") {
      let words = line.split(separator: " ")
      if format.architecture == .riscv64 {
        guard words.count == 4, let start = UInt64(words[0], radix: 16), let physical = UInt64(words[1], radix: 16),
          let size = UInt64(words[2], radix: 16)
        else { continue }
        let has = words[3]
        let text = "wuxgad".map { has.contains($0) ? String($0) : "-" }.joined()
        Run.append(Run(start: start & mask, physical: physical, size: size, permissions: text), to: &runs)
      } else {
        guard words.count == 3, let start = UInt64(words[0].dropLast(), radix: 16),
          let physical = UInt64(words[1], radix: 16), words[2].count == 9
        else { continue }
        // X (never execute) G P (large) D A C T U W; the size is not printed: a large page begins where its size allows
        let bits = Array(words[2])
        let text = [
          bits[8] == "W" ? "w" : "-", bits[7] == "U" ? "u" : "-", bits[0] == "X" ? "-" : "x",
          bits[1] == "G" ? "g" : "-",
          bits[4] == "A" ? "a" : "-", bits[3] == "D" ? "d" : "-",
        ].joined()
        // on PAE QEMU prints the never-execute bit as part of the address
        let frame = physical & (1 << format.physicalBits - 1)
        runs.append(Run(start: start & mask, physical: frame, size: bits[2] == "P" ? 1 : 0, permissions: text))
      }
    }
    return runs.sorted { $0.start < $1.start }
  }
}
