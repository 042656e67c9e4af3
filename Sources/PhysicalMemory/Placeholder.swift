public import MemoryTypes
public import Topology

// CONTRACT (to be implemented; this file goes):
//
// public final class PhysicalMemory: Sendable {
//   public init(_ description: MachineDescription) throws(MemoryError)
//   public let frameSize: FrameSize
//   public let bytes: PhysicalBytes
//   public func allocate(_ request: FrameRequest) throws(MemoryError) -> FrameRange
//   public func free(_ range: FrameRange, cpu: CPUID) throws(MemoryError)
//   public func allocation(containing: FrameNumber) -> Allocation?            // range, owner, mobility, references
//   public func forEachAllocation(_ body: (Allocation) -> Bool)             // ascending; sparse: never scans untouched memory
//   public var nodes: [NodeID]; public func zones(of: NodeID) -> [ZoneKind]
//   public func snapshot() -> PhysicalSnapshot     // consistent: per node, per zone: spanned/present/managed/free, watermarks,
//                                                 // freeByOrder[0...10] (+ higher counted in 10), numa counters, bitmap/buddy counts and failures,
//                                                 // frames by owner kind (page tables, anonymous, ...)
//   public func fallbackOrder(of: NodeID) -> [NodeID]
//   public func verify() -> [String]               // recompute all from structures; [] if all agree
//   public func reset()                            // back to the state after init, bytes given back to the host
// }
// public struct PhysicalBytes: @unchecked Sendable {   // @frozen, @inlinable
//   public let base: UnsafeMutableRawPointer; public let size: ByteCount     // host address = base + physical address
//   load/store UInt64/UInt32 at PhysicalAddress (unchecked, inlinable), read(into:at:), write(_:at:) throws noMemoryAt, zero(range), copy,
//   nextData(from:) / nextHole(from:)
// }
