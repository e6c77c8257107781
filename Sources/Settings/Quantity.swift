package import Failures

/// Sizes and times as people write them.
package enum Quantity {
    /// Reads `32K`, `20G`, `4096`; powers of 1,024.
    package static func byteCount(_ text: String) throws(Failure) -> Int {
        let factors: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
        var digits = text.uppercased()
        if digits.hasSuffix("IB") { digits.removeLast(2) }
        let factor = digits.last.flatMap { factors[$0] }
        if factor != nil { digits.removeLast() }
        guard let number = Int(digits), number > 0 else {
            throw Failure(.usage, "\"\(text)\" is no size", hint: "write 4096, 32K, 512M or 20G")
        }
        let (product, isTooLarge) = number.multipliedReportingOverflow(by: factor ?? 1)
        guard !isTooLarge else { throw Failure(.usage, "\(text) is too large a size") }
        return product
    }

    /// Reads `500ms`, `2s`, `5m`, `1h`.
    package static func milliseconds(_ text: String) throws(Failure) -> Int {
        let unit = String(text.drop(while: \.isNumber))
        let factors = ["ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000]
        guard let factor = factors[unit], let number = Int(text.dropLast(unit.count)), number > 0
        else {
            throw Failure(.usage, "\"\(text)\" is no time", hint: "write 500ms, 2s, 5m or 1h")
        }
        let (product, isTooLarge) = number.multipliedReportingOverflow(by: factor)
        guard !isTooLarge else { throw Failure(.usage, "\(text) is too long a time") }
        return product
    }

    /// As ``byteCount(_:)`` reads it.
    static func text(byteCount: Int) -> String {
        let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")]
        for (factor, unit) in units where byteCount % factor == 0 && byteCount > 0 {
            return "\(byteCount / factor)\(unit)"
        }
        return "\(byteCount)"
    }

    /// As ``milliseconds(_:)`` reads it.
    package static func text(milliseconds: Int) -> String {
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        for (factor, unit) in units where milliseconds % factor == 0 && milliseconds > 0 {
            return "\(milliseconds / factor)\(unit)"
        }
        return "\(milliseconds)ms"
    }
}
