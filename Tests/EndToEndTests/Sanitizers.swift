import Glibc

/// Whether a sanitizer is part of this program: those leave no room in the address space for machines of more than 1 TiB.
let isSanitized = unsafe dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil
