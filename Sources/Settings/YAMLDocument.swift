package import Failures
internal import Files
internal import Yams

/// Files in YAML whose faults are told with file, line and column.
package enum YAMLDocument {
    private static let byteLimit = 1 << 20

    /// What a file says; nil if that is nothing at all, or comments only.
    package static func root(of path: String) throws(Failure) -> YAMLValue? {
        let bytes = try FileTree.bytes(of: path, limit: byteLimit)
        do {
            guard let node = try Yams.compose(yaml: String(decoding: bytes, as: UTF8.self)) else {
                return nil
            }
            let value = YAMLValue(file: path, name: "", node: node)
            return value.isNull ? nil : value
        } catch let error as YamlError {
            throw refusal(error, path)
        } catch {
            throw Failure(.configuration, "\(path): \(error)")
        }
    }

    /// `FILE:LINE:COLUMN: what is wrong`; both are counted from 1.
    static func refusal(
        _ path: String,
        line: Int,
        column: Int,
        _ problem: String,
        hint: String? = nil
    ) -> Failure {
        Failure(.configuration, "\(path):\(line):\(column): \(problem)", hint: hint)
    }

    private static func refusal(_ error: YamlError, _ path: String) -> Failure {
        switch error {
        case .scanner(let context, let problem, let mark, _),
            .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            refusal(
                path,
                line: mark.line,
                column: mark.column,
                (context.map { "\($0.text), " } ?? "") + problem
            )
        case .duplicatedKeysInMapping(let keys, let context):
            refusal(
                path,
                line: context.mark.line,
                column: context.mark.column,
                "the key \(keys.first ?? "?") stands more than once"
            )
        case .reader(let problem, let offset, _, let text):
            refusal(
                path,
                line: before(offset, text).count,
                column: (before(offset, text).last?.count ?? 0) + 1,
                problem
            )
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            Failure(.configuration, "\(path): \(error)")
        }
    }

    /// The lines up to an offset, the last of them up to it only.
    private static func before(_ offset: Int?, _ text: String) -> [Substring] {
        text.prefix(offset ?? 0)
            .split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    }
}
