import Failures

/// The inside of a validation algorithm, RFC 8609 section 3.6.4.
extension PacketDecoder {
    mutating func validation(
        _ wire: [UInt8],
        in range: Range<Int>,
        payload: Range<Int>
    ) throws(Failure) -> Validation {
        var outer = TLVReader(wire, in: range)
        guard let algorithm = try next(&outer), algorithm.value.upperBound == range.upperBound
        else {
            throw Failure(.invalid, "packet does not name exactly one validation algorithm")
        }
        var keyId: HashField?
        var publicKey: Range<Int>?
        var keyLink: Range<Int>?
        var signatureTime: UInt64?
        var reader = TLVReader(wire, in: algorithm.value)
        while let field = try next(&reader) {
            switch field.type {
            case ValidationDataType.keyId:
                try fill(&keyId, with: try hash(wire, field, "KeyId"), "KeyId")
            case ValidationDataType.publicKey:
                try fill(&publicKey, with: field.value, "public key")
            case ValidationDataType.keyLink:
                try fill(&keyLink, with: field.value, "KeyLink")
            case ValidationDataType.signatureTime:
                let time = try number(wire, field, "signature time", byteCounts: 8...8)
                try fill(&signatureTime, with: time, "signature time")
            default:
                continue
            }
        }
        var validation = Validation(
            algorithm: ValidationAlgorithm(code: algorithm.type),
            publicKeyDER: publicKey.map { Array(wire[$0]) },
            keyLink: keyLink.map { Array(wire[$0]) },
            signatureTimeMilliseconds: signatureTime,
            payload: Array(wire[payload])
        )
        // A KeyId of another hash function names no key that is known here, so it is left out.
        if case .sha256(let digest) = keyId { validation.keyId = KeyId(digest) }
        return validation
    }
}
