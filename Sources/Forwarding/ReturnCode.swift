package import CCNx
package import Failures

/// What a neighbour is told when an Interest of its could not be answered here.
extension ReturnCode {
    package init(_ kind: Failure.Kind) {
        switch kind {
        case .usage, .invalid: self = .malformedInterest
        case .notFound, .noSource: self = .noRoute
        case .untrusted, .notPermitted, .readOnly, .exists, .notEmpty, .isDirectory, .notDirectory,
            .unsupported, .configuration:
            self = .prohibited
        case .busy: self = .congested
        case .noSpace, .unavailable: self = .noResources
        case .tooLarge: self = .mtuTooLarge
        case .corrupt, .timedOut, .io, .cancelled: self = .pathError
        }
    }

    /// Of the codes with which several next hops gave an Interest back, the one with the highest rank
    /// is passed on: first those that pass by themselves, last the one that says least.
    var rank: Int {
        switch self {
        case .congested: 9
        case .noResources: 8
        case .mtuTooLarge: 7
        case .hopLimitExceeded: 6
        case .pathError: 5
        case .prohibited: 4
        case .unsupportedHashRestriction: 3
        case .malformedInterest: 2
        case .other: 1
        case .noRoute: 0
        }
    }
}
