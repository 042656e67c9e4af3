public import MemoryTypes

extension MMU {
  /// Loads a space, or the kernel's own table, on a CPU: what a context switch does. What the space missed while it was
  /// away is made up for here. Throws `noSuchCPU`. Traps where the table was not attached.
  @inlinable @inline(__always)
  public func switchSpace(on cpu: CPUID, to table: PageTable) throws(MemoryError) {
    if isReady(table, on: cpu) { return }
    try switchInGeneral(on: cpu, to: table)
  }

  /// Whether a space is loaded on a CPU, and nothing is to be made up for: `switchSpace` would do nothing. False for a CPU that is not there.
  @inlinable @inline(__always)
  public func isReady(_ table: PageTable, on cpu: CPUID) -> Bool {
    let number = cpu.rawValue
    // SAFETY: the CPU's number is checked first.
    return unsafe UInt(bitPattern: number) < UInt(bitPattern: cpuCount)
      && fronts[number].context == table.attachment.pointee
      && fronts[number].epoch == shared.pointee.epoch && lazies[number &>> 6] &>> UInt64(number & 63) & 1 == 0
  }

  @usableFromInline @inline(never)
  func switchInGeneral(on cpu: CPUID, to table: PageTable) throws(MemoryError) {
    try check(cpu)
    precondition(table.context >= 0, "a table that was not attached")
    let state = unsafe cpus + cpu.rawValue
    unsafe lazies[cpu.rawValue &>> 6] &= ~(1 &<< UInt64(cpu.rawValue & 63))
    if unsafe state.pointee.context != table.context {
      load(context: table.context, on: cpu.rawValue)
      unsafe state.pointee.counters.switches += 1
    }
    catchUp(cpu.rawValue)
  }

  /// A kernel thread runs on the space that is loaded (Linux's lazy TLB mode): the CPU will not be asked to flush it, and
  /// makes up for that when it leaves the mode by `switchSpace`, or uses the space. Throws `noSuchCPU`.
  public func enterLazyMode(on cpu: CPUID) throws(MemoryError) {
    try check(cpu)
    unsafe lazies[cpu.rawValue &>> 6] |= 1 &<< UInt64(cpu.rawValue & 63)
  }

  /// Whether a kernel thread runs there on a borrowed space. Throws `noSuchCPU`.
  public func isLazy(_ cpu: CPUID) throws(MemoryError) -> Bool {
    try check(cpu)
    return unsafe lazies[cpu.rawValue &>> 6] &>> UInt64(cpu.rawValue & 63) & 1 != 0
  }

  /// The space that a CPU has loaded; nil for the kernel's own table.
  public func loadedSpace(on cpu: CPUID) throws(MemoryError) -> UInt32? {
    try check(cpu)
    let context = unsafe cpus[cpu.rawValue].context
    return context == 0 ? nil : unsafe contexts[context].table?._withUnsafeGuaranteedRef { $0.space }
  }

  func load(context: Int, on cpu: Int) {
    let state = unsafe cpus + cpu
    let bit: UInt64 = 1 << UInt64(cpu & 63)
    unsafe masks[state.pointee.context * maskWords + cpu >> 6] &= ~bit
    unsafe masks[context * maskWords + cpu >> 6] |= bit
    unsafe state.pointee.isActive = true
    // nothing is loaded while the slot changes
    unsafe state.pointee.putBack()
    unsafe state.pointee.context = 0
    unsafe state.pointee.takeOut()
    // entries of the kernel's half that are not global belong to the space that was loaded
    unsafe state.pointee.renewKernelStamps()
    if context == 0 { return }
    let serial = unsafe contexts[context].serial
    let limit = min(CPUState.slotCount, format.asidCount)
    if let slot = (0..<limit).first(where: { unsafe state.pointee.slots[$0].serial == serial }) {
      unsafe state.pointee.slot = slot
      // without identifiers loading a root flushes everything but global entries
      if limit == 1 { unsafe state.pointee.flush(slot: slot) }
    } else {
      let slot = unsafe state.pointee.nextSlot % limit
      unsafe state.pointee.nextSlot = slot + 1
      unsafe state.pointee.slot = slot
      unsafe state.pointee.flush(slot: slot)
      unsafe state.pointee.slots[slot].serial = serial
      unsafe state.pointee.slots[slot].seen = unsafe contexts[context].generation
    }
    unsafe state.pointee.context = context
    unsafe state.pointee.takeOut()
  }

  /// Flushes what was deferred, or missed while the space was not loaded here, before anything of it is used.
  @inline(never) func catchUp(_ cpu: Int) {
    let state = unsafe cpus + cpu
    unsafe state.pointee.front.pointee.epoch = shared.pointee.epoch
    let context = unsafe state.pointee.context
    let slot = unsafe state.pointee.slot
    if context != 0 {
      let generation = unsafe contexts[context].generation
      if unsafe state.pointee.front.pointee.seen != generation {
        unsafe state.pointee.front.pointee.seen = generation
        unsafe state.pointee.flush(slot: slot)
        unsafe state.pointee.counters.lateFlushes += 1
      }
    }
    let generation = unsafe contexts.pointee.generation
    if unsafe state.pointee.kernelSeen != generation {
      unsafe state.pointee.kernelSeen = generation
      unsafe state.pointee.flushAll()
      unsafe state.pointee.counters.lateFlushes += 1
    }
  }
}
