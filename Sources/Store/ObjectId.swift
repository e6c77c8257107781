package import CCNx
internal import Signing

/// The SHA-256 of an object's bytes: what names a segment, a manifest node, a listing or a file.
///
/// All zeros is not an object but a hole (a run of zero bytes of any size), as in a manifest entry.
package struct ObjectId: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let digest: SHA256Digest

    /// Bytes of an id on the wire and in a manifest.
    package static let byteCount = 32
    package static let hole = ObjectId(.zero)

    package init(_ digest: SHA256Digest) { self.digest = digest }

    /// The id of the object that has these bytes.
    package init(of bytes: Span<UInt8>) { digest = SHA256.digest(of: bytes) }

    package init(of bytes: [UInt8]) { digest = SHA256.digest(of: bytes.span) }

    /// - Returns: nil unless there are exactly 32 bytes.
    package init?(bytes: [UInt8]) {
        guard let digest = SHA256Digest(bytes: bytes) else { return nil }
        self.digest = digest
    }

    package init?(hex: String) {
        guard let digest = SHA256Digest(hex: hex) else { return nil }
        self.digest = digest
    }

    package var isHole: Bool { digest.isZero }
    package var bytes: [UInt8] { digest.bytes }
    package var hex: String { digest.hex }
    package var description: String { hex }

    package static func < (left: ObjectId, right: ObjectId) -> Bool { left.digest < right.digest }
}
