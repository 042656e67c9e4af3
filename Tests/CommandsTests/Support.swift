import Commands
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

/// A machine and its command file.
struct Console {
  let machine: Machine
  let file: CommandFile

  init(_ preset: Preset = .fourNode) throws { try self.init(preset.machine) }

  init(_ description: MachineDescription) throws {
    machine = try Machine(description)
    file = CommandFile(machine: machine)
  }

  func open(reads: Bool = true, writes: Bool = true, appends: Bool = false) -> Client {
    Client(file, reads: reads, writes: writes, appends: appends)
  }

  /// What a line is answered with, on a handle of its own.
  func answer(_ line: String) throws -> String {
    let client = open()
    defer { client.close() }
    try client.write(line + "\n")
    return client.readAll()
  }

  /// Why a line is refused: the writer's errno, and the line that a reader sees.
  func refusal(_ line: [UInt8]) -> (errno: Errno?, reason: String) {
    let client = open()
    defer { client.close() }
    do {
      _ = try client.write(line + [0x0A])
      return (nil, client.readAll())
    } catch { return (error, client.readAll()) }
  }
  func refusal(_ line: String) -> (errno: Errno?, reason: String) { refusal(Array(line.utf8)) }

  /// What is allocated, and how much is free where.
  var state: State {
    machine.withLock {
      var allocations: [Allocation] = []
      machine.memory.forEachAllocation {
        allocations.append($0)
        return true
      }
      let free = machine.memory.snapshot().nodes.map { $0.zones.map(\.free) }
      return State(allocations: allocations, free: free)
    }
  }
  struct State: Equatable {
    var allocations: [Allocation]
    var free: [[FrameCount]]
  }

  /// The free frames of each node.
  var free: [Int] { machine.withLock { machine.memory.snapshot().nodes.map { Int($0.free.rawValue) } } }

  var differences: [String] { machine.withLock { machine.memory.verify() } }
}

/// An open command file with a file offset, as the kernel keeps one.
final class Client {
  private let handle: CommandHandle
  private let appends: Bool
  var offset: Int64 = 0

  init(_ file: CommandFile, reads: Bool, writes: Bool, appends: Bool) {
    handle = file.interpreter.machine.withLock { file.open(reads: reads, writes: writes, appends: appends) }
    self.appends = appends
  }

  /// One write(2).
  @discardableResult
  func write(_ bytes: [UInt8]) throws(Errno) -> Int {
    // O_APPEND: the kernel writes at the end of a file whose size is 0.
    if appends { offset = 0 }
    var result: Result<Int, Errno> = .success(0)
    // SAFETY: the bytes are read while the array is held.
    unsafe bytes.withUnsafeBytes { bytes in
      do throws(Errno) { result = .success(unsafe try handle.write(bytes, at: offset)) } catch {
        result = .failure(error)
      }
    }
    let count = try result.get()
    offset += Int64(count)
    return count
  }
  @discardableResult
  func write(_ text: String) throws(Errno) -> Int { try write(Array(text.utf8)) }

  /// Writes all, in pieces of `size` at most, and what a short write leaves over again, as the C library does. The errno that ends it.
  func writeAll(_ text: String, pieces size: Int = .max) -> Errno? {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      do throws(Errno) {
        rest = rest.dropFirst(try write(Array(rest.prefix(size))))
      } catch { return error }
    }
    return nil
  }

  /// One read(2).
  func read(_ size: Int = 65536) -> String {
    var buffer = [UInt8](repeating: 0, count: size)
    // SAFETY: the buffer is written while the array is held.
    let count = unsafe buffer.withUnsafeMutableBytes { unsafe handle.read(into: $0, at: offset) }
    offset += Int64(count)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  func readAll(pieces size: Int = 65536) -> String {
    var all = ""
    while true {
      let piece = read(size)
      if piece.isEmpty { return all }
      all += piece
    }
  }

  func close() { handle.release() }
}

/// Sebastiano Vigna's SplitMix64: a test prints the seed, and the same seed gives the same history.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

extension String {
  var lines: [Substring] { split(separator: "\n") }
}
