// swift-tools-version: 6.2
import PackageDescription

/// Apart from the program's package, so that its users do not resolve what only measuring needs.
let package = Package(
  name: "benchmarks",
  dependencies: [
    .package(name: "veridianfs", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "Frames",
      dependencies: [
        .product(name: "PhysicalMemory", package: "veridianfs"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Frames",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ]
)
