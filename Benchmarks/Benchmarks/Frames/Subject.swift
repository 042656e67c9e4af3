import Figures
import Glibc
import MemoryTypes
import PhysicalMemory

/// The size of a block as a type, so that what follows from it is constant where a workload is compiled, as it is for whoever asks for a frame
/// or for a huge page.
protocol Order {
  static var order: Int { get }
}

enum Single: Order {
  static var order: Int { 0 }
}

enum Huge: Order {
  static var order: Int { 9 }
}

/// What is measured, or what it is measured against: something that gives blocks of 2^order frames and takes them back.
protocol Subject: Sendable {
  /// The block's number or address; traps where there is none left.
  func allocate(order: Int, cpu: Int) -> Int
  func free(_ block: Int, order: Int, cpu: Int)
}

/// The project's own allocator, all checks on.
struct Own: Subject {
  let memory: PhysicalMemory

  init(bytes: Int, cpus: Int = 2) { memory = try! PhysicalMemory(.measured(bytes: bytes, cpus: cpus)) }

  @inline(__always)
  func allocate(order: Int, cpu: Int) -> Int {
    let count = FrameCount(order: order)
    let request = FrameRequest(count: count, alignment: count, cpu: CPUID(cpu), mobility: .movable)
    return Int(truncatingIfNeeded: try! memory.allocate(request).start.rawValue)
  }

  @inline(__always)
  func free(_ block: Int, order: Int, cpu: Int) {
    let range = FrameRange(start: FrameNumber(UInt64(block)), count: FrameCount(order: order))
    try! memory.free(range, cpu: CPUID(cpu))
  }
}

/// A general allocator's `aligned_alloc` and `free`, for blocks of 4 KiB << order.
struct Malloc: Subject {
  let name: String
  private let allocate: @convention(c) (Int, Int) -> UnsafeMutableRawPointer?
  private let release: @convention(c) (UnsafeMutableRawPointer?) -> Void

  /// The C library's own, where `library` is nil; nil where the library cannot be loaded.
  init?(_ name: String, library: String?) {
    var handle: UnsafeMutableRawPointer?
    if let library {
      handle = dlopen(library, RTLD_NOW | RTLD_LOCAL)
      if handle == nil { return nil }
    }
    guard let allocate = dlsym(handle, "aligned_alloc"), let free = dlsym(handle, "free") else { return nil }
    self.name = name
    self.allocate = unsafeBitCast(allocate, to: (@convention(c) (Int, Int) -> UnsafeMutableRawPointer?).self)
    release = unsafeBitCast(free, to: (@convention(c) (UnsafeMutableRawPointer?) -> Void).self)
  }

  @inline(__always)
  func allocate(order: Int, cpu: Int) -> Int { Int(bitPattern: allocate(4096, 4096 << order)) }

  @inline(__always)
  func free(_ block: Int, order: Int, cpu: Int) { release(UnsafeMutableRawPointer(bitPattern: block)) }

  /// Those that this process can have. jemalloc needs room for its thread-local variables (see the Makefile).
  static let all = [
    Malloc("glibc", library: nil), Malloc("jemalloc", library: "libjemalloc.so.2"),
    Malloc("mimalloc", library: "libmimalloc.so.2"),
  ].compactMap { $0 }
}

/// A frame allocator of others, from a shared library that the environment names (see README, "Performance").
struct Reference: Subject {
  typealias Create = @convention(c) (_ frames: Int, _ cpus: Int) -> UnsafeMutableRawPointer?
  typealias Allocate = @convention(c) (UnsafeMutableRawPointer, _ order: UInt32, _ cpu: Int) -> Int64
  typealias Free = @convention(c) (UnsafeMutableRawPointer, _ frame: Int64, _ order: UInt32, _ cpu: Int) -> Int32
  typealias Count = @convention(c) (UnsafeMutableRawPointer) -> Int64
  typealias Destroy = @convention(c) (UnsafeMutableRawPointer) -> Void

  struct Library: Sendable {
    let create: Create
    let allocate: Allocate
    let free: Free
    let wholeBlocks: Count
    let destroy: Destroy
  }

  static let variable = "LLFREE_LIBRARY"

  /// nil where the variable is not set; a library that is named and cannot be used ends the program.
  static let library: Library? = {
    guard let path = getenv(variable) else {
      print("The reference allocator is left out: \(variable) names no library.")
      return nil
    }
    guard let handle = dlopen(path, RTLD_NOW) else { fatalError(String(cString: dlerror())) }
    func symbol<T>(_ name: String, _ type: T.Type) -> T {
      guard let address = dlsym(handle, name) else { fatalError("\(variable): no \(name)") }
      return unsafeBitCast(address, to: type)
    }
    return Library(
      create: symbol("reference_create", Create.self), allocate: symbol("reference_allocate", Allocate.self),
      free: symbol("reference_free", Free.self), wholeBlocks: symbol("reference_whole_blocks", Count.self),
      destroy: symbol("reference_destroy", Destroy.self))
  }()

  private final class Instance: @unchecked Sendable {
    let address: UnsafeMutableRawPointer
    let library: Library
    init(_ library: Library, _ address: UnsafeMutableRawPointer) {
      self.library = library
      self.address = address
    }
    deinit { library.destroy(address) }
  }

  private let instance: Instance
  private let address: UnsafeMutableRawPointer
  private let get: Allocate
  private let put: Free

  init?(bytes: Int, cpus: Int = 2) {
    guard let library = Self.library else { return nil }
    guard let made = library.create(bytes >> 12, cpus) else { fatalError("the reference allocator cannot be made") }
    instance = Instance(library, made)
    address = made
    get = library.allocate
    put = library.free
  }

  @inline(__always)
  func allocate(order: Int, cpu: Int) -> Int {
    let frame = get(address, UInt32(order), cpu)
    precondition(frame >= 0)
    return Int(frame)
  }

  @inline(__always)
  func free(_ block: Int, order: Int, cpu: Int) {
    let result = put(address, Int64(block), UInt32(order), cpu)
    precondition(result == 0)
  }

  /// Blocks of 512 frames that are free as a whole.
  var wholeBlocks: Int { Int(instance.library.wholeBlocks(address)) }
}

extension Reference: @unchecked Sendable {}
