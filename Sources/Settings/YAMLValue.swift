package import Failures
internal import Yams

/// One value of a YAML file, with the place where it stands.
///
/// A value that is absent (`key:` and nothing behind it, `~`, `null`) counts as one that is not
/// given.
package struct YAMLValue {
    private let file: String
    /// How messages call it, such as `faces.limit`; empty for the whole file.
    package let name: String
    private let node: Yams.Node

    init(file: String, name: String, node: Yams.Node) {
        self.file = file
        self.name = name
        self.node = node
    }

    // MARK: What it is

    package var isMapping: Bool { node.mapping != nil }
    package var isList: Bool { node.sequence != nil }

    var isNull: Bool {
        guard let scalar = node.scalar, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    package func text() throws(Failure) -> String {
        guard let scalar = node.scalar, !isNull else { throw mustBe("text") }
        return scalar.string
    }

    package func flag() throws(Failure) -> Bool {
        guard let flag = node.bool else { throw mustBe("true or false") }
        return flag
    }

    package func integer(in range: ClosedRange<Int>) throws(Failure) -> Int {
        guard let number = Int(try text()), range.contains(number) else {
            throw refusal(
                "\(name) must be a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    /// What `read` makes of the text. What it refuses is told with the place.
    package func reading<Value>(
        _ read: (String) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let text = try text()
        do throws(Failure) {
            return try read(text)
        } catch {
            throw refusal("\(name): \(error.message)", hint: error.hint)
        }
    }

    package func list<Element>(
        _ read: (YAMLValue) throws(Failure) -> Element
    ) throws(Failure) -> [Element] {
        guard let sequence = node.sequence else {
            throw mustBe("a list", hint: "write [ONE, ANOTHER], or each on a line after \"- \"")
        }
        var elements: [Element] = []
        for node in sequence {
            elements.append(try read(YAMLValue(file: file, name: name, node: node)))
        }
        return elements
    }

    /// All keys with their values, in the order of the file.
    package func entries() throws(Failure) -> [(key: String, value: YAMLValue)] {
        try pairs().map { (key: $0.key.key, value: $0.value) }
    }

    /// Hands over each key with its value, in the order of the file, and refuses keys not in `Key`.
    ///
    /// - Parameter body: not called for values that are absent.
    package func visit<Key: RawRepresentable & CaseIterable>(
        _ keys: Key.Type,
        _ body: (Key, YAMLValue) throws(Failure) -> Void
    ) throws(Failure) where Key.RawValue == String {
        for (place, value) in try pairs() {
            guard let key = Key(rawValue: place.key) else {
                let known = keys.allCases.map(\.rawValue)
                let guess = NearMiss.of(place.key, in: known).map { "did you mean \($0)? " } ?? ""
                throw place.refusal(
                    "there is no key \(value.name)",
                    hint: guess + "the keys are \(known.joined(separator: ", "))"
                )
            }
            if !value.isNull { try body(key, value) }
        }
    }

    // MARK: What is wrong with it

    package func refusal(_ problem: String, hint: String? = nil) -> Failure {
        YAMLDocument.refusal(
            file,
            line: node.mark?.line ?? 1,
            column: node.mark?.column ?? 1,
            problem,
            hint: hint
        )
    }

    /// A key that has to stand in this mapping, and does not.
    package func missing(_ key: String, hint: String? = nil) -> Failure {
        refusal("\(qualified(key)) is missing", hint: hint)
    }

    private func mustBe(_ wanted: String, hint: String? = nil) -> Failure {
        refusal("\(name.isEmpty ? "the file" : name) must be \(wanted), and is \(kind)", hint: hint)
    }

    private var kind: String {
        switch node {
        case .scalar: isNull ? "empty" : "text"
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }

    // MARK: Keys

    /// A key where it stands.
    private struct Place {
        let key: String
        let value: YAMLValue

        func refusal(_ problem: String, hint: String) -> Failure {
            value.refusal(problem, hint: hint)
        }
    }

    private func qualified(_ key: String) -> String { name.isEmpty ? key : "\(name).\(key)" }

    private func pairs() throws(Failure) -> [(key: Place, value: YAMLValue)] {
        guard let mapping = node.mapping else { throw mustBe("a mapping of keys to values") }
        var pairs: [(key: Place, value: YAMLValue)] = []
        for (key, value) in mapping {
            let place = YAMLValue(file: file, name: name, node: key)
            guard let text = key.scalar?.string else { throw place.refusal("a key must be text") }
            pairs.append(
                (
                    key: Place(key: text, value: place),
                    value: YAMLValue(file: file, name: qualified(text), node: value)
                )
            )
        }
        return pairs
    }
}
