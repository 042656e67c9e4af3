internal import MemoryTypes
internal import PhysicalMemory

/// Who is asked for memory when it runs short: wakes the background's steps, and reclaims and compacts at once where a request would fail.
final class MachineReclaimer: FrameReclaimer, @unchecked Sendable {
  /// SAFETY: the machine holds the memory, which holds this. Guarded by the machine's lock.
  private unowned let machine: Machine
  /// What reclaim itself allocates does not reclaim (PF_MEMALLOC).
  private var isBusy = false

  init(_ machine: Machine) { self.machine = machine }

  func memoryIsLow(for request: FrameRequest) {
    if !isBusy { machine.background.wake(for: request, on: machine.memory.zones(serving: request).map(\.node)) }
  }

  func reclaim(for request: FrameRequest) -> Bool {
    if isBusy { return false }
    isBusy = true
    defer { isBusy = false }
    return request.count > FrameCount(1) && machine.compactDirectly(for: request)
  }
}

/// Steps that wait for the end of the line that asked for them.
struct BackgroundWork {
  /// The largest order that a request of each node's was refused for (`kswapd_order`, `kcompactd_max_order`).
  private(set) var orders: [NodeID: Int] = [:]

  var isEmpty: Bool { orders.isEmpty }

  mutating func wake(for request: FrameRequest, on nodes: [NodeID]) {
    let order = Machine.order(of: request)
    for node in nodes { orders[node] = max(orders[node] ?? 0, order) }
  }

  mutating func take() -> [(node: NodeID, order: Int)] {
    defer { orders = [:] }
    return orders.sorted { $0.key < $1.key }.map { (node: $0.key, order: $0.value) }
  }
}

extension Machine {
  /// What a line or a store leaves to be done behind it, as bounded steps: costs a look at a flag where that is nothing. The caller holds
  /// `lock`.
  public func endLine() {
    if !background.isEmpty { workInBackground() }
  }

  /// kcompactd runs where kswapd goes to sleep (`kswapd_try_to_sleep`).
  private func workInBackground() {
    for (node, order) in background.take() where order > 0 { runKcompactd(node, order: order) }
  }
}
