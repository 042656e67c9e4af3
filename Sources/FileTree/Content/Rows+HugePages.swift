internal import AddressSpaces
internal import Machine
internal import MemoryTypes
internal import SystemPackage

extension Table {
  /// The pools of huge pages by size, on all nodes together (mm/hugetlb.c).
  static let hugePageSizeRows: [Row] = {
    let directory = "sys/kernel/mm/hugepages/hugepages-{huge kB}kB"
    let document = "Documentation/admin-guide/mm/hugetlbpage.rst"
    @Sendable func size(_ instance: Instance) -> ByteCount { .kib(UInt64(instance.outer)) }
    func render(_ value: @escaping @Sendable (Machine, ByteCount) -> UInt64) -> Row.Render {
      { (machine, instance, text) throws(Errno) in
        text.append(decimal: value(machine, size(instance)))
        text.newline()
      }
    }
    func pool(_ value: @escaping @Sendable (HugePagePool) -> Int) -> Row.Render {
      render { UInt64(value($0.hugePages.total($1))) }
    }
    let resize: Row.Store = { (machine, instance, bytes) throws(Errno) in
      machine.resizeHugePages(size(instance), to: try unsignedNumber(bytes, base: 10))
    }
    let larger: @Sendable (Machine, Instance) -> Bool = { machine, instance in
      machine.hugePages.nextSmaller(than: size(instance)) != nil
    }
    return [
      Row(directory + "/nr_hugepages", 0o644, .attribute(pool(\.total), resize), document),
      Row(directory + "/nr_hugepages_mempolicy", 0o644, .attribute(pool(\.total), resize), document),
      Row(
        directory + "/nr_overcommit_hugepages", 0o644,
        .attribute(
          render { $0.hugePages.overcommit($1) },
          { (machine, instance, bytes) throws(Errno) in
            // hstate_is_gigantic: what the buddy system of Linux cannot serve is not made on demand.
            guard size(instance) <= .mib(4) else { throw .invalidArgument }
            machine.hugePages.setOvercommit(size(instance), to: try unsignedNumber(bytes, base: 10))
          }), document),
      Row(directory + "/free_hugepages", 0o444, .text(pool(\.free)), document),
      Row(directory + "/resv_hugepages", 0o444, .text(pool(\.reserved)), document),
      Row(directory + "/surplus_hugepages", 0o444, .text(pool(\.surplus)), document),
      Row(
        directory + "/demote", 0o200,
        .action({ (machine, instance, bytes) throws(Errno) in
          machine.demoteHugePages(size(instance), try unsignedNumber(bytes, base: 10))
        }), document, exists: larger),
      Row(
        directory + "/demote_size", 0o644,
        .attribute(
          { (machine, instance, text) throws(Errno) in
            text.append(decimal: machine.hugePages.demotionSize(of: size(instance))?.kilobytes ?? 0)
            text.append("kB\n")
          },
          { (machine, instance, bytes) throws(Errno) in
            let sizes = machine.hugePages.sizes
            let chosen = sizes[try choose(bytes, sizes.map { "\($0.kilobytes)kB" })]
            guard machine.hugePages.setDemotionSize(of: size(instance), to: chosen) else { throw .invalidArgument }
          }), document, exists: larger),
    ]
  }()
}
