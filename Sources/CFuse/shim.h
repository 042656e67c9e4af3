// The low-level API of libfuse 3.14. _FILE_OFFSET_BITS stays undefined: 64-bit hosts do not need it.
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
