import FileTree
import Glibc
import Machine
import MemoryTypes
import PhysicalMemory
import SystemPackage
import Testing
import Topology

// swift-system has a type of that name as well.
typealias Inode = FileTree.Inode

/// A machine's tree, reached by path.
struct Served {
  let machine: Machine
  let tree: MachineTree

  init(_ preset: Preset = .fourNode, profile: Profile = .veridian) throws {
    var description = preset.machine
    description.settings.profile = profile
    try self.init(description)
  }

  init(_ description: MachineDescription) throws {
    machine = try Machine(description)
    tree = MachineTree(machine: machine)
  }

  func lookup(_ name: String, in parent: Inode) throws(Errno) -> FileAttributes {
    var result: Result<FileAttributes, Errno> = .failure(.noSuchFileOrDirectory)
    var name = name
    name.withUTF8 { bytes in
      // SAFETY: the name is read while the string is held.
      do throws(Errno) {
        result = .success(unsafe try tree.lookup(UnsafeRawBufferPointer(bytes), in: parent))
      } catch { result = .failure(error) }
    }
    return try result.get()
  }

  /// The entry at a path from the root; no link is followed.
  func attributes(_ path: String) throws(Errno) -> FileAttributes {
    var found = try tree.attributes(of: .root)
    for name in path.split(separator: "/") { found = try lookup(String(name), in: found.inode) }
    return found
  }

  func open(_ path: String, _ flags: Int32 = O_RDONLY, uid: UInt32 = 0) throws(Errno) -> any OpenFile {
    try tree.open(attributes(path).inode, flags: flags, uid: uid)
  }

  /// The whole of a file.
  func text(_ path: String, pieces size: Int = 65536) throws(Errno) -> String {
    let file = try open(path)
    defer { file.release() }
    return try file.text(pieces: size)
  }

  /// Opens, writes once, and closes; how many bytes were taken.
  @discardableResult
  func write(_ text: String, to path: String) throws(Errno) -> Int {
    let file = try open(path, O_WRONLY)
    defer { file.release() }
    return try file.write(text)
  }

  /// What the command file answers a line with, on a handle of its own.
  func command(_ line: String) throws(Errno) -> String {
    let file = try open("sys/kernel/debug/memory", O_RDWR)
    defer { file.release() }
    let end = try file.write(line + "\n")
    return try file.text(from: Int64(end))
  }
}

extension OpenFile {
  func read(_ size: Int, at offset: Int64) throws(Errno) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: size)
    var result: Result<Int, Errno> = .success(0)
    // SAFETY: the buffer is written while the array is held.
    unsafe buffer.withUnsafeMutableBytes { bytes in
      do throws(Errno) { result = .success(unsafe try read(into: bytes, at: offset)) } catch {
        result = .failure(error)
      }
    }
    return Array(buffer[..<(try result.get())])
  }

  func text(from start: Int64 = 0, pieces size: Int = 65536) throws(Errno) -> String {
    var all: [UInt8] = []
    while true {
      let piece = try read(size, at: start + Int64(all.count))
      if piece.isEmpty { return String(decoding: all, as: UTF8.self) }
      all += piece
    }
  }

  @discardableResult
  func write(_ bytes: [UInt8], at offset: Int64 = 0) throws(Errno) -> Int {
    var result: Result<Int, Errno> = .success(0)
    // SAFETY: the bytes are read while the array is held.
    unsafe bytes.withUnsafeBytes { bytes in
      do throws(Errno) { result = .success(unsafe try write(bytes, at: offset)) } catch { result = .failure(error) }
    }
    return try result.get()
  }
  @discardableResult
  func write(_ text: String, at offset: Int64 = 0) throws(Errno) -> Int { try write(Array(text.utf8), at: offset) }
}

/// The errno that `body` fails with; nil where it succeeds.
func failure<Result>(_ body: () throws(Errno) -> Result) -> Errno? {
  do throws(Errno) {
    _ = try body()
    return nil
  } catch { return error }
}

extension String {
  var lines: [Substring] { split(separator: "\n") }

  /// The number behind `label` in a file of labelled lines.
  func value(_ label: String) -> Int? {
    for line in lines {
      let words = line.split { $0 == " " || $0 == "\t" }
      if let index = words.firstIndex(where: { $0 == label }), index + 1 < words.count { return Int(words[index + 1]) }
    }
    return nil
  }
}

/// An entry of the tree and where it is.
struct FoundEntry {
  var path: String
  var listed: DirectoryEntry
  var attributes: FileAttributes

  /// The path with every number as `N`: what the entries of one row of the table have in common.
  var kind: String { path.numbersFolded }
}

extension String {
  var numbersFolded: String {
    var folded = ""
    for character in self {
      if !character.isNumber { folded.append(character) } else if folded.last != "N" { folded.append("N") }
    }
    return folded
  }
}

extension Served {
  /// Calls `body` for every entry below a path, parents first; of directories of one kind the first `most` alone are entered, so that a
  /// machine with thousands of blocks is walked in a moment. Their listings are whole.
  func walk(from path: String = "", most: Int = 6, _ body: (FoundEntry) throws -> Void) throws {
    var entered: [String: Int] = [:]
    try walk(path, try attributes(path).inode, most, &entered, body)
  }

  private func walk(
    _ path: String, _ directory: Inode, _ most: Int, _ entered: inout [String: Int], _ body: (FoundEntry) throws -> Void
  ) throws {
    for entry in try tree.entries(of: directory) {
      let below = path.isEmpty ? entry.name : path + "/" + entry.name
      let kind = below.numbersFolded
      // Neighbours of a block that was entered are looked at by name only: there are thousands.
      if entry.kind != .directory, entered[kind, default: 0] >= 40 * most { continue }
      if entry.kind == .directory, entered[kind, default: 0] >= most { continue }
      entered[kind, default: 0] += 1
      let found = FoundEntry(path: below, listed: entry, attributes: try lookup(entry.name, in: directory))
      try body(found)
      if entry.kind == .directory { try walk(below, entry.inode, most, &entered, body) }
    }
  }
}
