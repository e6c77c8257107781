package import Failures

/// The URI of a name.
///
///     ccnx:/mycorp.com/app1/Chunk=0x00
///           |               |
///           |               any other segment: label=0x and the bytes in hexadecimal
///           plain segment: its bytes, all but A-Z a-z 0-9 - . _ ~ as %XX (RFC 3986)
///
/// Labels are `IPID`, `Chunk` (the default chunk type, its number in minimal form), `App:n` (types
/// 0x1000 to 0x1FFF) and, for everything else, the type itself as in `0x0013=0x07`. `Name=text` is
/// the long form of a plain segment; it is printed only where the short one would be lost: for an
/// empty segment and for `.` and `..`, which users of URIs remove.
///
/// Read more generously than written: escapes in either case, escapes that were not needed, the other
/// printable characters RFC 3986 permits in a segment, and unescaped UTF-8.
extension Name {
    private static let scheme = "ccnx:"

    package init(uri: String) throws(Failure) {
        func refusal(_ reason: String) -> Failure {
            Failure(
                .invalid,
                "name '\(uri)' \(reason)",
                hint: "names look like ccnx:/mycorp.com/app1"
            )
        }
        guard uri.hasPrefix(Self.scheme) else { throw refusal("does not begin with ccnx:/") }
        let path = uri.dropFirst(Self.scheme.count)
        guard path.first == "/" else { throw refusal("does not begin with ccnx:/") }
        if path.hasPrefix("//") { throw refusal("has an authority or an empty first segment") }
        if path.contains("?") { throw refusal("has a query; write '?' as %3F") }
        if path.contains("#") { throw refusal("has a fragment; write '#' as %23") }
        guard path != "/" else {
            self.init()
            return
        }
        var segments: [NameSegment] = []
        for part in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard !part.isEmpty else { throw refusal("has an empty segment") }
            do throws(SegmentText.Refusal) {
                segments.append(try SegmentText.parse(part))
            } catch {
                throw refusal("has a segment '\(part)' that \(error.reason)")
            }
        }
        if let first = segments.first, first.value.isEmpty {
            throw refusal("has an empty first segment")
        }
        self.init(segments: segments)
    }

    package var uri: String {
        guard !segments.isEmpty else { return "ccnx:/" }
        var text = Self.scheme
        for segment in segments {
            text += "/"
            text += SegmentText.print(segment)
        }
        return text
    }
}

/// The text of one segment in a URI.
enum SegmentText {
    struct Refusal: Error {
        let reason: String
    }

    static func print(_ segment: NameSegment) -> String {
        if segment.type == NameSegmentType.name {
            let isLostInURI =
                segment.value.isEmpty || segment.value == [dot] || segment.value == [dot, dot]
            return (isLostInURI ? "Name=" : "") + escaped(segment.value)
        }
        return "\(label(of: segment))=0x\(Hex.string(segment.value))"
    }

    static func parse(_ text: Substring) throws(Refusal) -> NameSegment {
        guard let equals = text.firstIndex(of: "=") else {
            guard text != ".", text != ".." else {
                throw Refusal(reason: "means a folder, not a name; write Name=\(text)")
            }
            return .name(bytes: try unescaped(text))
        }
        let label = text[..<equals]
        let value = text[text.index(after: equals)...]
        let type = try segmentType(label: label)
        let bytes: [UInt8]
        if type != NameSegmentType.name, value.hasPrefix("0x") {
            guard let spelt = Hex.bytes(value.dropFirst(2)) else {
                throw Refusal(reason: "has a value that is not pairs of hexadecimal digits")
            }
            bytes = spelt
        } else {
            bytes = try unescaped(value)
        }
        let segment = NameSegment(type: type, value: bytes)
        if label == "Chunk", segment.chunkNumber == nil {
            throw Refusal(reason: "is not a chunk number in its shortest form")
        }
        return segment
    }

    private static func label(of segment: NameSegment) -> String {
        switch segment.type {
        case NameSegmentType.ipid: "IPID"
        case NameSegmentType.application:
            "App:\(segment.type - NameSegmentType.application.lowerBound)"
        case ChunkCodes.standard.segmentType where segment.chunkNumber != nil: "Chunk"
        default: "0x" + Hex.string([UInt8(segment.type >> 8), UInt8(segment.type & 0xFF)])
        }
    }

    private static func segmentType(label: Substring) throws(Refusal) -> UInt16 {
        switch label {
        case "Name": return NameSegmentType.name
        case "IPID": return NameSegmentType.ipid
        case "Chunk": return ChunkCodes.standard.segmentType
        default: break
        }
        if label.hasPrefix("App:"), let number = UInt16(label.dropFirst(4)), number <= 0x0FFF {
            return NameSegmentType.application.lowerBound + number
        }
        if label.hasPrefix("0x"), label.utf8.count == 6, let bytes = Hex.bytes(label.dropFirst(2)) {
            let type = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
            guard type != FieldType.pad else { throw Refusal(reason: "is padding") }
            return type
        }
        throw Refusal(reason: "has an unknown label '\(label)'; write '=' inside a name as %3D")
    }

    // MARK: Escapes

    private static let dot = UInt8(ascii: ".")
    private static let percent = UInt8(ascii: "%")

    private static func escaped(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count)
        for byte in bytes {
            if isUnreserved(byte) {
                text.append(byte)
            } else {
                text += [percent, digits[Int(byte >> 4)], digits[Int(byte & 0x0F)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func unescaped(_ text: Substring) throws(Refusal) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == percent {
                guard let high = rest.popFirst().flatMap(Hex.value(ofDigit:)),
                    let low = rest.popFirst().flatMap(Hex.value(ofDigit:))
                else { throw Refusal(reason: "has a '%' without two hexadecimal digits") }
                bytes.append(high << 4 | low)
            } else if isUnreserved(byte) || byte >= 0x80 || "!$&'()*+,;:@".utf8.contains(byte) {
                bytes.append(byte)
            } else {
                let escape = Hex.string([byte]).uppercased()
                throw Refusal(reason: "has a character that must be written %\(escape)")
            }
        }
        return bytes
    }

    /// RFC 3986 section 2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~".utf8.contains(byte)
        }
    }
}
