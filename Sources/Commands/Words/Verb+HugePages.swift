internal import AddressSpaces
internal import Machine
internal import MemoryTypes

extension Verb {
  static let khugepaged = Verb(
    "khugepaged",
    keys: [
      Parameter("pages", .number(1...UInt64.max), "base pages to look at; as many as pages_to_scan says if not given")
    ],
    summary: "makes huge pages of processes' base pages, from where the last step ended",
    execute: { arguments, machine in machine.runKhugepaged(pages: arguments.number("pages")) },
    print: { step, _, text in
      text.append(string: "scanned \(step.scanned) pages, collapsed \(step.collapsed) into huge pages")
      text.newline()
    })
}
