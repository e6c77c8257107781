internal import Failures

/// What QEMU's programs say when they cannot open or make an image, as a failure.
enum QEMUComplaint {
    /// - Parameters:
    ///   - errors: standard error, in English.
    ///   - path: the image in question.
    ///   - doing: a word such as `open`.
    static func failure(
        _ errors: String,
        path: String,
        doing: String = "open"
    ) -> Failure {
        let line = summary(errors)
        let message = "cannot \(doing) the image \(path): \(line)"
        if line.contains("Failed to get"), line.contains("lock") {
            return Failure(
                .busy,
                "\(path) is being written by another program: \(line)",
                hint: "stop the virtual machine or the program that uses it"
            )
        }
        if line.contains("No such file") { return Failure(.notFound, message) }
        if line.contains("No space left") || line.contains("Disk quota exceeded") {
            return Failure(.noSpace, message)
        }
        if line.contains("Permission denied") { return Failure(.notPermitted, message) }
        if line.contains("encrypt") || line.contains("key-secret") {
            return Failure(
                .unsupported,
                "\(path) is encrypted, which is not read here",
                hint: "decrypt it with qemu-img convert into an image without a key"
            )
        }
        if line.contains("log that needs to be replayed") {
            return Failure(
                .unsupported,
                message,
                hint: "replay its log: qemu-img check -r all \(path)"
            )
        }
        if line.contains("nsupported") || line.contains("not supported") {
            return Failure(.unsupported, message)
        }
        if line.contains("truncated") || line.contains("after end of file")
            || line.contains("corrupt")
        {
            return Failure(.corrupt, message, hint: "copy the image again from where it came from")
        }
        return Failure(.invalid, message)
    }

    /// The first line, without the program's name. It comes from a file's content at times, so only
    /// what can be printed is kept, and not much of it.
    static func summary(_ errors: String) -> String {
        let lines = errors.split(separator: "\n")
        let line = lines.first { $0.contains("ERROR") || $0.contains("qemu-") } ?? lines.first ?? ""
        var words = line[...]
        for prefix in ["qemu-img: ", "qemu-nbd: ", "ERROR: ", "ERROR "]
        where words.hasPrefix(prefix) {
            words = words.dropFirst(prefix.count)
        }
        let text = words.unicodeScalars.prefix(400).map { (scalar) in
            scalar.value < 0x20 || scalar.value == 0x7f ? "?" : String(scalar)
        }
        return text.isEmpty ? "no reason given" : text.joined()
    }
}
