internal import Glibc
internal import MemoryTypes

/// Host address space that reads zero until it is written, costs nothing until then, and is given back with the value.
///
/// Huge pages of the host are kept out, so that what is committed is exactly what was touched, but where they are asked for.
@safe struct HostMapping: ~Copyable, @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  /// Bytes; a multiple of the host's page.
  let size: Int

  enum Access { case none, readWrite }

  /// - Parameter isHuge: for what is looked up at random: 2 MiB are committed at a touch, and one entry of the host's TLB serves them.
  /// - Throws: `hostRefusedMapping` with mmap(2)'s errno.
  init(size: Int, access: Access, isHuge: Bool = false) throws(MemoryError) {
    let rounded = max(HostMapping.page, (size + HostMapping.page - 1) & ~(HostMapping.page - 1))
    let protection = access == .none ? PROT_NONE : PROT_READ | PROT_WRITE
    // SAFETY: no fixed address is asked for, so that nothing that is mapped already can be replaced.
    let address = unsafe mmap(nil, rounded, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .hostRefusedMapping(ByteCount(UInt64(rounded)), errno: errno)
    }
    unsafe madvise(address, rounded, isHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
    unsafe base = address
    self.size = rounded
  }

  deinit { unsafe munmap(base, size) }

  /// Opens a part of a mapping without access for reading and writing.
  func open(offset: Int, size: Int) throws(MemoryError) {
    // SAFETY: the range lies inside this mapping, which is ours.
    let result = unsafe mmap(
      base + offset, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0)
    guard unsafe result != MAP_FAILED else { throw .hostRefusedMapping(ByteCount(UInt64(size)), errno: errno) }
    unsafe madvise(base + offset, size, MADV_NOHUGEPAGE)
  }

  /// Takes the access to an opened part away, and gives back what it holds.
  func close(offset: Int, size: Int) {
    discard(offset: offset, size: size)
    // SAFETY: the range lies inside this mapping, which is ours.
    unsafe mprotect(base + offset, size, PROT_NONE)
  }

  /// Gives back what whole pages of the range hold; they read zero from then on.
  func discard(offset: Int, size: Int) {
    // SAFETY: the range lies inside this mapping, which is ours.
    unsafe madvise(base + offset, size, MADV_DONTNEED)
  }

  /// The host's page in bytes: what discarding and opening are rounded to.
  static let page = Int(sysconf(Int32(_SC_PAGESIZE)))
}

/// An array in host memory that somebody else owns; unchecked in release builds, as its indices come from this module alone.
@safe struct HostArray<Element: BitwiseCopyable>: @unchecked Sendable {
  let base: UnsafeMutablePointer<Element>
  let count: Int

  init(_ base: UnsafeMutableRawPointer, count: Int) {
    // SAFETY: the caller hands over `count` zeroed elements' worth of memory, used as this type alone.
    unsafe self.base = base.bindMemory(to: Element.self, capacity: count)
    self.count = count
  }

  @inline(__always)
  subscript(_ index: Int) -> Element {
    get {
      assert(index >= 0 && index < count)
      // SAFETY: inside the array, as asserted.
      return unsafe base[index]
    }
    nonmutating set {
      assert(index >= 0 && index < count)
      // SAFETY: inside the array, as asserted.
      unsafe base[index] = newValue
    }
  }
}
