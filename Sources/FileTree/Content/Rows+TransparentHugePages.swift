internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage
internal import Translation

/// mm/huge_memory.c, mm/khugepaged.c: what governs transparent huge pages.
extension Table {
  static let transparentHugePageRows: [Row] = {
    let directory = "sys/kernel/mm/transparent_hugepage"
    let document = "Documentation/admin-guide/mm/transhuge.rst"
    /// A choice: every word, the one in force in brackets.
    func choice<Value: RawRepresentable<String> & CaseIterable & Equatable & SendableMetatype>(
      _ name: String, _ words: [Value], _ field: any WritableKeyPath<HugePageSettings, Value> & Sendable
    ) -> Row {
      let names = words.map(\.rawValue)
      return Row(
        directory + "/" + name, 0o644,
        .attribute(
          { (machine, _, text) throws(Errno) in
            let chosen = machine.users.transparent[keyPath: field].rawValue
            text.append(string: names.map { $0 == chosen ? "[\($0)]" : $0 }.joined(separator: " "))
            text.newline()
          },
          { (machine, _, bytes) throws(Errno) in
            guard let value = Value(rawValue: names[try choose(bytes, names)]) else { throw .invalidArgument }
            machine.users.transparent[keyPath: field] = value
          }), document)
    }
    func flag(_ name: String, _ field: any WritableKeyPath<HugePageSettings, Bool> & Sendable) -> Row {
      Row(
        directory + "/" + name, 0o644,
        .attribute(
          { (machine, _, text) throws(Errno) in
            text.append(decimal: machine.users.transparent[keyPath: field] ? 1 : 0)
            text.newline()
          },
          { (machine, _, bytes) throws(Errno) in
            machine.users.transparent[keyPath: field] = try number(bytes, 0...1) == 1
          }), document)
    }
    /// `last` nil: below the pages of a huge page.
    func limit(
      _ name: String, _ field: any WritableKeyPath<HugePageSettings, UInt32> & Sendable, _ first: UInt64 = 0,
      _ last: UInt64? = nil
    ) -> Row {
      Row(
        directory + "/khugepaged/" + name, 0o644,
        .attribute(
          { (machine, _, text) throws(Errno) in
            text.append(decimal: Int(machine.users.transparent[keyPath: field]))
            text.newline()
          },
          { (machine, _, bytes) throws(Errno) in
            let last = last ?? machine.format.basePages(level: 1) - 1
            machine.users.transparent[keyPath: field] = UInt32(try number(bytes, first...last))
          }), document)
    }
    func count(_ name: String, _ field: any KeyPath<HugePageSettings, UInt32> & Sendable) -> Row {
      Row(
        directory + "/khugepaged/" + name, 0o444,
        .text({ (machine, _, text) throws(Errno) in
          text.append(decimal: Int(machine.users.transparent[keyPath: field]))
          text.newline()
        }), document)
    }
    let most = UInt64(UInt32.max)
    return [
      choice("enabled", HugePageSettings.Enabled.allCases, \.enabled),
      choice("defrag", HugePageSettings.Defrag.allCases, \.defrag),
      flag("use_zero_page", \.usesZeroPage),
      choice("shmem_enabled", HugePageSettings.Shared.allCases, \.shared),
      Row(
        directory + "/hpage_pmd_size", 0o444,
        .text({ (machine, _, text) throws(Errno) in
          text.append(decimal: machine.format.pageSize(level: 1).rawValue)
          text.newline()
        }), document),
      flag("khugepaged/defrag", \.khugepaged.defrags),
      limit("max_ptes_none", \.khugepaged.maximumNone),
      limit("max_ptes_swap", \.khugepaged.maximumSwapped),
      limit("max_ptes_shared", \.khugepaged.maximumShared),
      limit("pages_to_scan", \.khugepaged.pagesToScan, 1, most),
      count("pages_collapsed", \.khugepaged.pagesCollapsed),
      count("full_scans", \.khugepaged.fullScans),
      limit("scan_sleep_millisecs", \.khugepaged.scanSleepMilliseconds, 0, most),
      limit("alloc_sleep_millisecs", \.khugepaged.allocationSleepMilliseconds, 0, most),
    ]
  }()

  /// A number that is well formed and out of range is EINVAL.
  @Sendable private static func number(_ bytes: [UInt8], _ range: ClosedRange<UInt64>) throws(Errno) -> UInt64 {
    guard let value = try? unsignedNumber(bytes, base: 10), range.contains(value) else { throw .invalidArgument }
    return value
  }
}
