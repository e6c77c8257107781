internal import Failures
internal import Files
internal import Foundation
internal import Glibc
internal import Settings

/// What a command says: data to standard output, everything else to standard error.
enum Output {
    static func line(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    static func standardError(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Without a newline, for a progress line.
    static func standardErrorPart(_ text: String) { write(text, to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        let file = File(adopting: dup(descriptor), path: "the output")
        do throws(Failure) {
            try file.writeNext(Array(text.utf8).span)
        } catch {
            // Nobody reads any more (`ccnfs map FILE | head`), or there is no room: the tool ends as
            // one that was killed by SIGPIPE would, and has nobody to tell.
            Glibc.exit(128 + SIGPIPE)
        }
    }

    /// `ccnfs: what failed: why`, and a line with what to do, if that is known.
    static func complain(_ failure: Failure) {
        standardError("ccnfs: \(failure)")
        if let hint = failure.firstHint { standardError("  hint: \(hint)") }
    }

    static func json(_ value: some Encodable) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            line(String(decoding: try encoder.encode(value), as: UTF8.self))
        } catch {
            throw Failure(.invalid, "the answer cannot be written as JSON: \(error)")
        }
    }

    /// Columns as wide as their widest cell.
    static func table(_ header: [String], _ rows: [[String]]) {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        for row in all {
            var text = ""
            for (column, cell) in row.enumerated() {
                text += cell
                if column < row.count - 1 {
                    text += String(repeating: " ", count: widths[column] - cell.count + 2)
                }
            }
            line(text)
        }
    }

    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}

/// Sizes as people write them.
enum ByteCount {
    /// `1.5 GiB`.
    static func text(_ count: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0
            ? "\(count) B"
            : "\(String(format: "%.1f", value)) \(units[unit])"
    }

    /// Reads `32K`, `20G`, `4096`; powers of 1,024.
    static func parse(_ text: String) throws(Failure) -> Int { try Quantity.byteCount(text) }
}
