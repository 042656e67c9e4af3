/// Sets of small numbers as Linux's files write them: lists (`0-3,8`) and masks (`ff,ffffffff`).
public enum RangeList {
  /// The list of `ids`, which ascend (Linux's `%*pbl`): runs as `first-last`, joined by commas; empty for none.
  /// - Complexity: O(n).
  public static func list(_ ids: some Sequence<Int>) -> String {
    var text = ""
    var run: ClosedRange<Int>?
    func close() {
      guard let run else { return }
      if !text.isEmpty { text += "," }
      text += run.count == 1 ? "\(run.lowerBound)" : "\(run.lowerBound)-\(run.upperBound)"
    }
    for id in ids {
      if let open = run, id <= open.upperBound + 1 {
        run = open.lowerBound...max(id, open.upperBound)
      } else {
        close()
        run = id...id
      }
    }
    close()
    return text
  }

  /// The mask of `ids` in `width` bits (Linux's `%*pb`): groups of 32 bits in hexadecimal, the highest first and as short as `width` leaves
  /// it, joined by commas. Ids of `width` and more are left out.
  /// - Parameter width: the number of bits, `nr_cpu_ids` or `MAX_NUMNODES` in Linux's files; 0 gives an empty text.
  /// - Complexity: O(n + width).
  public static func mask(_ ids: some Sequence<Int>, width: Int) -> String {
    var words = [UInt32](repeating: 0, count: (width + 31) / 32)
    for id in ids where id >= 0 && id < width { words[id / 32] |= 1 << UInt32(id % 32) }
    var text = ""
    for (index, word) in words.enumerated().reversed() {
      let bits = index == words.count - 1 ? width - index * 32 : 32
      let digits = String(word, radix: 16)
      text += String(repeating: "0", count: max(0, (bits + 3) / 4 - digits.utf8.count)) + digits
      if index > 0 { text += "," }
    }
    return text
  }

  /// The numbers of a list, ascending and each once: `0-3,8`, spaces and newlines around allowed, `0-31:2/8` for two of every eight
  /// (Linux's `bitmap_parselist`). An empty list is no numbers.
  /// - Returns: `nil` where it is malformed or names a number of `limit` or more.
  /// - Complexity: O(n log n) in what it names; never more than 3 * `limit` numbers of memory.
  public static func parse(list text: some StringProtocol, limit: Int) -> [Int]? {
    var ids: [Int] = []
    var ascending = true
    for part in text.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
      let halves = part.split(separator: ":", omittingEmptySubsequences: false)
      let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
      guard halves.count <= 2, ends.count <= 2, let first = number(ends[0]), let last = number(ends[ends.count - 1]),
        first <= last, last < limit
      else { return nil }
      var used = 1
      var group = 1
      if halves.count == 2 {
        let numbers = halves[1].split(separator: "/", omittingEmptySubsequences: false).map { number($0) }
        guard ends.count == 2, numbers.count == 2, let a = numbers[0], let b = numbers[1], a <= b, b > 0 else {
          return nil
        }
        (used, group) = (a, b)
      }
      if let highest = ids.last, first <= highest { ascending = false }
      for id in first...last where group == 1 || (id - first) % group < used { ids.append(id) }
      if ids.count > 2 * limit { ids = Set(ids).sorted() }
    }
    return ascending ? ids : Set(ids).sorted()
  }

  /// The numbers of a mask, ascending: groups of up to eight hexadecimal digits, the highest first.
  /// - Returns: `nil` where it is malformed or names a number of `limit` or more.
  public static func parse(mask text: some StringProtocol, limit: Int) -> [Int]? {
    var ids: [Int] = []
    var base = 0
    let trimmed = text.split(whereSeparator: \.isWhitespace)
    guard trimmed.count == 1 else { return nil }
    for group in trimmed[0].split(separator: ",", omittingEmptySubsequences: false).reversed() {
      guard group.utf8.count <= 8, group.utf8.first != UInt8(ascii: "+"), let word = UInt32(group, radix: 16) else {
        return nil
      }
      for bit in 0..<32 where word >> UInt32(bit) & 1 == 1 {
        guard base + bit < limit else { return nil }
        ids.append(base + bit)
      }
      base += 32
    }
    return ids
  }

  /// Decimal digits alone: no sign.
  private static func number(_ text: some StringProtocol) -> Int? {
    text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } ? Int(text) : nil
  }
}
