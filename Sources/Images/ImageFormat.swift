package import Failures

/// A format of disk images this project reads. The raw values are what QEMU calls them.
package enum ImageFormat: String, CaseIterable, Sendable {
    case raw, qcow2, vmdk, vhdx, vdi

    /// The format of the image at `path`, by its magic bytes; raw if nothing else is recognised.
    ///
    /// - Throws: `.unsupported` for a known format that is not read here, with what to do instead.
    package static func detect(path: String) throws(Failure) -> ImageFormat {
        try FileStamp(path: path).requireImage(at: path)
        let file = try Descriptor(reading: path)
        let byteCount = try file.byteCount(of: path)
        let head = try file.bytes(at: 0, limit: ImageSignature.headLimit, of: path)
        let tail = try file.bytes(at: max(0, byteCount - sectorSize), limit: sectorSize, of: path)
        return try ImageSignature.format(head: head, tail: tail, path: path)
    }
}

/// What the first bytes, or the last sector, of a file say about it.
enum ImageSignature {
    /// Bytes at the start of a file that suffice to recognise it.
    static let headLimit = 1024

    static func format(
        head: [UInt8],
        tail: [UInt8],
        path: String
    ) throws(Failure) -> ImageFormat {
        if let format = supported(head) { return format }
        if let foreign = foreign(head: head, tail: tail) {
            throw Failure(
                .unsupported,
                "\(path) is \(foreign.what), which is not read here",
                hint: foreign.remedy(path)
            )
        }
        return .raw
    }

    private static func supported(_ head: [UInt8]) -> ImageFormat? {
        if head.holds("QFI\u{fb}"), let version = head.bigEndian32(at: 4), 2...3 ~= version {
            return .qcow2
        }
        if head.holds("KDMV") || head.holds("COWD") || head.holds("# Disk DescriptorFile") {
            return .vmdk
        }
        if head.holds("vhdxfile") { return .vhdx }
        if head.holds([0x7f, 0x10, 0xda, 0xbe], at: 0x40) { return .vdi }
        return nil
    }

    private static func foreign(head: [UInt8], tail: [UInt8]) -> ForeignFormat? {
        if head.holds("conectix") || tail.holds("conectix") {
            return .convertible("a VHD image", "vpc")
        }
        if head.holds("QFI\u{fb}") {
            return switch head.bigEndian32(at: 4) {
            case 1: .convertible("a qcow image of version 1", "qcow")
            default:
                .other("a qcow2 image of an unknown version", "convert it with a newer qemu-img")
            }
        }
        if head.holds("QED\0") { return .convertible("a QED image", "qed") }
        if head.holds("WithoutFreeSpace") || head.holds("WithouFreSpacExt") {
            return .convertible("a Parallels image", "parallels")
        }
        if head.holds("Bochs Virtual HD Image") { return .convertible("a Bochs image", "bochs") }
        if tail.holds("koly") { return .convertible("a DMG image", "dmg") }
        if head.holds([0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0]) {
            return .other("an extent of a VMDK image", "give the .vmdk file that describes it")
        }
        return archive(head)
    }

    private static func archive(_ head: [UInt8]) -> ForeignFormat? {
        if head.holds([0x1f, 0x8b]) { return .compressed("gzip", "gunzip -k") }
        if head.holds([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]) { return .compressed("xz", "unxz -k") }
        if head.holds([0x28, 0xb5, 0x2f, 0xfd]) { return .compressed("zstd", "unzstd -k") }
        if head.holds([0x04, 0x22, 0x4d, 0x18]) { return .compressed("lz4", "unlz4 -k") }
        if head.holds("BZh"), head.holds([0x31, 0x41, 0x59, 0x26, 0x53, 0x59], at: 4) {
            return .compressed("bzip2", "bunzip2 -k")
        }
        if head.holds("PK\u{3}\u{4}") { return .compressed("zip", "unzip") }
        if head.holds([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]) { return .compressed("7-Zip", "7z x") }
        if head.holds("ustar", at: 257) {
            return .archive("a tar archive (an OVA is one)", "tar -xf")
        }
        return nil
    }
}

/// A format that is recognised to be refused with a remedy.
private struct ForeignFormat {
    let what: String
    let remedy: (String) -> String

    static func convertible(_ what: String, _ format: String) -> ForeignFormat {
        ForeignFormat(what: what) { (path) in
            "convert it: qemu-img convert -f \(format) -O qcow2 \(path) \(path).qcow2"
        }
    }

    static func compressed(_ what: String, _ command: String) -> ForeignFormat {
        archive("compressed with \(what)", command)
    }

    static func archive(_ what: String, _ command: String) -> ForeignFormat {
        ForeignFormat(what: what) { (path) in
            "unpack it and give the image itself: \(command) \(path)"
        }
    }

    static func other(_ what: String, _ hint: String) -> ForeignFormat {
        ForeignFormat(what: what) { (_) in hint }
    }
}

extension [UInt8] {
    /// Whether these bytes are at `offset`.
    fileprivate func holds(_ bytes: [UInt8], at offset: Int = 0) -> Bool {
        count >= offset + bytes.count && self[offset..<offset + bytes.count].elementsEqual(bytes)
    }

    /// Whether this text is at `offset`, one byte for each of its scalars.
    fileprivate func holds(_ text: String, at offset: Int = 0) -> Bool {
        holds(text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }, at: offset)
    }
}
