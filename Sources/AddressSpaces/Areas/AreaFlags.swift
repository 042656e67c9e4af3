/// What an area allows and how it behaves, at the bit positions of Linux's `VM_*` (include/linux/mm.h), which `VmFlags` in smaps lists
/// in ascending order.
@frozen public struct AreaFlags: OptionSet, Hashable, Sendable {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable public static var read: Self { Self(rawValue: 0x1) }
  @inlinable public static var write: Self { Self(rawValue: 0x2) }
  @inlinable public static var execute: Self { Self(rawValue: 0x4) }
  @inlinable public static var shared: Self { Self(rawValue: 0x8) }
  @inlinable public static var mayRead: Self { Self(rawValue: 0x10) }
  @inlinable public static var mayWrite: Self { Self(rawValue: 0x20) }
  @inlinable public static var mayExecute: Self { Self(rawValue: 0x40) }
  @inlinable public static var mayShare: Self { Self(rawValue: 0x80) }
  /// A stack: faults below the area extend it.
  @inlinable public static var growsDown: Self { Self(rawValue: 0x100) }
  /// Its entries show frames that somebody else holds: nobody here counts, moves or drops them (`VM_PFNMAP`).
  @inlinable public static var frameMap: Self { Self(rawValue: 0x400) }
  @inlinable public static var locked: Self { Self(rawValue: 0x2000) }
  @inlinable public static var io: Self { Self(rawValue: 0x4000) }
  @inlinable public static var sequentialRead: Self { Self(rawValue: 0x8000) }
  @inlinable public static var randomRead: Self { Self(rawValue: 0x10000) }
  @inlinable public static var dontFork: Self { Self(rawValue: 0x20000) }
  @inlinable public static var dontExpand: Self { Self(rawValue: 0x40000) }
  @inlinable public static var lockOnFault: Self { Self(rawValue: 0x80000) }
  /// The area's pages count against the commit limit.
  @inlinable public static var accounted: Self { Self(rawValue: 0x100000) }
  @inlinable public static var noReserve: Self { Self(rawValue: 0x200000) }
  @inlinable public static var hugeTLB: Self { Self(rawValue: 0x400000) }
  /// MAP_SYNC (`VM_SYNC`).
  @inlinable public static var sync: Self { Self(rawValue: 0x80_0000) }
  @inlinable public static var wipeOnFork: Self { Self(rawValue: 0x200_0000) }
  @inlinable public static var dontDump: Self { Self(rawValue: 0x400_0000) }
  /// All of the area counts as written to: from its birth until `clear_refs` clears it, and what its entries say counts from then on.
  @inlinable public static var softDirty: Self { Self(rawValue: 0x800_0000) }
  @inlinable public static var hugePage: Self { Self(rawValue: 0x2000_0000) }
  @inlinable public static var noHugePage: Self { Self(rawValue: 0x4000_0000) }
  @inlinable public static var mergeable: Self { Self(rawValue: 0x8000_0000) }

  /// `VM_ACCESS_FLAGS`: what mprotect changes.
  @inlinable public static var access: Self { [.read, .write, .execute] }
  @inlinable public static var mayAccess: Self { [.mayRead, .mayWrite, .mayExecute] }
  @inlinable public static var lock: Self { [.locked, .lockOnFault] }

  /// Private and writable some day: its pages are copied on write (`is_cow_mapping`).
  @inlinable public var copiesOnWrite: Bool { intersection([.shared, .mayWrite]) == .mayWrite }
  /// Some access at all is allowed (`vma_is_accessible`).
  @inlinable public var isAccessible: Bool { !isDisjoint(with: .access) }

  /// `rwxp`, as the second column of maps.
  public var rights: String {
    String(
      decoding: [
        UInt8(ascii: contains(.read) ? "r" : "-"), UInt8(ascii: contains(.write) ? "w" : "-"),
        UInt8(ascii: contains(.execute) ? "x" : "-"), UInt8(ascii: contains(.mayShare) ? "s" : "p"),
      ], as: UTF8.self)
  }

  /// The two-letter names of smaps' `VmFlags`, by bit (`show_smap_vma_flags`).
  var mnemonics: String { Self.mnemonics.reduce("") { contains($1.0) ? $0 + $1.1 + " " : $0 } }
  private static let mnemonics: [(AreaFlags, String)] = [
    (.read, "rd"), (.write, "wr"), (.execute, "ex"), (.shared, "sh"), (.mayRead, "mr"), (.mayWrite, "mw"),
    (.mayExecute, "me"),
    (.mayShare, "ms"), (.growsDown, "gd"), (.frameMap, "pf"), (.locked, "lo"), (.io, "io"),
    (.sequentialRead, "sr"), (.randomRead, "rr"),
    (.dontFork, "dc"),
    (.dontExpand, "de"), (.lockOnFault, "??"), (.accounted, "ac"), (.noReserve, "nr"), (.hugeTLB, "ht"),
    (.sync, "sf"), (.wipeOnFork, "wf"),
    (.dontDump, "dd"), (.softDirty, "sd"), (.hugePage, "hg"), (.noHugePage, "nh"), (.mergeable, "mg"),
  ]
}

/// The `PROT_*` bits of mmap and mprotect.
@frozen public struct Protection: OptionSet, Hashable, Sendable {
  public var rawValue: UInt64
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable public static var read: Self { Self(rawValue: 1) }
  @inlinable public static var write: Self { Self(rawValue: 2) }
  @inlinable public static var execute: Self { Self(rawValue: 4) }
  /// PROT_SEM: accepted, without effect.
  @inlinable public static var semaphore: Self { Self(rawValue: 8) }
  @inlinable public static var growsDown: Self { Self(rawValue: 0x0100_0000) }
  @inlinable public static var growsUp: Self { Self(rawValue: 0x0200_0000) }
  /// The area flags of the same names: the bits have the same positions.
  @inlinable public var areaFlags: AreaFlags { AreaFlags(rawValue: rawValue & 7) }
}
