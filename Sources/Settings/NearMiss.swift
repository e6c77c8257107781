/// Which word was meant by one that is not known.
enum NearMiss {
    /// The nearest of `words`; nil if none is near enough to be what was meant.
    static func of(_ word: String, in words: [String]) -> String? {
        let plain = letters(word)
        let near = words.map { (word: $0, distance: distance(plain, letters($0))) }
            .min { $0.distance < $1.distance }
        if let near, near.distance <= (plain.count <= 4 ? 1 : 2) { return near.word }
        // `log` for `log-level`
        return plain.count >= 3 ? words.first { letters($0).starts(with: plain) } : nil
    }

    /// `readOnly`, `read_only` and `read-only` are the same.
    private static func letters(_ word: String) -> [Character] {
        Array(word.lowercased()).filter { $0 != "-" && $0 != "_" }
    }

    /// How many letters must be changed, added or left out.
    private static func distance(_ from: [Character], _ to: [Character]) -> Int {
        var row = Array(0...to.count)
        for (index, letter) in from.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in to.indices {
                let changed = diagonal + (to[column] == letter ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(changed, min(row[column], row[column + 1]) + 1)
            }
        }
        return row[to.count]
    }
}
