package import Failures
internal import Foundation

/// JSON as it goes over the wire: keys in order, so that equal values are equal bytes.
package enum JSONPayload {
    package static func encoded(_ value: some Encodable) throws(Failure) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(value))
        } catch {
            throw Failure(.invalid, "it cannot be written: \(error)")
        }
    }

    /// - Parameter what: for the message, such as "catalog".
    package static func decoded<Value: Decodable>(
        _ json: [UInt8],
        what: String
    ) throws(Failure) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(json))
        } catch {
            throw Failure(.invalid, "this is no \(what): \(error)")
        }
    }
}
