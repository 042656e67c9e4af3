import Commands
import Machine
import Testing
import Topology

/// AArch64 ignores the top byte of a user's address in an access; ranges are named without it.
@Suite struct TaggedAddressTests {
  @Test(arguments: [Paging.granule4K, .granule16K, .granule64K], ["unmap", "protect"])
  func tagsAreNoPartOfARange(_ paging: Paging, _ verb: String) throws {
    let small = try SmallMachine(paging: paging)
    let flags = verb == "protect" ? " flags=PRESENT|USER" : ""
    for address in ["0x8000000000000000", "0x4000000000000000", "0x0100000000000000"] {
      for count in ["", " 1", " 100000"] {
        #expect(throws: Refusal.self) { try small.say("\(verb) \(address)\(count)\(flags) pid=1") }
      }
    }
    #expect(small.machine.verify() == [])
  }
}
