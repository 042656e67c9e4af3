import FileTree
import FuseServer
import Machine
import SystemPackage
import Topology
let machine = try Machine(MachineDescription.preset(named: CommandLine.arguments[2])!)
let server = try FuseServer(tree: MachineTree(machine: machine), mountpoint: FilePath(CommandLine.arguments[1]))
try server.mount()
try server.serve()
