public import MemoryTypes
internal import PhysicalMemory
internal import Topology
public import Translation

/// Process 1: an address space with one page, at 0x1000.
public struct InitProcess {
  public static let id = ProcessID(1)
  public let table: PageTable
  /// What is mapped, in frames.
  public let resident: FrameCount

  init(memory: PhysicalMemory, kernel: PageTable, description: MachineDescription) throws(MemoryError) {
    let enforces = description.settings.wx.map { $0 == .enforce } ?? (description.settings.profile == .veridian)
    let space = UInt32(Self.id.rawValue)
    table = try PageTable(space: space, kernel: kernel, enforcesWriteXorExecute: enforces)
    let page = try memory.allocate(
      FrameRequest(mobility: .movable, zeroed: true, owner: FrameOwner(.anonymous, id: space)))
    // A frame of 16 or 64 KiB holds 0x1000 as well: the page begins at 0 there.
    let address = VirtualAddress(0x1000 & ~(memory.frameSize.bytes.rawValue - 1))
    try table.map(address, to: page, flags: [.present, .writable, .user])
    resident = page.count
  }
}
