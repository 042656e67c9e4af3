internal import MemoryTypes
internal import PhysicalMemory
internal import Translation

/// A process's own accesses to its memory.
extension UserMemory {
  /// What an access came to.
  public enum AccessOutcome: Sendable {
    /// With the minor faults that it took.
    case done(faults: UInt64)
    case signal(Signal)
  }

  /// Reads `buffer.count` bytes as the process would, faults included. What was read before a signal is in the buffer.
  public func load(_ process: Process, _ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> AccessOutcome {
    access(process, address, UInt64(buffer.count), write: false) { physicalAddress, offset, count in
      // SAFETY: `offset` and `count` lie inside the buffer: they are parts of its length.
      unsafe physical.bytes.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[Int(offset)..<Int(offset + count)]), at: physicalAddress)
    }
  }

  /// Writes bytes as the process would. What was written before a signal stays.
  public func store(_ process: Process, _ address: UInt64, _ bytes: UnsafeRawBufferPointer) -> AccessOutcome {
    access(process, address, UInt64(bytes.count), write: true) { physicalAddress, offset, count in
      // SAFETY: `offset` and `count` lie inside the bytes: they are parts of their length.
      let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset + count)])
      unsafe write(part, at: physicalAddress)
    }
  }

  /// Writes bytes to a page that an entry shows.
  func write(_ bytes: UnsafeRawBufferPointer, at address: PhysicalAddress) {
    // SAFETY: a frame of this machine. What counts as somebody's page is held; entries that were made past this may show anything.
    if unsafe records[physical.frameSize.frame(of: address)].pointee.references > 0 {
      return unsafe physical.bytes.store(bytes, at: address)
    }
    do throws(MemoryError) {
      try unsafe physical.bytes.write(bytes, at: address)
    } catch { preconditionFailure("a page outside of memory: \(error)") }
  }

  private func access(
    _ process: Process, _ start: UInt64, _ length: UInt64, write: Bool,
    _ body: (PhysicalAddress, UInt64, UInt64) -> Void
  ) -> AccessOutcome {
    currentCPU = process.cpu
    let before = process.minorFaults
    var done: UInt64 = 0
    while done < length {
      let address = start &+ done
      let count = min(length - done, (1 << pageShift) - address & (1 << pageShift - 1))
      switch translate(process, address, write: write) {
      case .success(let physicalAddress): body(physicalAddress, done, count)
      case .failure(let refusal):
        _ = reap(process)
        return .signal(refusal.signal)
      }
      done += count
    }
    return .done(faults: process.minorFaults - before)
  }

  struct Refusal: Error { var signal: Signal }

  /// Where an address leads, after the faults that it takes.
  @inline(__always)
  func translate(_ process: Process, _ address: UInt64, write: Bool) -> Result<PhysicalAddress, Refusal> {
    if process.space.isDeferred(at: address) { settle(process.space, at: address) }
    if !mmu.isReady(process.space.settledTable.pages, on: process.cpu) { load(process) }
    switch mmu.access(VirtualAddress(address), write ? .write : .read, user: true, on: process.cpu) {
    case .success(let physicalAddress): return .success(physicalAddress)
    case .fault(let fault): return resolve(process, address, write: write, fault.reason)
    }
  }

  /// Loads the process's space on its CPU.
  @inline(never) private func load(_ process: Process) {
    do throws(MemoryError) {
      try mmu.switchSpace(on: process.cpu, to: process.space.settledTable.pages)
    } catch { preconditionFailure("a process on a CPU that is not there: \(error)") }
  }

  /// Takes the faults of an access that the hardware has refused, until it does not.
  @inline(never)
  private func resolve(
    _ process: Process, _ address: UInt64, write: Bool, _ first: TranslationFault.Reason
  ) -> Result<PhysicalAddress, Refusal> {
    // SAFETY: a process keeps its space while it takes a fault.
    let space = unsafe Unmanaged.passUnretained(process.space)
    if write,
      let entry = unsafe space._withUnsafeGuaranteedRef({
        switch first {
        case .absent: $0.fillQuickly(process, address)
        case .permission: $0.copyQuickly(process, address)
        default: nil
        }
      })
    {
      return .success(mmu.repeatWrite(VirtualAddress(address), on: process.cpu, entry: entry))
    }
    return unsafe space._withUnsafeGuaranteedRef {
      resolve(process, in: $0, address, write: write, first)
    }
  }

  @inline(__always)
  private func resolve(
    _ process: Process, in space: AddressSpace, _ address: UInt64, write: Bool, _ first: TranslationFault.Reason
  ) -> Result<PhysicalAddress, Refusal> {
    var reason = first
    var retried = false
    while true {
      if reason == .notCanonical { return refuse(.segmentation(codeOutside(address))) }
      let meant = format.untagged(VirtualAddress(address)).rawValue
      if meant >= space.layout.userEnd { return refuse(.segmentation(.mapError)) }
      switch space.fault(process, meant, write: write, wasPresent: reason == .permission) {
      case .minor, .major: break
      case .signal(let signal): return refuse(signal)
      case .outOfMemory:
        if case .killed = relieve(process, retried: &retried) { return refuse(.killed) }
      }
      switch mmu.access(VirtualAddress(address), write ? .write : .read, user: true, on: process.cpu) {
      case .success(let physicalAddress): return .success(physicalAddress)
      case .fault(let fault): reason = fault.reason
      }
    }
  }

  /// The code of an access outside the canonical form. x86-64 answers with a general protection fault, which has no address (SI_KERNEL);
  /// other architectures with a page fault. So that a script's transcript does not depend on the architecture, x86-64's 57-bit form decides
  /// for them: that of the machine which the oracle's kernel runs on.
  private func codeOutside(_ address: UInt64) -> Signal.Code {
    if format.architecture == .x86_64 { return .kernel }
    let high = Int64(bitPattern: address) >> 56
    return high == 0 || high == -1 ? .mapError : .kernel
  }

  private func refuse(_ signal: Signal) -> Result<PhysicalAddress, Refusal> {
    if signal != .killed { events.invalid += 1 }
    return .failure(Refusal(signal: signal))
  }
}
