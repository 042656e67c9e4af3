public import MemoryTypes

/// Whose rules hold where VeridianOS's and Linux's compete.
public enum Profile: String, CaseIterable, Sendable { case veridian, linux }

/// `transparent_hugepage/enabled`.
public enum HugePageMode: String, CaseIterable, Sendable { case always, madvise, never }

/// `transparent_hugepage/shmem_enabled`.
public enum SharedHugePageMode: String, CaseIterable, Sendable {
  case always
  case withinSize = "within_size"
  case advise, never, deny, force
}

/// Whether user mappings may be writable and executable at once.
public enum WriteXorExecute: String, CaseIterable, Sendable { case enforce, off }

/// A machine's settings. `nil` means: as the profile and the architecture have it (see `MachineDescription.resolved...`).
///
/// `Setting.all` is the one table of their keys.
public struct Settings: Equatable, Sendable {
  public var profile: Profile = .veridian
  /// What the machine's random numbers grow from.
  public var seed: UInt64 = 0
  public var aslr = true
  public var thp: HugePageMode = .always
  /// Linux 6.1 has no kernel parameter for it, and begins with never.
  public var thpShared: SharedHugePageMode = .never
  /// How many huge pages of the default size the pools hold at boot (the kernel's boot parameter `hugepages`).
  public var hugePages: UInt64 = 0
  public var paging: Paging?
  /// Ascending, with `.normal` among them.
  public var zones: [ZoneKind]?
  public var wx: WriteXorExecute?
  /// Requests of fewer frames go to the bitmaps, others to the buddy system: 1 to 512.
  public var hybridThreshold = 512
  /// What one CPU's part of a TLB shootdown costs on the machine's clock, in nanoseconds.
  public var tlbCostNanoseconds: UInt64 = 4200
  /// Whether the machine keeps who asked for every frame (the kernel's boot parameter `page_owner`).
  public var pageOwner = false
  public init() {}
}
