import AddressSpaces
import Commands
import FileTree
import Glibc
import Machine
import MemoryTypes
import SystemPackage
import Topology

/// A script of calls, and of looks at the files that show what comes of them, carried out on an emulated machine: the same lines were
/// carried out on Linux 6.1, and what that answered lies beside them.
///
/// Beside the calls: `show("FILE")`, of /proc/self, as far as it is about the window that scripts map in; `growth("FILE")`, by how much its
/// numbers have changed; `entries(ADDRESS, PAGES)` of pagemap, but for the frames; `peek` and `poke` of mem; `write("FILE", "TEXT")`;
/// `fill` and `read`, an access a page; `counters()`, by how much the machine's have changed; `soft(ADDRESS, LENGTH)`, a letter a page of
/// pagemap, P for present, S for present and written to, s for written to; `flags()`, the areas' VmFlags.
final class LinuxScript {
  let served: Served
  private let interpreter: Interpreter
  private var grown: [String: Int] = [:]
  private var counted: [String: Int]?
  private let window: ClosedRange<UInt64> = 0x1_0000_0000...0x200_0000_0000

  /// As the scripts of limits were carried out: so many areas more than process 1 has at first, or so many kB more than are promised.
  init(spareAreas: Int? = nil, sparePromises: Int? = nil) throws {
    var description = Preset.fourNode.machine
    description.settings.profile = .linux
    description.settings.thp = .never
    served = try Served(description)
    interpreter = Interpreter(served.machine)
    if let spareAreas { try set("max_map_count", served.text("proc/1/maps").lines.count + spareAreas) }
    if let sparePromises {
      try set("user_reserve_kbytes", 0)
      try set("overcommit_kbytes", served.text("proc/meminfo").value("Committed_AS:")! + sparePromises)
      try set("overcommit_memory", 2)
    }
  }

  private func set(_ name: String, _ value: Int) throws { try served.write("\(value)\n", to: "proc/sys/vm/" + name) }

