// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// The layers, lowest first: a target may depend on those above it in this list, never on those below.
let package = Package(
  name: "veridianfs",
  products: [
    .executable(name: "veridianfs", targets: ["veridianfs"]),
    .library(name: "PhysicalMemory", targets: ["MemoryTypes", "Topology", "PhysicalMemory"]),
    .library(name: "Translation", targets: ["Translation"]),
    .library(name: "Commands", targets: ["MemoryTypes", "Topology", "AddressSpaces", "Machine", "Commands"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
  ],
  targets: [
    .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .target(name: "MemoryTypes", swiftSettings: settings),
    .target(name: "Topology", dependencies: ["MemoryTypes", "Yams"], swiftSettings: settings),
    .target(name: "PhysicalMemory", dependencies: ["MemoryTypes", "Topology"], swiftSettings: settings),
    .target(name: "Translation", dependencies: ["MemoryTypes", "PhysicalMemory"], swiftSettings: settings),
    .target(
      name: "AddressSpaces", dependencies: ["MemoryTypes", "PhysicalMemory", "Translation"], swiftSettings: settings),
    .target(
      name: "Machine",
      dependencies: ["MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces"],
      swiftSettings: settings),
    .target(
      name: "Commands",
      dependencies: [
        "MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces", "Machine",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .target(
      name: "FileTree",
      dependencies: [
        "MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces", "Machine", "Commands",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .target(
      name: "FuseServer",
      dependencies: [
        "CFuse", "MemoryTypes", "FileTree",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "veridianfs",
      dependencies: [
        "MemoryTypes", "Topology", "Machine", "Commands", "FileTree", "FuseServer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .testTarget(name: "MemoryTypesTests", dependencies: ["MemoryTypes"], swiftSettings: settings),
    .testTarget(name: "TopologyTests", dependencies: ["Topology"], swiftSettings: settings),
    .testTarget(
      name: "PhysicalMemoryTests", dependencies: ["MemoryTypes", "Topology", "PhysicalMemory"], swiftSettings: settings),
    .testTarget(
      name: "TranslationTests", dependencies: ["MemoryTypes", "PhysicalMemory", "Translation"], swiftSettings: settings),
    .testTarget(
      name: "AddressSpacesTests",
      dependencies: ["MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces"],
      swiftSettings: settings),
    .testTarget(
      name: "CommandsTests",
      dependencies: [
        "MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces", "Machine", "Commands",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Fixtures"], swiftSettings: settings),
    .testTarget(
      name: "FileTreeTests",
      dependencies: [
        "MemoryTypes", "Topology", "PhysicalMemory", "Translation", "AddressSpaces", "Machine", "Commands", "FileTree",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      resources: [.copy("Fixtures")], swiftSettings: settings),
    .testTarget(
      name: "FuseServerTests", dependencies: ["FuseServer", "FileTree"], swiftSettings: settings),
    .testTarget(name: "EndToEndTests", dependencies: ["veridianfs"], swiftSettings: settings),
  ]
)
