public import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// Where the kernel's stacks lie: slots of one size, handed out from the top of the format's region down, the lowest free one first.
struct KernelStacks {
  /// Slots that were given back, all below `next`.
  var free: [UInt64] = []
  var next: UInt64 = 0
  /// Frames of stacks by node.
  var frames: [NodeID: Int] = [:]
}

/// Every process has a stack in the kernel (`alloc_thread_stack_node` with CONFIG_VMAP_STACK): pages of its CPU's node, and below them one
/// that is never mapped, so that an overflow faults.
extension UserMemory {
  /// 16 KiB, or a page where that is larger (THREAD_SIZE).
  var kernelStackPages: UInt64 { max(1, 16384 >> pageShift) }

  /// The lowest address of a slot's stack; the page below it is its guard.
  private func kernelStackStart(_ slot: UInt64) -> VirtualAddress {
    let top = format.layout.kernelStacks.last.rawValue &+ 1
    return VirtualAddress(top &- (slot + 1) * ((kernelStackPages + 1) << pageShift) &+ 1 << pageShift)
  }

  /// Maps a stack for a process on `cpu`; its lowest address. All or nothing: throws `outOfMemory`.
  func makeKernelStack(_ cpu: CPUID) throws(MemoryError) -> VirtualAddress {
    let size = format.layout.kernelStacks.last.rawValue - format.layout.kernelStacks.first.rawValue
    let slot = kernelStacks.free.min() ?? kernelStacks.next
    guard (slot + 1) * ((kernelStackPages + 1) << pageShift) <= size else { throw .outOfMemory(count: FrameCount(1)) }
    let start = kernelStackStart(slot)
    var mapped: UInt64 = 0
    do throws(MemoryError) {
      while mapped < kernelStackPages {
        let frame = try physical.allocate(FrameRequest(cpu: cpu, zeroed: true))
        do throws(MemoryError) {
          try kernelTable.map(
            VirtualAddress(start.rawValue + mapped << pageShift), to: frame,
            flags: [.present, .writable, .global, .accessed, .dirty], sizes: .base, cpu: cpu)
        } catch {
          giveBack(frame, cpu)
          throw error
        }
        mapped += 1
        kernelStacks.frames[node(of: frame.start), default: 0] += 1
      }
    } catch {
      if mapped > 0 { unmapKernelStack(start, pageCount: mapped, cpu) }
      throw error
    }
    if slot == kernelStacks.next {
      kernelStacks.next += 1
    } else {
      kernelStacks.free.removeAll { $0 == slot }
    }
    return start
  }

  func freeKernelStack(_ start: VirtualAddress, _ cpu: CPUID) {
    unmapKernelStack(start, pageCount: kernelStackPages, cpu)
    let top = format.layout.kernelStacks.last.rawValue &+ 1
    kernelStacks.free.append((top &- start.rawValue) / ((kernelStackPages + 1) << pageShift))
  }

  private func unmapKernelStack(_ start: VirtualAddress, pageCount: UInt64, _ cpu: CPUID) {
    var frames: [FrameRange] = []
    do throws(MemoryError) {
      let obligation = try kernelTable.unmap(PageRange(start, pageCount: pageCount)) {
        frames.append(FrameRange(start: FrameNumber($0.physical.rawValue >> pageShift), count: FrameCount(1)))
      }
      obligation.now(mmu, from: cpu)
    } catch { preconditionFailure("a kernel stack that is not there: \(error)") }
    for frame in frames {
      kernelStacks.frames[node(of: frame.start), default: 0] -= 1
      giveBack(frame, cpu)
    }
  }

  /// Frames of kernel stacks on a node.
  public func kernelStackFrames(of node: NodeID) -> Int { kernelStacks.frames[node] ?? 0 }
}
