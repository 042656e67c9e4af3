/// What a page allows, how it is cached and what has been done with it, in words that every architecture has.
///
/// `PageFormat.encode` turns them into an entry's bits, `PageFormat.flags` reads them back. A mapped page can always be
/// read: no format here has pages that can be written or executed but not read.
@frozen public struct PageFlags: OptionSet, Hashable, Sendable {
  public var rawValue: UInt16
  @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// Readable. A page mapped without it keeps its frame in the entry, out of the hardware's reach (Linux's PAGE_NONE).
  @inlinable public static var present: Self { Self(rawValue: 1 << 0) }
  @inlinable public static var writable: Self { Self(rawValue: 1 << 1) }
  @inlinable public static var user: Self { Self(rawValue: 1 << 2) }
  /// By users where `user` is set, by the kernel alone where it is not.
  @inlinable public static var executable: Self { Self(rawValue: 1 << 3) }
  /// Written since the flag was last cleared.
  @inlinable public static var dirty: Self { Self(rawValue: 1 << 4) }
  /// Used since the flag was last cleared.
  @inlinable public static var accessed: Self { Self(rawValue: 1 << 5) }
  /// The same in every address space: survives a switch of address space in the TLB.
  @inlinable public static var global: Self { Self(rawValue: 1 << 6) }
  /// With `cacheDisable`: strongly ordered, for device registers. RISC-V (without Svpbmt) has neither and drops both.
  @inlinable public static var writeThrough: Self { Self(rawValue: 1 << 7) }
  @inlinable public static var cacheDisable: Self { Self(rawValue: 1 << 8) }
  /// The two bits that every format leaves to software (x86 9-10, AArch64 56-57, RISC-V RSW).
  @inlinable public static var software0: Self { Self(rawValue: 1 << 9) }
  @inlinable public static var software1: Self { Self(rawValue: 1 << 10) }

  /// What `protect` replaces: the rest of an entry's flags stays as it is.
  @inlinable public static var permissions: Self { [.present, .writable, .user, .executable] }

  /// The flags' names in the order of their bits, as the words of the kernel's interface have them.
  public static var names: [(flag: PageFlags, name: StaticString)] {
    [
      (.present, "PRESENT"), (.writable, "WRITABLE"), (.user, "USER"), (.executable, "EXECUTABLE"), (.dirty, "DIRTY"),
      (.accessed, "ACCESSED"), (.global, "GLOBAL"), (.writeThrough, "WRITE_THROUGH"), (.cacheDisable, "NO_CACHE"),
      (.software0, "SOFTWARE0"), (.software1, "SOFTWARE1"),
    ]
  }
}

extension PageFlags: CustomStringConvertible {
  /// `PRESENT|WRITABLE`, `0` for none.
  public var description: String {
    isEmpty ? "0" : Self.names.filter { contains($0.flag) }.map(\.name.description).joined(separator: "|")
  }
}
