internal import Failures
internal import FoundationEssentials

/// What `qemu-img info` says about one image of a chain.
struct ImageReport: Decodable {
    let filename: String
    let format: String
    let virtualSize: Int
    let backingFile: String?
    let backingFormat: String?
    let isEncrypted: Bool?
    let specific: Specific?

    struct Specific: Decodable {
        let data: Details

        struct Details: Decodable {
            let isCorrupt: Bool?
            let dataFile: String?
            let extents: [Part]?

            enum CodingKeys: String, CodingKey {
                case isCorrupt = "corrupt"
                case dataFile = "data-file"
                case extents
            }
        }
    }

    /// One file of a VMDK image.
    struct Part: Decodable {
        let filename: String
        let virtualSize: Int

        enum CodingKeys: String, CodingKey {
            case filename
            case virtualSize = "virtual-size"
        }
    }

    enum CodingKeys: String, CodingKey {
        case filename, format
        case virtualSize = "virtual-size"
        case backingFile = "backing-filename"
        case backingFormat = "backing-filename-format"
        case isEncrypted = "encrypted"
        case specific = "format-specific"
    }

    /// The image at `path` and, after it, all it stands on.
    static func chain(path: String, format: ImageFormat) throws(Failure) -> [ImageReport] {
        let arguments = ["info", "--backing-chain", "--output=json", "-f", format.rawValue, path]
        let (text, result) = try QEMUTool.image.output(arguments)
        guard result.end == .exited(0) else {
            throw QEMUComplaint.failure(result.errors, path: path)
        }
        return try decode([ImageReport].self, text)
    }
}

/// What `qemu-img check` says about one image.
struct ImageCheck: Decodable {
    let imageEnd: Int?
    let corruptions: Int?
    let leaks: Int?
    let errors: Int
    let compressedClusters: Int?

    enum CodingKeys: String, CodingKey {
        case imageEnd = "image-end-offset"
        case corruptions, leaks
        case errors = "check-errors"
        case compressedClusters = "compressed-clusters"
    }

    /// - Throws: `.corrupt` if the image's own tables contradict each other or its length.
    static func run(path: String, format: String) throws(Failure) -> ImageCheck {
        let arguments = ["check", "--output=json", "-f", format, path]
        let (text, result) = try QEMUTool.image.output(arguments)
        // 0: sound; 2: corrupt; 3: leaks only; anything else: it could not even finish.
        guard [.exited(0), .exited(2), .exited(3)].contains(result.end), !text.isEmpty else {
            throw damaged(path, QEMUComplaint.summary(result.errors))
        }
        let check = try decode(ImageCheck.self, text)
        let errorCount = (check.corruptions ?? 0) + check.errors
        guard errorCount == 0 else {
            throw damaged(
                path,
                "\(errorCount) errors, first: \(QEMUComplaint.summary(result.errors))"
            )
        }
        return check
    }
}

/// The one sentence about an image whose tables are wrong or whose end is missing.
func damaged(_ path: String, _ what: String) -> Failure {
    Failure(
        .corrupt,
        "the image \(path) is truncated or corrupt: \(what)",
        hint: "copy it again from where it came from; qemu-img check \(path) tells more"
    )
}

private func decode<Value: Decodable>(_ type: Value.Type, _ text: [UInt8]) throws(Failure) -> Value
{
    do {
        return try JSONDecoder().decode(type, from: Data(text))
    } catch {
        throw Failure(.unsupported, "this version of qemu-img answers in an unknown way: \(error)")
    }
}

extension QEMUTool {
    /// An answer larger than this is none.
    private static let outputLimit = 16 << 20

    fileprivate func output(
        _ arguments: [String]
    ) throws(Failure) -> (text: [UInt8], result: Result) {
        var text: [UInt8] = []
        let result = try run(arguments) { (bytes) throws(Failure) in
            text += bytes
            guard text.count <= QEMUTool.outputLimit else {
                throw Failure(.tooLarge, "\(name) does not stop talking")
            }
        }
        return (text, result)
    }
}
