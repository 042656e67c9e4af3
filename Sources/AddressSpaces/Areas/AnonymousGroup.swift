/// The areas whose private pages may be the same pages: those that came from one area by splitting, moving and forking (Linux's
/// `anon_vma`, mm/rmap.c). Two areas merge only where their groups allow it, so groups decide what `maps` shows.
final class AnonymousGroup: PageOwner {
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
  var chain: [AnonymousGroup] { entries.map(\.group) }
  private var entries: [(group: AnonymousGroup, place: Int)] = []

  /// Whether the area's pages are its own alone: no fork has added a second group (`list_is_singular`).
  var isSingular: Bool { entries.count == 1 }

  private mutating func link(_ group: AnonymousGroup, _ area: Area) {
    entries.append((group, group.link(area)))
  }

  /// The area's place in a group has changed.
  mutating func moveLink(to owner: PageOwner, _ place: Int) {
    for index in entries.indices where entries[index].group === owner { entries[index].place = place }
  }

  /// Joins a neighbour's group, or begins one (`__anon_vma_prepare`). Only for links without a group.
  mutating func prepare(joining neighbour: AnonymousGroup?, for area: Area) {
    let joined: AnonymousGroup
    if let neighbour {
      joined = neighbour
    } else {
      joined = AnonymousGroup(parent: nil)
      joined.children = 1
    }
    group = joined
    link(joined, area)
    joined.activeAreas += 1
  }

  /// The links of a copy of an area of the same process (`anon_vma_clone` behind `vm_area_dup`).
  func cloned(for area: Area) -> GroupLinks {
    var copy = GroupLinks()
    copy.group = group
    copy.takeChain(of: self, area)
    return copy
  }

  /// Takes over another area's group where this one has none (`__vma_adjust`'s import, `vma_expand`).
  mutating func importGroup(of other: GroupLinks, for area: Area) {
    group = other.group
    takeChain(of: other, area)
  }

  /// `anon_vma_clone`: links to every group of `other`; where this area has no group yet, one that has no active area and at most one
  /// child is used again, so that long chains of forks do not grow without bound.
  private mutating func takeChain(of other: GroupLinks, _ area: Area) {
    for (candidate, _) in other.entries {
      link(candidate, area)
      if group == nil, other.group != nil, candidate.children < 2, candidate.activeAreas == 0 { group = candidate }
    }
    group?.activeAreas += 1
  }

  /// The links of a child's copy of an area (`anon_vma_fork`).
  func forked(for area: Area) -> GroupLinks {
    var child = GroupLinks()
    guard let group else { return child }
    child.takeChain(of: self, area)
    if child.group != nil { return child }
    let own = AnonymousGroup(parent: group)
    own.activeAreas = 1
    child.group = own
    child.link(own, area)
    group.children += 1
    return child
  }

  /// Undoes all links (`unlink_anon_vmas`).
  mutating func unlink() {
    for (linked, place) in entries {
      linked.unlink(at: place)
      if linked.areas.isEmpty { (linked.parent ?? linked).children -= 1 }
    }
    entries = []
    group?.activeAreas -= 1
    group = nil
  }
}
