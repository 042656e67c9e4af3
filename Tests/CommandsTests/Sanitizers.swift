import Glibc
import Topology

/// Whether a sanitizer is part of this program: those leave no room in the address space for machines of more than 1 TiB.
let isSanitized = unsafe dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil

extension Preset {
  /// The largest machine that this program has room for.
  static let largest: Preset = isSanitized ? .cxl : .tera
}

extension Preset {
  /// The machines that this program has room for.
  static let possible = allCases.filter { !isSanitized || $0 != .tera }
}
