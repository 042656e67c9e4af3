internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage

/// Files with disks behind them, whose pages pass through the page cache.
extension Verb {
  static let files: [Verb] = [fileCreate, fileRead, fileWrite, fileSync, fileDrop, fileList]

  /// No byte of a file lies behind this (Linux's MAX_LFS_FILESIZE ends between this and twice as much).
  private static var largestFile: UInt64 { 1 << 62 }

  private static let name = Parameter("name", .word, "the file's name")
  private static let offset = Parameter("offset", .number(0...largestFile), "the first byte; 0 if not given")
  private static let cpu = Parameter("cpu", .number(0...UInt64(Int32.max)), "the CPU that asks; 0 if not given")

  /// What one word transfers of that many bytes: the rest is left, as by read(2) and write(2).
  private static func transferred(_ size: UInt64) -> UInt64 { min(size, UserMemory.largestTransfer) }

  private static func size(_ meaning: String) -> Parameter { Parameter("size", .number(0...largestFile), meaning) }

  private static func file(_ arguments: borrowing Arguments, _ machine: Machine) throws -> MemoryFile {
    guard let token = arguments.token("name") else { preconditionFailure("a file's name is required") }
    guard let file = machine.file(named: token.text) else {
      throw Refusal(.noSuchFileOrDirectory, "\(token.quoted) is no file; \"file list\" lists them")
    }
    return file
  }

  private static func cpu(_ arguments: borrowing Arguments, _ machine: Machine) throws -> CPUID {
    let cpu = arguments.cpu ?? CPUID(0)
    guard machine.cpu(cpu) != nil else { throw MemoryError.noSuchCPU(cpu) }
    return cpu
  }

  private static let fileCreate = Verb(
    "file create", positional: [name], required: 1, keys: [size("bytes, all of them holes; 0 if not given")],
    summary: "makes a file",
    execute: { arguments, machine in
      guard let token = arguments.token("name") else { preconditionFailure("a file's name is required") }
      guard machine.createFile(token.text, size: arguments.number("size") ?? 0) != nil else {
        throw Refusal(.fileExists, "\(token.quoted) is there already")
      }
    },
    print: { _, _, text in text.append("created\n") })

  private static let fileRead = Verb(
    "file read", positional: [name], required: 1,
    keys: [offset, size("bytes, at most 2147479552; up to the end if not given"), cpu],
    summary: "reads a file by way of the page cache",
    execute: { arguments, machine in
      let file = try file(arguments, machine)
      let cpu = try cpu(arguments, machine)
      var count: UInt64 = 0
      try machine.users.read(
        file, offset: arguments.number("offset") ?? 0, size: transferred(arguments.number("size") ?? file.size),
        cpu: cpu
      ) { count += UInt64($1.count) }
      return count
    },
    print: { count, _, text in text.append(string: "read \(count) bytes\n") })

  private static let fileWrite = Verb(
    "file write", positional: [name], required: 1,
    keys: [
      offset, size("bytes, at most 2147479552; as many as data= has if not given"),
      Parameter("data", .word, "what to write, again and again up to size=; a byte of zero if not given"), cpu,
    ],
    summary: "writes a file by way of the page cache",
    execute: { arguments, machine in
      let file = try file(arguments, machine)
      let cpu = try cpu(arguments, machine)
      let data = arguments.token("data").map { Array($0.text.utf8) } ?? [0]
      guard !data.isEmpty else { throw Refusal(.invalidArgument, "data= is empty") }
      let offset = arguments.number("offset") ?? 0
      let size = transferred(arguments.number("size") ?? UInt64(data.count))
      guard size <= largestFile, offset <= largestFile - size else {
        throw Refusal(.fileTooLarge, "offset= and size= reach beyond \(largestFile) bytes")
      }
      try machine.write(file, offset: offset, size: size, pattern: data, cpu: cpu)
      return size
    },
    print: { size, _, text in text.append(string: "wrote \(size) bytes\n") })

  private static let fileSync = Verb(
    "file sync", positional: [name], required: 1, summary: "writes to a file's disk what that lacks",
    execute: { arguments, machine in machine.users.sync(try file(arguments, machine)) },
    print: { pages, _, text in text.append(string: "wrote \(pages) pages to its disk\n") })

  private static let fileDrop = Verb(
    "file drop", positional: [name], required: 1, summary: "removes a file",
    execute: { arguments, machine in
      _ = try file(arguments, machine)
      _ = machine.removeFile(arguments.token("name")?.text ?? "")
    },
    print: { _, _, text in text.append("dropped\n") })

  private static let fileList = Verb(
    "file list", summary: "shows the files, their sizes in bytes, and their pages in memory",
    execute: { _, machine in machine.fileNames },
    print: { names, machine, text in
      text.append("NAME                             SIZE   PAGES IN MEMORY\n")
      for name in names {
        guard let file = machine.file(named: name) else { continue }
        text.append(string: name, leftAlignedIn: 20)
        text.append(decimal: file.size, width: 17)
        text.append(decimal: file.cachedPages, width: 18)
        text.newline()
      }
    })
}
