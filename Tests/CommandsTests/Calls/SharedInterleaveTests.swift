import Testing

/// Interleaving over shared memory is shifted by the file's number; what the oracle's kernel answered.
@Suite struct SharedInterleaveTests {
  @Test func beginsAtTheFilesNumber() throws {
    let machine = try CallMachine()
    func shared(_ pid: Int, _ address: String, _ nodes: String) throws -> String {
      try machine.replay(
        """
        [pid \(pid)] mmap(\(address), 65536, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        [pid \(pid)] mbind(\(address), 65536, MPOL_INTERLEAVE, [\(nodes)], 64, 0)
        [pid \(pid)] madvise(\(address), 32768, MADV_POPULATE_WRITE)
        [pid \(pid)] move_pages(\(address), 8, -1, 0)
        """)
    }
    #expect(try shared(1, "0x100000000", "0xf").hasSuffix("= 0 [2, 3, 0, 1, 2, 3, 0, 1]\n"))
    #expect(try shared(1, "0x100020000", "0xb").hasSuffix("= 0 [0, 1, 3, 0, 1, 3, 0, 1]\n"))
    _ = try machine.replay("fork()")
    #expect(try shared(2, "0x100030000", "0xf").hasSuffix("= 0 [0, 1, 2, 3, 0, 1, 2, 3]\n"))
  }
}
