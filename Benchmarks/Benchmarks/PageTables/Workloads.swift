import MemoryTypes
import RadixTree
import Translation

/// Pages of a table that workloads use: its last page stays mapped, so that the table stays.
private let inTable: UInt64 = 511

/// Maps a page, unmaps it, and flushes it on the CPUs that have the space, so many times: the pages of one table in turn.
@inline(never)
func mapUnmapFlush(_ space: Space, _ count: Int) {
  let shift = UInt64(space.page.trailingZeroBitCount)
  if try! space.mmu.loadedSpace(on: CPUID(0)) == nil { fatalError("nobody has the space") }
  keepTable(space)
  var page: UInt64 = 0
  for _ in 0..<count {
    let address = space.start &+ page &<< shift
    space.map(address)
    space.unmap(address).now(space.mmu, from: CPUID(0))
    page = page &+ 1 == inTable ? 0 : page &+ 1
  }
}

private func keepTable(_ space: Space) {
  let last = VirtualAddress(space.start + inTable * space.page)
  if space.table.translate(last) == nil { space.map(last.rawValue) }
}

@inline(never)
func mapUnmap(_ radix: Radix, _ count: Int) {
  var page: UInt64 = 0
  for _ in 0..<count {
    let address = 1 &<< 30 &+ page &<< 12
    radix_tree_map(radix.tree, address, address | 1)
    precondition(radix_tree_unmap(radix.tree, address) != 0)
    page = page &+ 1 == inTable ? 0 : page &+ 1
  }
}

/// Maps so many pages in order, a call each.
@inline(never)
func mapAll(_ space: Space, _ pages: Int) {
  var address = space.start
  for _ in 0..<pages {
    space.map(address)
    address &+= space.page
  }
}

/// Unmaps so many pages in order, a call each; their flush is put off to the next use of the space.
@inline(never)
func unmapAll(_ space: Space, _ pages: Int) {
  var address = space.start
  for _ in 0..<pages {
    space.unmap(address).deferred(space.mmu, from: CPUID(0))
    address &+= space.page
  }
}

@inline(never)
func mapAll(_ radix: Radix, _ pages: Int) {
  for page in 0..<UInt64(pages) { radix_tree_map(radix.tree, 1 &<< 30 &+ page &<< 12, page &<< 12 | 1) }
}

@inline(never)
func unmapAll(_ radix: Radix, _ pages: Int) {
  for page in 0..<UInt64(pages) { precondition(radix_tree_unmap(radix.tree, 1 &<< 30 &+ page &<< 12) != 0) }
}

/// Reads once in each of so many pages, in order and from the first again, as a user's program; so many times.
@inline(never)
func readAll(_ space: Space, _ pages: Int, _ count: Int) -> UInt64 {
  let end = space.start &+ UInt64(pages) &* space.page
  var address = space.start
  var sum: UInt64 = 0
  for _ in 0..<count {
    sum &+= space.read(address)
    address &+= space.page
    if address == end { address = space.start }
  }
  return sum
}

@inline(never)
func findAll(_ radix: Radix, _ pages: Int) -> UInt64 {
  var sum: UInt64 = 0
  for page in 0..<UInt64(pages) { sum &+= radix_tree_find(radix.tree, 1 &<< 30 &+ page &<< 12) }
  return sum
}
