internal import Machine
internal import MemoryTypes
internal import SystemPackage

/// A file whose pollers are woken when its content changes: what it held when last looked at, and who waits.
struct Watch {
  let row: Row
  let instance: Instance
  var content: String
  /// How often the content has been seen to change.
  var changes = 0
  /// Who waits, by the handle that polled: a handle that polls again replaces its waiter.
  var waiters: [ObjectIdentifier: any PollWaiter] = [:]
}

extension MachineTree {
  /// Begins or goes on to watch a file for a handle; how often its content has changed. The caller holds the machine.
  func watch(
    _ inode: Inode, _ row: Row, _ instance: Instance, for handle: ObjectIdentifier, _ waiter: (any PollWaiter)?
  ) -> Int {
    var watch = watches[inode] ?? Watch(row: row, instance: instance, content: content(row, instance))
    watch.waiters[handle] = waiter
    watches[inode] = watch
    return watch.changes
  }

  /// How often the content of a file has been seen to change. The caller holds the machine.
  func changes(of inode: Inode) -> Int { watches[inode]?.changes ?? 0 }

  /// The handle is gone: it waits no more.
  func unwatch(_ inode: Inode, for handle: ObjectIdentifier) {
    machine.withLock { watches[inode]?.waiters[handle] = nil }
  }

  public func linesWereCarriedOut() { wakePollers() }

  /// Wakes who waits for a file whose content is another than before. Called behind everything that may change one, without the lock.
  func wakePollers() {
    var woken: [any PollWaiter] = []
    machine.withLock {
      if watches.isEmpty { return }
      for (inode, watch) in watches {
        let now = content(watch.row, watch.instance)
        guard now != watch.content else { continue }
        woken += watch.waiters.values
        watches[inode]?.content = now
        watches[inode]?.changes += 1
        watches[inode]?.waiters = [:]
      }
    }
    for waiter in woken { waiter.wake() }
  }

  private func content(_ row: Row, _ instance: Instance) -> String {
    var text = TextBuffer()
    if case .text(let render) = row.content { try? render(machine, instance, &text) }
    if case .attribute(let render, _) = row.content { try? render(machine, instance, &text) }
    return text.string
  }
}
