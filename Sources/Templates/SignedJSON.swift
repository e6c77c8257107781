package import CCNx
package import Failures
internal import Foundation
internal import Signing

/// JSON as the payload of a signed Content Object.
package enum SignedJSON {
    package static func draft(
        _ value: some Encodable,
        name: Name
    ) throws(Failure) -> ContentObject {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return ContentObject(name: name, payload: Array(try encoder.encode(value)))
        } catch {
            throw Failure(.invalid, "\(name) cannot be written: \(error)")
        }
    }

    static func sign(
        _ value: some Encodable,
        name: Name,
        with key: PrivateKey,
        now: Int
    ) throws(Failure) -> [UInt8] {
        try SignedContentObject.sign(
            try draft(value, name: name),
            with: key,
            signatureTimeMilliseconds: UInt64(now) * 1000
        )
    }

    static func payload<Value: Decodable>(
        of packet: DecodedPacket,
        what: String
    ) throws(Failure) -> Value {
        guard case .contentObject(let object) = packet.packet else {
            throw Failure(.invalid, "the \(what) is no Content Object")
        }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(object.payload))
        } catch {
            throw Failure(.invalid, "this is no \(what): \(error)")
        }
    }
}
