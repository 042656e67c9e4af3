internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import PhysicalMemory
internal import SystemPackage
internal import Translation

// The kernel's interface to address spaces, as VeridianOS's page mapper has it.
extension Verb {
  private static let address = Parameter(
    "vaddr", .number(0...UInt64.max), "a virtual address, at the beginning of a page")
  private static let count = Parameter(
    "count", .number(1...UInt64.max), "base pages; the page that begins there, whatever its size, if not given")
  private static let flags = Parameter(
    "flags", .word, "joined by |: PRESENT WRITABLE USER EXECUTABLE DIRTY ACCESSED GLOBAL WRITE_THROUGH NO_CACHE, or 0")
  private static let pid = Parameter(
    "pid", .number(0...UInt64(Int32.max)),
    "whose space, 0 for the kernel's; if not given, the address's half decides: the kernel's, or process 1's")

  // MARK: map

  static let map = Verb(
    "map",
    positional: [
      address, Parameter("frame", .number(0...UInt64.max), "the physical address that alloc answered"),
    ],
    required: 2,
    keys: [
      flags,
      Parameter(
        "size", .number(1...UInt64.max), "the page's: 4K, 2M, 1G or what the format has; a frame's if not given"),
      pid,
    ],
    summary: "maps a page to frames that alloc has taken: writable, and a process's its own, if no flags are given",
    execute: { arguments, machine in
      let address = VirtualAddress(arguments.number("vaddr") ?? 0)
      let process = try process(arguments, machine, at: address)
      let physical = PhysicalAddress(arguments.number("frame") ?? 0)
      let frameSize = machine.memory.frameSize
      let frame = frameSize.frame(of: physical)
      guard frameSize.address(of: frame) == physical else {
        throw Refusal(
          .invalidArgument, "\(physical) is not the address of a frame: no multiple of \(frameSize.bytes.rawValue)")
      }
      let size = arguments.number("size").map { ByteCount($0) } ?? frameSize.bytes
      let flags = try pageFlags(arguments) ?? (process == nil ? [.present, .writable] : [.present, .writable, .user])
      do throws(MemoryError) {
        try machine.map(address, to: frame, size: size, flags: flags, of: process)
      } catch { throw refusal(ofMapping: error) }
      return Mapped(address: address, physical: physical, size: size)
    },
    print: { mapped, machine, text in
      text.append(string: "\(mapped.address) -> \(mapped.physical), page of ")
      text.append(size: mapped.size)
      text.newline()
    })

  private struct Mapped {
    var address: VirtualAddress
    var physical: PhysicalAddress
    var size: ByteCount
  }

  // MARK: unmap, protect

  static let unmap = Verb(
    "unmap", positional: [address, count], required: 1, keys: [pid],
    summary: "takes away what map has mapped; the frames stay alloc's",
    execute: { arguments, machine in
      let address = VirtualAddress(arguments.number("vaddr") ?? 0)
      let process = try process(arguments, machine, at: address)
      return try machine.users.unmapFrames(at: address, pageCount: arguments.number("count"), of: process)
    },
    print: { range, machine, text in print("unmapped", range, machine, &text) })

  static let protect = Verb(
    "protect", positional: [address, count], required: 1, keys: [flags, pid],
    summary: "gives pages the permissions of flags; what else their flags say stays",
    execute: { arguments, machine in
      let address = VirtualAddress(arguments.number("vaddr") ?? 0)
      let process = try process(arguments, machine, at: address)
      guard let flags = try pageFlags(arguments) else {
        throw Refusal(.invalidArgument, "protect lacks flags=, the permissions to give")
      }
      let count = arguments.number("count")
      if let process, let area = process.space.area(at: address), !area.flags.contains(.frameMap) {
        return try protectOwn(process, address, count ?? 1, flags, machine)
      }
      return try machine.users.protectFrames(at: address, pageCount: count, flags: flags, of: process)
    },
    print: { range, machine, text in print("protected", range, machine, &text) })

