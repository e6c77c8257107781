// swift-tools-version: 6.2
import PackageDescription

// Every target is compiled the same way; see Docs/Architecture.md for what may import what.
let house: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "ccnfs",
    products: [
        .executable(name: "ccnfs", targets: ["ccnfs"]),
        // For the fuzz targets in Tests/Fuzzing, which are a package of their own.
        .library(name: "CCNx", targets: ["CCNx"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Cellar
        .target(name: "Failures", swiftSettings: house),
        .target(name: "CCNx", dependencies: ["Failures"], swiftSettings: house),
        .target(
            name: "Signing",
            dependencies: ["CCNx", "COpenSSL", "Failures"],
            swiftSettings: house
        ),
        .target(name: "Files", dependencies: ["CLinux", "Failures"], swiftSettings: house),
        .target(name: "CLinux", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .systemLibrary(
            name: "COpenSSL",
            pkgConfig: "libcrypto",
            providers: [.apt(["libssl-dev"])]
        ),
        .systemLibrary(name: "CNbd", pkgConfig: "libnbd", providers: [.apt(["libnbd-dev"])]),
        .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "CFUSE",
            dependencies: ["CFuse3"],
            cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]
        ),

        // Floors, lowest first
        .target(
            name: "Store",
            dependencies: [
                "CCNx", "Failures", "Files", "Signing",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Profiles",
            dependencies: ["CCNx", "Failures", "Files", "Store"],
            swiftSettings: house
        ),
        .target(
            name: "Templates",
            dependencies: [
                "CCNx", "Failures", "Profiles", "Signing", "Store",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Disks",
            dependencies: [
                "CCNx", "Failures", "Files", "Profiles", "Store",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(name: "Images", dependencies: ["CNbd", "Failures"], swiftSettings: house),
        .target(
            name: "Publishing",
            dependencies: [
                "CCNx", "Failures", "Files", "Images", "Profiles", "Signing", "Store", "Templates",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Provisioning",
            dependencies: ["CCNx", "Disks", "Failures", "Profiles", "Store", "Templates"],
            swiftSettings: house
        ),
        .target(
            name: "Repositories",
            dependencies: ["CCNx", "Failures", "Profiles", "Signing", "Store", "Templates"],
            swiftSettings: house
        ),
        .target(
            name: "Management",
            dependencies: ["CCNx", "Failures", "Signing", "Store", "Templates"],
            swiftSettings: house
        ),
        .target(name: "Forwarding", dependencies: ["CCNx", "Failures"], swiftSettings: house),
        .target(
            name: "Fetching",
            dependencies: ["CCNx", "Failures", "Forwarding"],
            swiftSettings: house
        ),
        .target(
            name: "Faces",
            dependencies: [
                "CCNx", "CZstd", "Failures",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Control",
            dependencies: [
                "CCNx", "Disks", "Failures", "Files", "Management", "Publishing", "Signing",
                "Store",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Node",
            dependencies: [
                "CCNx", "Control", "Disks", "FUSE", "Faces", "Failures", "Fetching", "Files",
                "Forwarding", "Images", "Management", "Namespace", "Profiles", "Provisioning",
                "Publishing", "Repositories",
                "Signing", "Store", "Templates",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Settings",
            dependencies: [
                "CCNx", "Faces", "Failures", "Files", "Store",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "Commands",
            dependencies: [
                "CCNx", "Control", "Disks", "FUSE", "Faces", "Failures", "Files", "Images",
                "Management", "Node", "Publishing", "Settings", "Signing", "Store",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .executableTarget(name: "ccnfs", dependencies: ["Commands"], swiftSettings: house),
        .target(
            name: "Namespace",
            dependencies: [
                "CCNx", "Disks", "Failures", "Files", "Profiles", "Store", "Templates",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .target(
            name: "FUSE",
            dependencies: [
                "CFUSE", "Failures", "Files", "Namespace", "Profiles",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),

        // Tests that need no root, mount or network; Tests/Acceptance has the others.
        .testTarget(
            name: "CCNxTests",
            dependencies: ["CCNx", "Failures"],
            swiftSettings: house
        ),
        .testTarget(
            name: "SigningTests",
            dependencies: ["CCNx", "Failures", "Signing"],
            swiftSettings: house
        ),
        .testTarget(
            name: "ForwardingTests",
            dependencies: ["CCNx", "Failures", "Forwarding"],
            swiftSettings: house
        ),
        .testTarget(
            name: "FetchingTests",
            dependencies: ["CCNx", "Failures", "Fetching", "TestSupport"],
            swiftSettings: house
        ),
        .testTarget(
            name: "FacesTests",
            dependencies: [
                "CCNx", "Faces", "Failures", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "ImagesTests",
            dependencies: ["Failures", "Images"],
            swiftSettings: house
        ),
        // What several test targets need; not part of the product.
        .target(
            name: "TestSupport",
            dependencies: [
                "CCNx", "Disks", "Failures", "Files", "Images", "Profiles", "Provisioning",
                "Publishing", "Signing", "Store", "Templates",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/TestSupport",
            swiftSettings: house
        ),
        .testTarget(
            name: "StoreTests",
            dependencies: [
                "CCNx", "Failures", "Files", "Store", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "ProfilesTests",
            dependencies: [
                "CCNx", "Failures", "Files", "Profiles", "Store", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "DisksTests",
            dependencies: [
                "CCNx", "Disks", "Failures", "Files", "Profiles", "Store", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "TemplatesTests",
            dependencies: [
                "CCNx", "Failures", "Files", "Profiles", "Signing", "Store", "Templates",
                "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "PublishingTests",
            dependencies: [
                "CCNx", "Disks", "Failures", "Images", "Profiles", "Publishing", "Signing", "Store",
                "Templates", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "NamespaceTests",
            dependencies: [
                "CCNx", "Disks", "Failures", "Images", "Namespace", "Profiles", "Publishing",
                "Signing", "Store", "Templates", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "RepositoriesTests",
            dependencies: [
                "CCNx", "Failures", "Files", "Profiles", "Publishing", "Repositories", "Signing",
                "Store", "Templates", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "ManagementTests",
            dependencies: [
                "CCNx", "Failures", "Management", "Signing", "Store", "Templates", "TestSupport",
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "NodeTests",
            dependencies: [
                "CCNx", "Control", "Faces", "Failures", "Fetching", "Files", "Forwarding",
                "Management", "Namespace", "Node", "Profiles",
                "Publishing",
                "Repositories", "Signing", "Store", "Templates", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "SettingsTests",
            dependencies: [
                "CCNx", "Faces", "Failures", "Files", "Settings", "Store", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .testTarget(
            name: "FilesTests",
            dependencies: ["Failures", "Files", "TestSupport"],
            swiftSettings: house
        ),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "CCNx", "Commands", "Control", "Faces", "Failures", "Files", "Node", "Settings",
                "Store", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
    ]
)