  func run(_ script: String) throws -> [String] {
    var text = ""
    for line in script.split(separator: "\n") where !line.hasPrefix("#") { text += try carryOut(line) }
    return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  private func carryOut(_ line: Substring) throws -> String {
    var (pid, body) = (Int32(1), line)
    if line.hasPrefix("[pid "), let end = line.firstIndex(of: "]") {
      pid = Int32(line[..<end].dropFirst(5))!
      body = line[line.index(after: end)...].drop { $0 == " " }
    }
    let name = body.prefix { $0 != "(" }
    let arguments = body.dropFirst(name.count + 1).dropLast().split(separator: ", ").map(String.init)
    func number(_ index: Int) -> UInt64 {
      arguments[index].hasPrefix("0x") ? UInt64(arguments[index].dropFirst(2), radix: 16)! : UInt64(arguments[index])!
    }
    func text(_ index: Int) -> String { String(arguments[index].dropFirst().dropLast()) }
    let head = "[pid \(pid)] \(body)"
    let directory = "proc/\(pid)/"
    let process = served.machine.users.process(ProcessID(pid))
    switch name {
    case "show": return head + "\n" + indented(try shown(text(0), directory + text(0)))
    case "growth": return head + "\n" + indented(try growth(text(0), directory + text(0)))
    case "entries": return head + "\n" + indented(try entries(directory, number(0), Int(number(1))))
    case "soft": return head + " = " + (try soft(directory, number(0), Int(number(1) / 4096))) + "\n"
    case "flags": return head + "\n" + indented(try flags(directory))
    case "counters": return head + "\n" + indented(try counters())
    case "fill", "read":
      for offset in stride(from: 0, to: number(1), by: 4096) {
        touch(process!, number(0) + offset, write: name == "fill")
      }
      return head + " = 0\n"
    case "write":
      let errno = failure { () throws(Errno) in try served.write(text(1), to: directory + text(0)) }
      if let errno { return head + " = -1 \(symbol(errno))\n" }
      return head + " = \(min(text(1).utf8.count, 12))\n"
    case "peek", "poke":
      let before = process!.minorFaults
      var outcome = ""
      do throws(Errno) {
        if name == "peek" {
          let bytes = try served.open(directory + "mem").read(Int(number(1)), at: Int64(number(0)))
          outcome = "\(bytes.count) \(quoted(bytes.prefix(32)))"
        } else {
          outcome = "\(try served.open(directory + "mem", O_WRONLY).write(text(1), at: Int64(number(0))))"
        }
      } catch { outcome = "-1 \(symbol(error))" }
      return head + " = \(outcome) faults=\(process!.minorFaults - before)\n"
    default:
      var answer = TextBuffer()
      interpreter.replay(String(line), into: &answer)
      return answer.string
    }
  }

  private func touch(_ process: Process, _ address: UInt64, write: Bool) {
    var byte: UInt8 = 1
    // SAFETY: the byte is read, or written, while it is held.
    _ = unsafe withUnsafeMutableBytes(of: &byte) {
      unsafe write
        ? served.machine.users.store(process, address, UnsafeRawBufferPointer($0))
        : served.machine.users.load(process, address, into: $0)
    }
  }

  private func indented(_ lines: [String]) -> String { lines.reduce("") { $0 + "  " + $1 + "\n" } }

  private func symbol(_ errno: Errno) -> String {
    switch errno {
    case .invalidArgument: "EINVAL"
    case .outOfRange: "ERANGE"
    case .ioError: "EIO"
    default: "\(errno)"
    }
  }

  private func quoted(_ bytes: some Sequence<UInt8>) -> String {
    bytes.reduce("\"") { text, byte in
      byte >= 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x5C
        ? text + String(UnicodeScalar(byte)) : text + "\\" + String(byte, radix: 8)
    } + "\""
  }

  // MARK: Files

  private func shown(_ name: String, _ path: String) throws -> [String] {
    var inside = !["maps", "smaps", "numa_maps"].contains(name)
    var lines: [String] = []
    for line in try served.text(path).split(separator: "\n") {
      let first = line.prefix { $0.isHexDigit }
      if name == "numa_maps" {
        inside = UInt64(first, radix: 16).map(window.contains) ?? false
      } else if name != "oom_score_adj", line.dropFirst(first.count).first == "-", let start = UInt64(first, radix: 16)
      {
        inside = window.contains(start)
      }
      if inside { lines.append(String(line)) }
    }
    return lines
  }

  private func growth(_ name: String, _ path: String) throws -> [String] {
    var lines: [String] = []
    func add(_ key: String, _ value: Int) {
      let old = grown.updateValue(value, forKey: key) ?? value
      lines.append("\(key) \(value >= old ? "+" : "")\(value - old)")
    }
    let text = try served.text(path)
    if name == "statm" {
      for (index, column) in text.split(whereSeparator: \.isWhitespace).enumerated() where ![1, 2].contains(index) {
        add("column \(index + 1)", Int(column)!)
      }
    } else {
      for line in text.split(separator: "\n") where line.hasPrefix("Vm") {
        let words = line.split(whereSeparator: \.isWhitespace)
        if !["VmHWM:", "VmRSS:"].contains(words[0]) { add(String(words[0].dropLast()), Int(words[1])!) }
      }
    }
    return lines
  }

  private func entries(_ directory: String, _ address: UInt64, _ pages: Int) throws -> [String] {
    let bytes = try served.open(directory + "pagemap").read(8 * pages, at: Int64(address / 512))
    var runs: [(first: Int, last: Int, entry: UInt64)] = []
    for page in 0..<pages {
      let entry = bytes[page * 8..<page * 8 + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } & ~(1 << 55 - 1)
      if let last = runs.last, last.entry == entry {
        runs[runs.count - 1].last = page
      } else {
        runs.append((page, page, entry))
      }
    }
    return runs.map {
      let digits = String($0.entry, radix: 16)
      return "\($0.first)-\($0.last) " + String(repeating: "0", count: 16 - digits.count) + digits
    }
  }

  private func soft(_ directory: String, _ address: UInt64, _ pages: Int) throws -> String {
    let bytes = try served.open(directory + "pagemap").read(8 * pages, at: Int64(address / 512))
    return stride(from: 0, to: bytes.count, by: 8).map { page in
      let isWritten = bytes[page + 6] & 0x80 != 0
      return bytes[page + 7] & 0x80 != 0 ? isWritten ? "S" : "P" : isWritten ? "s" : "."
    }.joined()
  }

  private func flags(_ directory: String) throws -> [String] {
    var range = ""
    var lines: [String] = []
    for line in try shown("smaps", directory + "smaps") {
      let first = line.prefix { $0 != " " }
      if first.contains("-") {
        range = first.split(separator: "-").map { $0.drop { $0 == "0" } }.joined(separator: "-")
      }
      if first == "VmFlags:" { lines.append(range + line.dropFirst(8)) }
    }
    return lines
  }

  static let watched = [
    "AnonPages", "Mapped", "Shmem", "Cached", "Mlocked", "Unevictable", "Committed_AS", "PageTables", "Active(anon)",
    "Inactive(anon)", "Active(file)", "Inactive(file)", "KernelStack", "pgfault", "pgmajfault", "pgreuse", "pglazyfree",
    "pgmigrate_success", "pgactivate", "pgdeactivate", "numa_hit", "numa_miss", "numa_foreign", "numa_interleave",
    "numa_local", "numa_other", "nr_anon_pages", "nr_mapped", "nr_shmem", "nr_mlock", "unevictable_pgs_culled",
    "unevictable_pgs_scanned", "unevictable_pgs_rescued", "unevictable_pgs_mlocked", "unevictable_pgs_munlocked",
    "unevictable_pgs_cleared", "unevictable_pgs_stranded",
  ]

  private func counters() throws -> [String] {
    let meminfo = try served.text("proc/meminfo")
    let vmstat = try served.text("proc/vmstat")
    var now: [String: Int] = [:]
    for name in Self.watched { now[name] = meminfo.value(name + ":") ?? vmstat.value(name) ?? -1 }
    defer { counted = now }
    guard let counted else { return [] }
    return Self.watched.map { name in
      let change = now[name]! - counted[name]!
      return "\(name) \(change >= 0 ? "+" : "")\(change)"
    }
  }
}