  /// A process's own areas: what mprotect(2) does, whose errors become reasons here.
  private static func protectOwn(
    _ process: Process, _ address: VirtualAddress, _ count: UInt64, _ flags: PageFlags, _ machine: Machine
  ) throws -> PageRange {
    let shift = machine.format.pageShift
    let (length, overflows) = count.multipliedReportingOverflow(by: 1 << shift)
    guard address.rawValue & (1 << shift - 1) == 0 else {
      throw MemoryError.misaligned(address, machine.format.pageSize(level: 0))
    }
    guard !overflows, length <= machine.format.layout.user.last.rawValue - address.rawValue else {
      throw MemoryError.invalidSize(FrameCount(count))
    }
    guard flags.isSubset(of: .permissions), flags.contains(.present) == flags.contains(.user),
      flags.contains(.present) || flags.isEmpty
    else {
      throw MemoryError.invalidFlags("pages of a process's own are 0, or PRESENT|USER with WRITABLE or EXECUTABLE")
    }
    var hole = address
    while hole.rawValue < address.rawValue + length, let area = process.space.area(at: hole) {
      hole = VirtualAddress(area.end)
    }
    guard hole.rawValue >= address.rawValue + length else { throw MemoryError.notMapped(hole) }
    let protection: UInt64 =
      (flags.contains(.present) ? 1 : 0) | (flags.contains(.writable) ? 2 : 0) | (flags.contains(.executable) ? 4 : 0)
    do throws(CallError) {
      try machine.users.mprotect(process, address.rawValue, length, protection: protection)
    } catch {
      switch error {
      case .accessDenied: throw MemoryError.writableAndExecutable(address)
      case .outOfMemory: throw MemoryError.outOfMemory(count: FrameCount(1))
      default: throw Refusal(Errno(rawValue: error.rawValue), "mprotect of \(address) fails with \(error.name)")
      }
    }
    return PageRange(address, pageCount: count)
  }

  private static func print(
    _ what: StaticString, _ range: PageRange, _ machine: Machine, _ text: inout TextBuffer
  ) {
    text.append(what)
    text.append(byte: 0x20)
    text.append(size: ByteCount(range.pageCount << machine.format.pageShift))
    text.append(string: " at \(range.start)\n")
  }

  // MARK: Arguments

  /// nil for the kernel.
  private static func process(
    _ arguments: borrowing Arguments, _ machine: Machine, at address: VirtualAddress
  ) throws(MemoryError) -> Process? {
    guard machine.format.isCanonical(address) else { throw .notCanonical(address) }
    let number = arguments.number("pid") ?? (machine.format.isKernel(address) ? 0 : 1)
    if number == 0 { return nil }
    let pid = ProcessID(Int32(number))
    guard let process = machine.users.process(pid) else { throw .noSuchProcess(pid) }
    return process
  }

  /// nil where none are given.
  private static func pageFlags(_ arguments: borrowing Arguments) throws(Refusal) -> PageFlags? {
    guard let token = arguments.token("flags") else { return nil }
    if token == "0" { return [] }
    var flags: PageFlags = []
    for word in token.parts(at: UInt8(ascii: "|")) {
      guard let flag = PageFlags.names.first(where: { word == $0.name.description })?.flag else {
        let known = PageFlags.names.map(\.name.description).joined(separator: "|")
        throw Refusal(.invalidArgument, "\(word.quoted) is no flag (\(known))")
      }
      flags.insert(flag)
    }
    return flags
  }

  /// As mmap(2) of /dev/mem refuses (drivers/char/mem.c): EINVAL for what the machine has not (`valid_mmap_phys_addr_range`), EPERM for
  /// memory that somebody uses (`range_is_allowed`).
  private static func refusal(ofMapping error: MemoryError) -> Refusal {
    switch error {
    case .noSuchFrame: Refusal(.invalidArgument, error.description)
    case .frameInUse: Refusal(.notPermitted, error.description)
    default: Refusal(error)
    }
  }
}
