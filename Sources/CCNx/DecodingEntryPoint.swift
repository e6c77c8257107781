import Failures

/// Whether `wire` is a packet, and whether what was read from it survives being written again.
///
/// The one door that is open to other packages: the fuzzer in `Tests/Fuzzing` is a package of its
/// own, because it links only with the fuzzer's main function. Traps if decoding and encoding
/// disagree, which is what the fuzzer is to find.
public func decodeForFuzzing(_ wire: [UInt8]) -> Bool {
    guard let decoded = try? PacketDecoder.decode(wire) else { return false }
    guard let canonical = try? PacketEncoder.encode(decoded.packet, validation: decoded.validation)
    else { return true }
    let again = try? PacketDecoder.decode(canonical)
    precondition(again?.validation == decoded.validation, "validation changed by writing it again")
    if case .contentObject(let object) = decoded.packet {
        precondition(again?.packet == .contentObject(object), "object changed by writing it again")
        if let name = object.name {
            let parsed = try? Name(uri: name.uri)
            precondition(parsed == name, "name changed by writing it as a URI")
        }
    }
    return true
}
