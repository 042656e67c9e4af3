internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Verb {
  static let spawn = Verb(
    "spawn",
    positional: [Parameter("name", .word, "what comm shows, 15 bytes of it")],
    keys: [Parameter("cpu", .number(0...UInt64(Int32.max)), "where it runs, and whose node its memory comes from")],
    summary: "starts a process: a stack and nothing else; its number",
    execute: { arguments, machine in
      guard machine.users.hasRoomForProcess else {
        throw Refusal(.resourceTemporarilyUnavailable, "there are as many processes as there may be")
      }
      return try machine.users.spawn(
        name: arguments.token("name")?.text ?? "process", cpu: arguments.cpu ?? CPUID(0)
      ).pid
    },
    print: { pid, _, text in
      text.append(decimal: Int(pid.rawValue))
      text.newline()
    })
}
