public import MemoryTypes
public import SystemPackage

extension Errno {
  /// The one place where the memory system's errors become errno.
  public init(_ error: MemoryError) {
    self =
      switch error {
      // __alloc_pages returns NULL, and its callers -ENOMEM; so does mmap(2).
      case .outOfMemory, .hostRefusedMapping: .noMemory
      // Numbers that are well formed and too large or too small: kstrtoul's -ERANGE.
      case .invalidSize, .invalidOrder: .outOfRange
      // An alignment that is no power of two: posix_memalign(3)'s EINVAL.
      case .invalidAlignment: .invalidArgument
      // /sys/devices/system has no such device.
      case .noSuchNode, .noSuchCPU, .noSuchZone: .operationNotSupportedByDevice
      // /dev/mem beyond the end of memory; soft_offline_page of no page: -ENXIO.
      case .noSuchFrame, .noMemoryAt: .noSuchAddressOrDevice
      // A bad argument to free: free(3) cannot say so, munmap(2) says EINVAL.
      case .notAllocated, .notAllocationStart, .wrongAllocationSize: .invalidArgument
      // Firmware's and the kernel's own pages: -EPERM from /dev/mem's range_is_allowed.
      case .reservedFrame: .notPermitted
      // offline_pages: -EBUSY.
      case .frameInUse, .busy: .resourceBusy
      // offline_pages of a range with holes or of several zones, add_memory of one that is not of whole blocks: -EINVAL.
      case .notPluggable: .invalidArgument
      // register_memory_resource: -EEXIST, -E2BIG.
      case .memoryExists: .fileExists
      case .beyondReach: .argListTooLong
      // get_hwpoison_page of an unhandlable page: -EIO.
      case .unhandlable: .ioError
      // memory_failure: -EHWPOISON.
      case .poisonedAlready: Errno(rawValue: 133)
      // write(2).
      case .diskFull: .noSpace
      case .overlappingReservations: .invalidArgument
      // mmap(2), mprotect(2): EINVAL for addresses that are misaligned; access to non-canonical ones: EFAULT.
      case .notCanonical: .badAddress
      case .misaligned, .misalignedFrame, .invalidFlags, .unsupportedPageSize: .invalidArgument
      // MAP_FIXED_NOREPLACE: EEXIST.
      case .alreadyMapped: .fileExists
      // access_process_vm, mincore(2) of nothing: EFAULT.
      case .notMapped: .badAddress
      // SELinux's execmem and PaX's MPROTECT: EACCES.
      case .writableAndExecutable: .permissionDenied
      case .noSuchProcess: .noSuchProcess
      // mmap(2) at a fixed address behind the last: ENOMEM; of an order to the kernel, which has no such limit: EINVAL.
      case .outsideHalf: .invalidArgument
      // What is not the caller's: ptrace(2), kill(2), fcntl(2) with F_SETOWN: EPERM.
      case .foreignMapping: .notPermitted
      }
  }
}

extension Refusal {
  public init(_ error: MemoryError) { self.init(Errno(error), error.description) }
}
