/// The bits of mmap's fourth argument (`MAP_*`, x86-64's values, which most architectures share).
struct MapFlags: OptionSet {
  var rawValue: UInt64
  static var shared: Self { Self(rawValue: 1) }
  static var `private`: Self { Self(rawValue: 2) }
  static var fixed: Self { Self(rawValue: 0x10) }
  static var anonymous: Self { Self(rawValue: 0x20) }
  /// Below 2 GiB, on x86-64.
  static var low: Self { Self(rawValue: 0x40) }
  static var growsDown: Self { Self(rawValue: 0x100) }
  static var locked: Self { Self(rawValue: 0x2000) }
  static var noReserve: Self { Self(rawValue: 0x4000) }
  static var populate: Self { Self(rawValue: 0x8000) }
  static var nonBlocking: Self { Self(rawValue: 0x10000) }
  static var hugeTLB: Self { Self(rawValue: 0x40000) }
  static var sync: Self { Self(rawValue: 0x80000) }
  static var fixedNoReplace: Self { Self(rawValue: 0x100000) }
  /// What an old kernel knew (`LEGACY_MAP_MASK`): all that MAP_SHARED looks at.
  static var legacy: Self {
    Self(
      rawValue: 0x1 | 0x2 | 0x10 | 0x20 | 0x800 | 0x1000 | 0x100 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
        | 0x40000 | 0x40 | 0xFC00_0000)
  }

  enum Kind: UInt64 { case shared = 1, `private` = 2, sharedValidate = 3 }
  /// `MAP_TYPE`'s four bits.
  var kind: Kind? { Kind(rawValue: rawValue & 0xF) }
  /// log2 of the huge page asked for, 0 for the default.
  var hugeShift: UInt64 { rawValue >> 26 & 0x3F }
}

/// `MREMAP_*`.
struct RemapFlags: OptionSet {
  var rawValue: UInt64
  static var mayMove: Self { Self(rawValue: 1) }
  static var fixed: Self { Self(rawValue: 2) }
  static var keepOld: Self { Self(rawValue: 4) }
  static var all: Self { [.mayMove, .fixed, .keepOld] }
}

/// `MADV_*`: what madvise knows.
enum Advice: UInt64 {
  case normal = 0
  case random = 1
  case sequential = 2
  case willNeed = 3
  case dontNeed = 4
  case free = 8
  case remove = 9
  case dontFork = 10
  case doFork = 11
  case mergeable = 12
  case unmergeable = 13
  case hugePage = 14
  case noHugePage = 15
  case dontDump = 16
  case doDump = 17
  case wipeOnFork = 18
  case keepOnFork = 19
  case cold = 20
  case pageOut = 21
  case populateRead = 22
  case populateWrite = 23
  case dontNeedLocked = 24
  case collapse = 25
}

/// `MPOL_MF_*`, the last argument of mbind and move_pages.
struct MoveFlags: OptionSet {
  var rawValue: UInt64
  static var strict: Self { Self(rawValue: 1) }
  static var move: Self { Self(rawValue: 2) }
  static var moveAll: Self { Self(rawValue: 4) }
  static var all: Self { [.strict, .move, .moveAll] }
}

/// `MCL_*`.
struct LockAllFlags: OptionSet {
  var rawValue: UInt64
  static var current: Self { Self(rawValue: 1) }
  static var future: Self { Self(rawValue: 2) }
  static var onFault: Self { Self(rawValue: 4) }
}

/// `MLOCK_*`.
struct LockFlags: OptionSet {
  var rawValue: UInt64
  static var onFault: Self { Self(rawValue: 1) }
}

/// `MS_*`.
struct SyncFlags: OptionSet {
  var rawValue: UInt64
  static var async: Self { Self(rawValue: 1) }
  static var invalidate: Self { Self(rawValue: 2) }
  static var sync: Self { Self(rawValue: 4) }
}

/// get_mempolicy's flags.
struct PolicyQuery: OptionSet {
  var rawValue: UInt64
  static var node: Self { Self(rawValue: 1) }
  static var address: Self { Self(rawValue: 2) }
  static var allowed: Self { Self(rawValue: 4) }
}
