import SystemPackage

/// Standard input, line by line, or as many bytes of it at once as were read.
struct LineReader {
  private var buffer = [UInt8](repeating: 0, count: 1 << 20)
  private var start = 0
  private var end = 0

  /// Shows `take` what was read and is not taken yet; it answers how many bytes it takes.
  mutating func take(_ take: (RawSpan) -> Int) {
    // SAFETY: bytes have no padding.
    start += unsafe take(buffer.span.bytes.extracting(start..<end))
  }

  /// The next line without its end; nil behind the last. `beforeWaiting` is called before input is waited for.
  mutating func next(beforeWaiting: () throws(Failure) -> Void) throws(Failure) -> String? {
    var searched = start
    while true {
      if let newline = buffer[searched..<end].firstIndex(of: 0x0A) {
        defer { start = newline + 1 }
        let last = newline > start && buffer[newline - 1] == 0x0D ? newline - 1 : newline
        return String(decoding: buffer[start..<last], as: UTF8.self)
      }
      searched = end
      try beforeWaiting()
      if try fill(&searched) { continue }
      defer { start = end }
      return start == end ? nil : String(decoding: buffer[start..<end], as: UTF8.self)
    }
  }

  /// Reads more behind what is there; false at the end.
  private mutating func fill(_ searched: inout Int) throws(Failure) -> Bool {
    if start > 0 {
      // SAFETY: both lie in the buffer; they may overlap.
      unsafe buffer.withUnsafeMutableBytes { bytes in
        unsafe bytes.baseAddress!.copyMemory(from: bytes.baseAddress! + start, byteCount: end - start)
      }
      searched -= start
      end -= start
      start = 0
    }
    if end == buffer.count { buffer.append(contentsOf: repeatElement(0, count: buffer.count)) }
    do {
      let count = try unsafe buffer.withUnsafeMutableBytes { bytes in
        // SAFETY: the descriptor writes into what is not filled yet.
        try unsafe FileDescriptor.standardInput.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[end...]))
      }
      end += count
      return count > 0
    } catch { throw Failure("standard input cannot be read: \(error)") }
  }
}
