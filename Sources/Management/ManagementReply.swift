internal import CCNx
package import Failures
package import Foundation
internal import Templates

/// What goes with an Interest of ``ManagementName/request``.
package struct ManagementPayload: Codable, Sendable {
    /// Of this exchange.
    package static let format = 1
    /// Bytes of it; the rest of the packet is left to the name and what comes with it.
    package static let byteLimit = 57_344

    package var format: Int
    /// The signed request.
    package var request: Data
    /// What ``ManagementReply/wantsSignature`` asked for.
    package var signature: Signature?

    package struct Signature: Codable, Sendable {
        package var number: Int
        /// The signed packet.
        package var packet: Data?
        /// Why there is none.
        package var refusal: WireFailure?

        package init(number: Int, _ result: Result<[UInt8], Failure>) {
            self.number = number
            switch result {
            case .success(let packet): self.packet = Data(packet)
            case .failure(let failure): refusal = WireFailure(failure)
            }
        }
    }

    package init(request: [UInt8], signature: Signature? = nil) {
        format = Self.format
        self.request = Data(request)
        self.signature = signature
    }

    /// - Throws: `.unsupported` for a newer format.
    package init(json: [UInt8]) throws(Failure) {
        self = try JSONPayload.decoded(json, what: "request")
        guard format <= Self.format else {
            throw Failure(.unsupported, "the request comes in format \(format)")
        }
    }

    package func json() throws(Failure) -> [UInt8] {
        let json = try JSONPayload.encoded(self)
        guard json.count <= Self.byteLimit else {
            throw Failure(
                .tooLarge,
                "the request has \(json.count) bytes, it may have \(Self.byteLimit)",
                hint: "ask for less at once"
            )
        }
        return json
    }
}

/// What a node answers to a request: JSON, cut into chunks.
package enum ManagementReply: Codable, Sendable {
    case working(Progress?)
    /// The sender's key is needed for this: a Content Object of that name and payload.
    case wantsSignature(Draft)
    /// What the node would have answered a command on its own machine, in JSON.
    case done(Data)
    case refused(WireFailure)
    /// The node that was asked does not know the target: another one may.
    case unknownTarget

    package struct Progress: Codable, Sendable {
        package var what: String
        package var done: Int
        package var total: Int

        package init(what: String, done: Int, total: Int) {
            self.what = what
            self.done = done
            self.total = total
        }
    }

    package struct Draft: Codable, Sendable {
        /// Comes back with the signature.
        package var number: Int
        /// URI.
        package var name: String
        package var payload: Data
        package var timeMilliseconds: UInt64

        package init(number: Int, name: String, payload: [UInt8], timeMilliseconds: UInt64) {
            self.number = number
            self.name = name
            self.payload = Data(payload)
            self.timeMilliseconds = timeMilliseconds
        }
    }

    /// Bytes of a chunk.
    package static let chunkSize = 32 << 10
    /// Bytes of a whole answer.
    package static let byteLimit = 16 << 20

    package init(json: [UInt8]) throws(Failure) {
        self = try JSONPayload.decoded(json, what: "answer of a node")
    }

    package func json() throws(Failure) -> [UInt8] {
        let json = try JSONPayload.encoded(self)
        guard json.count <= Self.byteLimit else {
            throw Failure(
                .tooLarge,
                "the answer has \(json.count) bytes, it may have \(Self.byteLimit)",
                hint: "name a longer prefix"
            )
        }
        return json
    }
}

/// An answer cut into the payloads of Content Objects.
package enum ReplyChunks {
    package static func count(of reply: [UInt8]) -> UInt64 {
        UInt64(max(1, (reply.count + ManagementReply.chunkSize - 1) / ManagementReply.chunkSize))
    }

    /// - Returns: nil for a chunk that it does not have.
    package static func chunk(_ number: UInt64, of reply: [UInt8]) -> [UInt8]? {
        guard number < count(of: reply) else { return nil }
        return Array(
            reply.dropFirst(Int(number) * ManagementReply.chunkSize)
                .prefix(ManagementReply.chunkSize)
        )
    }
}
