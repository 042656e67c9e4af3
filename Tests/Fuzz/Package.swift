// swift-tools-version: 6.2
import PackageDescription

/// Apart from the program's package: everything here is built with libFuzzer's and AddressSanitizer's instrumentation (`make fuzz`).
let package = Package(
  name: "fuzz",
  dependencies: [.package(name: "veridianfs", path: "../..")],
  targets: [
    .executableTarget(
      name: "Fuzz", dependencies: ["CFuzzer", .product(name: "Commands", package: "veridianfs")],
      swiftSettings: [.strictMemorySafety()],
      // gold stumbles over the instrumentation.
      linkerSettings: [.unsafeFlags(["-use-ld=lld"])]),
    .target(name: "CFuzzer"),
  ]
)
