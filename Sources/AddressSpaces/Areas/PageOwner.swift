/// What pages belong to, with the areas that may show them: a file, or a group of anonymous memory (what Linux's `page->mapping` names,
/// and the trees `i_mmap` and `anon_vma->rb_root` in it). Whoever has a page finds through it every entry that leads there.
public class PageOwner {
  /// Not in any order; an area is linked at most once.
  private(set) var areas: ContiguousArray<Area> = []

  /// Links an area; the place to unlink it by, which `Area.moveLink` changes.
  func link(_ area: Area) -> Int {
    areas.append(area)
    return areas.count - 1
  }

  /// Undoes `link`. O(1).
  func unlink(at place: Int) {
    let last = areas.removeLast()
    if place == areas.count { return }
    areas[place] = last
    last.moveLink(to: self, place)
  }
}

extension Area {
  /// The area's place among those of `owner` is another one now.
  fileprivate func moveLink(to owner: PageOwner, _ place: Int) {
    if owner === file { filePlace = place } else { links.moveLink(to: owner, place) }
  }

  /// Makes the file's pages find the area, which is about to enter `space`.
  func enter(_ space: AddressSpace) {
    self.space = space
    if let file { filePlace = file.link(self) }
  }

  /// Ends what `enter` began.
  func leaveFile() {
    if let file { file.unlink(at: filePlace) }
  }
}
