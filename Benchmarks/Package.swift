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
    // How figures are taken and noted, and the machines that they are taken of.
    .target(
      name: "Figures",
      dependencies: [
        .product(name: "PhysicalMemory", package: "veridianfs"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Figures"),
    .executableTarget(
      name: "Frames",
      dependencies: [
        "Figures",
        .product(name: "PhysicalMemory", package: "veridianfs"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Frames",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    // The least that page tables can cost.
    .target(name: "RadixTree", path: "Benchmarks/RadixTree"),
    .executableTarget(
      name: "PageTables",
      dependencies: [
        "Figures", "RadixTree",
        .product(name: "PhysicalMemory", package: "veridianfs"),
        .product(name: "Translation", package: "veridianfs"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/PageTables",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    .executableTarget(
      name: "Processes",
      dependencies: [
        "Figures", "RadixTree",
        .product(name: "Commands", package: "veridianfs"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Processes",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
