/// The areas whose private pages may be the same pages: those that came from one area by splitting, moving and forking (Linux's
/// `anon_vma`, mm/rmap.c). Two areas merge only where their groups allow it, so groups decide what `maps` shows.
final class AnonymousGroup {
  /// Areas that are linked to the group (its interval tree's size).
  var linkedAreas = 0
  /// Areas whose new pages belong to the group (`num_active_vmas`).
  var activeAreas = 0
  /// Groups that were forked off this one; a root counts itself (`num_children`).
  var children = 0
  /// The group this one was forked off; nil for a root, which is its own parent.
  let parent: AnonymousGroup?

  init(parent: AnonymousGroup?) { self.parent = parent }
}

/// The groups an area is linked to, and the one that its new pages join.
struct GroupLinks {
  /// The group of the area's new pages; nil until the first of them (`vma->anon_vma`).
  private(set) var group: AnonymousGroup?
  /// All groups that may hold pages of the area, oldest first (`anon_vma_chain`, which Linux keeps newest first).
  private(set) var chain: [AnonymousGroup] = []

  /// Whether the area's pages are its own alone: no fork has added a second group (`list_is_singular`).
  var isSingular: Bool { chain.count == 1 }

  private mutating func link(_ group: AnonymousGroup) {
    chain.append(group)
    group.linkedAreas += 1
  }

  /// Joins a neighbour's group, or begins one (`__anon_vma_prepare`). Only for links without a group.
  mutating func prepare(joining neighbour: AnonymousGroup?) {
    let joined: AnonymousGroup
    if let neighbour {
      joined = neighbour
    } else {
      joined = AnonymousGroup(parent: nil)
      joined.children = 1
    }
    group = joined
    link(joined)
    joined.activeAreas += 1
  }

  /// The links of a copy of an area of the same process (`anon_vma_clone` behind `vm_area_dup`).
  func cloned() -> GroupLinks {
    var copy = GroupLinks()
    copy.group = group
    copy.takeChain(of: self)
    return copy
  }

  /// Takes over another area's group where this one has none (`__vma_adjust`'s import, `vma_expand`).
  mutating func importGroup(of other: GroupLinks) {
    group = other.group
    takeChain(of: other)
  }

  /// `anon_vma_clone`: links to every group of `other`; where this area has no group yet, one that has no active area and at most one
  /// child is used again, so that long chains of forks do not grow without bound.
  private mutating func takeChain(of other: GroupLinks) {
    for candidate in other.chain {
      link(candidate)
      if group == nil, other.group != nil, candidate.children < 2, candidate.activeAreas == 0 { group = candidate }
    }
    group?.activeAreas += 1
  }

  /// The links of a child's copy of an area (`anon_vma_fork`).
  func forked() -> GroupLinks {
    var child = GroupLinks()
    guard let group else { return child }
    child.takeChain(of: self)
    if child.group != nil { return child }
    let own = AnonymousGroup(parent: group)
    own.activeAreas = 1
    child.group = own
    child.link(own)
    group.children += 1
    return child
  }

  /// Undoes all links (`unlink_anon_vmas`).
  mutating func unlink() {
    for linked in chain {
      linked.linkedAreas -= 1
      if linked.linkedAreas == 0 { (linked.parent ?? linked).children -= 1 }
    }
    chain = []
    group?.activeAreas -= 1
    group = nil
  }
}
