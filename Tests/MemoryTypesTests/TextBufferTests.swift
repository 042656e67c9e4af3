import MemoryTypes
import Testing

@Suite struct TextBufferTests {
  @Test func decimalsArePaddedAsPrintfPadsThem() {
    var text = TextBuffer(capacity: 16)
    for value in [0, 9, 10, 99, 100, -1, -10, Int.max, Int.min] {
      text.append(decimal: value)
      text.append(byte: 0x20)
    }
    text.append(decimal: UInt64.max)
    #expect(text.string == "0 9 10 99 100 -1 -10 \(Int.max) \(Int.min) \(UInt64.max)")
    text.removeAll()
    text.append(decimal: 42, width: 8)
    text.append(decimal: 123_456_789, width: 3)
    #expect(text.string == "      42123456789")
  }

  @Test func hexadecimalsAreFilledWithZeros() {
    var text = TextBuffer()
    text.append(hex: 0)
    text.append(byte: 0x20)
    text.append(hex: 0xabc, width: 8)
    text.append(byte: 0x20)
    text.append(hex: .max, width: 2)
    #expect(text.string == "0 00000abc ffffffffffffffff")
  }

  @Test func readingFromAnyOffsetGivesTheSameBytes() {
    var text = TextBuffer(capacity: 16)
    for line in 0..<100 { text.append(string: "line \(line)\n") }
    let whole = Array(text.string.utf8)
    for step in [1, 7, 64, 4096] {
      var got: [UInt8] = []
      var piece = [UInt8](repeating: 0, count: step)
      while true {
        let count = unsafe piece.withUnsafeMutableBytes { unsafe text.copy(from: got.count, into: $0) }
        if count == 0 { break }
        got += piece[..<count]
      }
      #expect(got == whole)
    }
  }
}
