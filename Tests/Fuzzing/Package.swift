// swift-tools-version: 6.2
import PackageDescription

// A package of its own: an executable without a main function links only with the fuzzer's.
// The root's folder may have any name, so the dependency is given one.
let package = Package(
    name: "Fuzzing",
    dependencies: [.package(name: "ccnfs", path: "../..")],
    targets: [
        .executableTarget(
            name: "PacketFuzzer",
            dependencies: [.product(name: "CCNx", package: "ccnfs")],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])]
        )
    ]
)
