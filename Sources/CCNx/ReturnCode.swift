/// Why an Interest came back (RFC 8609 section 3.2.3.3).
package enum ReturnCode: Hashable, Sendable {
    case noRoute
    case hopLimitExceeded
    case noResources
    case pathError
    case prohibited
    case congested
    case mtuTooLarge
    case unsupportedHashRestriction
    case malformedInterest
    /// A code registered after RFC 8609 or by nobody; never zero.
    case other(UInt8)

    /// Nil for zero, which the RFC reserves.
    package init?(code: UInt8) {
        switch code {
        case 0: return nil
        case 1: self = .noRoute
        case 2: self = .hopLimitExceeded
        case 3: self = .noResources
        case 4: self = .pathError
        case 5: self = .prohibited
        case 6: self = .congested
        case 7: self = .mtuTooLarge
        case 8: self = .unsupportedHashRestriction
        case 9: self = .malformedInterest
        default: self = .other(code)
        }
    }

    package var code: UInt8 {
        switch self {
        case .noRoute: 1
        case .hopLimitExceeded: 2
        case .noResources: 3
        case .pathError: 4
        case .prohibited: 5
        case .congested: 6
        case .mtuTooLarge: 7
        case .unsupportedHashRestriction: 8
        case .malformedInterest: 9
        case .other(let code): code
        }
    }
}

extension ReturnCode: CustomStringConvertible {
    package var description: String {
        switch self {
        case .noRoute: "no route"
        case .hopLimitExceeded: "hop limit exceeded"
        case .noResources: "no resources"
        case .pathError: "path error"
        case .prohibited: "prohibited"
        case .congested: "congested"
        case .mtuTooLarge: "larger than the MTU"
        case .unsupportedHashRestriction: "unsupported hash restriction"
        case .malformedInterest: "malformed Interest"
        case .other(let code): "return code \(code)"
        }
    }
}
