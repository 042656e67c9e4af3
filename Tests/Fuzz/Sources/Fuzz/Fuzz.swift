import CFuzzer
import Commands
import Machine
import MemoryTypes
import Topology

/// libFuzzer over the command file: an input is a machine's number and then what is written to the file. Every line is carried out as the
/// file would, the answer is read back, and the machine must be consistent afterwards, and after a reset.
///
///     Fuzz dictionary         the language's words, as a dictionary for -dict=
///     Fuzz [LIBFUZZER OPTION ...] [CORPUS]
@main struct Fuzz {
  static func main() {
    if CommandLine.arguments.dropFirst().first == "dictionary" {
      for word in Interpreter.vocabulary { print("\"\(word)\"") }
      return
    }
    var count = CommandLine.argc
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
    // SAFETY: libFuzzer reads the arguments that the process was given, and replaces both by copies of its own.
    _ = unsafe LLVMFuzzerRunDriver(&count, &arguments) {
      unsafe Fuzz.carryOut(UnsafeRawBufferPointer(start: $0, count: $1))
    }
  }

  static func carryOut(_ input: UnsafeRawBufferPointer) -> Int32 {
    guard let choice = unsafe input.first else { return 0 }
    let machine = Machines.all[Int(choice) % Machines.all.count]
    let file = CommandFile(machine: machine)
    let handle = file.open(reads: true, writes: true, appends: false)
    var place = 1
    while place < input.count {
      // SAFETY: a part of the input.
      let rest = unsafe UnsafeRawBufferPointer(rebasing: input[place...])
      do {
        place += unsafe try handle.write(rest, at: 0)
      } catch {
        // The line that was refused is passed over, as a shell would.
        place += (unsafe rest.firstIndex(of: 0x0A) ?? rest.count) + 1
      }
    }
    handle.release()
    unsafe withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 1) { buffer in
      var offset: Int64 = 0
      while true {
        let count = unsafe handle.read(into: buffer, at: offset)
        if count == 0 { break }
        offset += Int64(count)
      }
    }
    expectConsistent(machine)
    machine.withLock { machine.reset() }
    expectConsistent(machine)
    return 0
  }

  private static func expectConsistent(_ machine: Machine) {
    let differences = machine.withLock { machine.verify() }
    guard differences.isEmpty else { fatalError("the machine is not consistent: \(differences)") }
  }
}

/// Small machines of different page formats, made once.
private enum Machines {
  static let all: [Machine] = [machine(.fourLevel), machine(.sv39), machine(.granule16K), machine(.pae)]

  private static func machine(_ paging: Paging) -> Machine {
    let architecture = paging.architecture
    let size = UInt64(16 << 20) << UInt64(paging.frameSize.shift - 12)
    let start: UInt64 = architecture == .x86_64 || architecture == .i386 ? 0 : 0x8000_0000
    var settings = Settings()
    settings.profile = .linux
    settings.aslr = false
    settings.paging = paging
    let nodes = (0..<2).map { index in
      Node(
        id: NodeID(index),
        memory: [PhysicalRange(start: PhysicalAddress(start + UInt64(index) * size), size: ByteCount(size))],
        kind: .dram)
    }
    let cpus = (0..<4).map {
      CPU(id: CPUID($0), package: $0 / 2, die: 0, core: $0 % 2, thread: 0, node: NodeID($0 / 2))
    }
    do {
      return try Machine(
        MachineDescription(
          name: "small", architecture: architecture, cpus: cpus, nodes: nodes, distances: [[10, 20], [20, 10]],
          settings: settings))
    } catch { fatalError("the machine cannot be made: \(error)") }
  }
}
