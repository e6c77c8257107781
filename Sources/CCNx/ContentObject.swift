/// A named piece of content (RFC 8569 section 2.1, RFC 8609 section 3.6.2.2).
package struct ContentObject: Hashable, Sendable {
    /// Nil for a nameless object, which is asked for by its hash.
    package var name: Name?
    package var payloadType: PayloadType
    package var payload: [UInt8]
    /// No forwarder may answer with it after this time, in milliseconds since 1970 UTC.
    package var expiryTimeMilliseconds: UInt64?
    /// The number of the last chunk, if this is one chunk of several.
    package var endChunkNumber: UInt64?
    /// Advice on how long to keep it, in milliseconds since 1970 UTC. In the hop-by-hop header, so
    /// neither hashed nor signed.
    package var recommendedCacheTimeMilliseconds: UInt64?

    package init(
        name: Name?,
        payloadType: PayloadType = .data,
        payload: [UInt8],
        expiryTimeMilliseconds: UInt64? = nil,
        endChunkNumber: UInt64? = nil,
        recommendedCacheTimeMilliseconds: UInt64? = nil
    ) {
        self.name = name
        self.payloadType = payloadType
        self.payload = payload
        self.expiryTimeMilliseconds = expiryTimeMilliseconds
        self.endChunkNumber = endChunkNumber
        self.recommendedCacheTimeMilliseconds = recommendedCacheTimeMilliseconds
    }
}

/// RFC 8609 section 3.6.2.2.1.
package enum PayloadType: Hashable, Sendable {
    case data, key, link
    case other(UInt8)

    package init(code: UInt8) {
        switch code {
        case 0: self = .data
        case 1: self = .key
        case 2: self = .link
        default: self = .other(code)
        }
    }

    package var code: UInt8 {
        switch self {
        case .data: 0
        case .key: 1
        case .link: 2
        case .other(let code): code
        }
    }
}
