public import AddressSpaces
public import MemoryTypes
internal import PhysicalMemory

/// The machine's files: names with disks behind them, whose pages pass through the page cache.
extension Machine {
  /// Their names, ascending.
  public var fileNames: [String] { files.keys.sorted() }

  public func file(named name: String) -> MemoryFile? { files[name] }

  /// Makes an empty file of that size in bytes, all of it holes. Nil, and nothing made, where there is one of the name.
  public func createFile(_ name: String, size: UInt64) -> MemoryFile? {
    if files[name] != nil { return nil }
    let file = users.makeFile(path: "/" + name, size: size)
    files[name] = file
    return file
  }

  /// rm(1): the name goes, and with the last who maps it the file. False where there is none.
  public func removeFile(_ name: String) -> Bool {
    guard let file = files.removeValue(forKey: name) else { return false }
    users.close(file)
    return true
  }

  /// Writes bytes by way of the page cache, see `UserMemory.write`.
  public func write(_ file: MemoryFile, offset: UInt64, size: UInt64, pattern: [UInt8], cpu: CPUID) throws(MemoryError)
  {
    background.mayBeDirty = true
    try users.write(file, offset: offset, size: size, pattern: pattern, cpu: cpu, limits: dirtyThresholds())
  }

  /// Recomputes what is counted, of memory and of its pages; a sentence for each difference.
  public func verify() -> [String] { memory.verify() + users.verify() }
}
