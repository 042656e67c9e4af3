import Figures
import Glibc

/// Allocates a block and gives it back, so many times.
@inline(never)
func pairs<Size: Order>(_ subject: some Subject, _: Size.Type, _ count: Int, cpu: Int = 0) {
  for _ in 0..<count {
    subject.free(subject.allocate(order: Size.order, cpu: cpu), order: Size.order, cpu: cpu)
  }
}

/// The blocks that are out, in host memory of its own that huge pages may back: what a benchmark notes should cost it little.
final class Held: @unchecked Sendable {
  let blocks: UnsafeMutableBufferPointer<UInt64>

  init(_ capacity: Int) {
    let size = (capacity * 8 + 1 << 21 - 1) & ~(1 << 21 - 1)
    let memory = aligned_alloc(1 << 21, size)!
    madvise(memory, size, MADV_HUGEPAGE)
    blocks = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: UInt64.self, capacity: capacity), count: capacity)
  }

  deinit { Glibc.free(blocks.baseAddress) }
}

/// Fills all of `held`.
@inline(never)
func fill<Size: Order>(_ subject: some Subject, _: Size.Type, _ held: Held) {
  let blocks = held.blocks
  for index in blocks.indices { blocks[index] = UInt64(subject.allocate(order: Size.order, cpu: 0)) }
}

/// Gives all of `held` back.
@inline(never)
func empty<Size: Order>(_ subject: some Subject, _: Size.Type, _ held: Held) {
  for block in held.blocks { subject.free(Int(block), order: Size.order, cpu: 0) }
}

/// Frees one at random, allocates one, so many times. Which one is next is looked up a round ahead, and is never the one that has just been
/// allocated: neither the look nor a wait for the round before is the allocator's cost.
@inline(never)
func churn<Size: Order>(
  _ subject: some Subject, _: Size.Type, _ held: Held, _ count: Int, _ random: inout RandomNumbers
) {
  let blocks = held.blocks
  var index = random.below(blocks.count)
  var block = blocks[index]
  for _ in 0..<count {
    var next = random.below(blocks.count &- 1)
    next = next >= index ? next &+ 1 : next
    let ahead = blocks[next]
    subject.free(Int(block), order: Size.order, cpu: 0)
    blocks[index] = UInt64(subject.allocate(order: Size.order, cpu: 0))
    block = ahead
    index = next
  }
}

/// Fills 90 % of `frames` with single frames, frees at random down to 50 %, then frees a random tenth of what is out and allocates as
/// much again, 100 times.
@inline(never)
func fragment(_ subject: some Subject, frames: Int) -> Held {
  let held = Held(frames * 9 / 10)
  let blocks = held.blocks
  fill(subject, Single.self, held)
  var random = RandomNumbers()
  var count = blocks.count
  func release(_ number: Int) {
    for _ in 0..<number {
      let index = random.below(count)
      count -= 1
      blocks.swapAt(index, count)
      subject.free(Int(blocks[count]), order: 0, cpu: 0)
    }
  }
  release(count - frames / 2)
  for _ in 0..<100 {
    let part = count / 10
    release(part)
    for _ in 0..<part {
      blocks[count] = UInt64(subject.allocate(order: 0, cpu: 0))
      count += 1
    }
  }
  return held
}

/// Runs `body` on so many threads at once, which begin together, with their numbers; the nanoseconds from the first start to the last end.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) -> Double {
  final class Job: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }
  let start = nanoseconds()
  let threads = (0..<count).map { index in
    var thread = pthread_t()
    let job = Unmanaged.passRetained(Job { body(index) })
    let result = pthread_create(
      &thread, nil,
      { raw in
        Unmanaged<Job>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, job.toOpaque())
    precondition(result == 0)
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
  return nanoseconds() - start
}
