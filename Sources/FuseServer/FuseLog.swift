internal import CFuse
internal import Glibc
internal import Logging

/// libfuse's own words, passed to the log. libfuse knows one receiver a process, so this holds no state.
enum FuseLog {
  static func install() {
    unsafe fuse_set_log_func { level, format, arguments in
      guard let format = unsafe format, let arguments = unsafe arguments else { return }
      let message = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
        // SAFETY: vsnprintf writes at most `count` bytes, and ends them with NUL.
        unsafe vsnprintf(buffer.baseAddress!, buffer.count, format, arguments)
        return unsafe String(cString: buffer.baseAddress!)
      }
      // What goes wrong is reported by the one who called, in words of the program's own: this is for who asks for more.
      Logger(label: "libfuse").debug("\(message.filter { $0 != "\n" })")
    }
  }
}
