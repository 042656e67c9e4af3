import Glibc

/// Marsaglia's xorshift64: the same numbers for every subject.
struct RandomNumbers {
  private var state: UInt64 = 88_172_645_463_325_252

  @inline(__always)
  mutating func below(_ limit: Int) -> Int {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Int(truncatingIfNeeded: state.multipliedFullWidth(by: UInt64(limit)).high)
  }
}

/// Allocates a block and gives it back, so many times.
@inline(never)
func pairs(_ subject: some Subject, _ count: Int, order: Int, cpu: Int = 0) {
  for _ in 0..<count { subject.free(subject.allocate(order: order, cpu: cpu), order: order, cpu: cpu) }
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
func fill(_ subject: some Subject, _ held: Held, order: Int) {
  let blocks = held.blocks
  for index in blocks.indices { blocks[index] = UInt64(subject.allocate(order: order, cpu: 0)) }
}

/// Gives all of `held` back.
@inline(never)
func empty(_ subject: some Subject, _ held: Held, order: Int) {
  for block in held.blocks { subject.free(Int(block), order: order, cpu: 0) }
}

/// Frees one at random, allocates one, so many times.
@inline(never)
func churn(_ subject: some Subject, _ held: Held, _ count: Int, order: Int, _ random: inout RandomNumbers) {
  let blocks = held.blocks
  for _ in 0..<count {
    let index = random.below(blocks.count)
    subject.free(Int(blocks[index]), order: order, cpu: 0)
    blocks[index] = UInt64(subject.allocate(order: order, cpu: 0))
  }
}

/// Fills 90 % of `frames` with single frames, frees at random down to 50 %, then frees a random tenth of what is out and allocates as
/// much again, 100 times.
@inline(never)
func fragment(_ subject: some Subject, frames: Int) -> Held {
  let held = Held(frames * 9 / 10)
  let blocks = held.blocks
  fill(subject, held, order: 0)
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

/// The host's monotonic clock.
func nanoseconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}
