package import NIOCore

/// Bounds what is sent to each address from which somebody came over UDP: it may be that of a third, who never asked and
/// whom the answers then flood.
///
/// An address is sent so many times the bytes that came from there, and a few more in each second. Nothing an asker can
/// say proves where it is: names and chunks that it asks for next are known without the answers. No I/O, no clock.
package struct AnswerBudget: Sendable {
    private struct Account {
        /// Bytes that may be sent for those that came.
        var earned = 0
        /// Of the allowance of the second that began at `second`.
        var spent = 0
        var second: NIODeadline
        var faceCount = 0
    }

    private let ratio: Int
    private let allowance: Int
    private var accounts: [String: Account] = [:]

    /// What is saved up for answers that have not come yet.
    private static let earnedLimit = 64 << 20

    package init(_ settings: FaceSettings) {
        ratio = settings.datagramAnswerRatio
        allowance = settings.datagramAllowanceByteCount
    }

    /// Hosts that are remembered: no more than have faces.
    package var hostCount: Int { accounts.count }

    /// A datagram cannot have come from such an address but from this machine.
    package static func isBeyondForgery(_ host: String) -> Bool {
        host == "::1" || host.hasPrefix("127.") || host.hasPrefix("::ffff:127.")
    }

    /// There is a face more of the host.
    package mutating func add(_ host: String, now: NIODeadline) {
        accounts[host, default: Account(second: now)].faceCount += 1
    }

    /// Once for each ``add(_:now:)``.
    package mutating func remove(_ host: String) {
        accounts[host]?.faceCount -= 1
        if accounts[host]?.faceCount == 0 { accounts[host] = nil }
    }

    package mutating func noteReceived(byteCount: Int, from host: String) {
        guard let earned = accounts[host]?.earned else { return }
        accounts[host]?.earned = min(earned + ratio * byteCount, Self.earnedLimit)
    }

    /// - Returns: false, with nothing changed, if so much may not be sent to the host now.
    package mutating func spend(byteCount: Int, on host: String, now: NIODeadline) -> Bool {
        guard var account = accounts[host] else { return false }
        if account.second + .seconds(1) <= now {
            account.second = now
            account.spent = 0
        }
        let beyond = max(byteCount - account.earned, 0)
        guard account.spent + beyond <= allowance else { return false }
        account.earned -= byteCount - beyond
        account.spent += beyond
        accounts[host] = account
        return true
    }
}
