package import CCNx
package import Failures
package import Signing

/// JSON as the payload of a signed Content Object.
package enum SignedJSON {
    package static func draft(
        _ value: some Encodable,
        name: Name
    ) throws(Failure) -> ContentObject {
        do throws(Failure) {
            return ContentObject(name: name, payload: try JSONPayload.encoded(value))
        } catch {
            throw error.wrapped("\(name) cannot be signed")
        }
    }

    /// - Parameter now: seconds since 1970.
    package static func sign(
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

    package static func payload<Value: Decodable>(
        of packet: DecodedPacket,
        what: String
    ) throws(Failure) -> Value {
        guard case .contentObject(let object) = packet.packet else {
            throw Failure(.invalid, "the \(what) is no Content Object")
        }
        return try JSONPayload.decoded(object.payload, what: what)
    }
}
