package import NIOCore

/// Bounds what is sent to each address from which somebody came over UDP: it may be that of a third, who never asked and
/// whom the answers then flood.
///
/// An address, or an IPv6 network of 64 bits (``HostNetwork``), is sent so many times the bytes that came from there,
/// and a few more in each second. Nothing an asker can say proves where it is: names and chunks that it asks for
/// next are known without the answers. No I/O, no clock.
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

    /// Networks that are remembered: no more than have faces.
    package var networkCount: Int { accounts.count }

    /// A datagram cannot have come from such an address but from this machine.
    package static func isBeyondForgery(_ host: String) -> Bool {
        host == "::1" || host.hasPrefix("127.") || host.hasPrefix("::ffff:127.")
    }

    /// There is a face more of it.
    package mutating func add(_ network: String, now: NIODeadline) {
        accounts[network, default: Account(second: now)].faceCount += 1
    }

    /// Once for each ``add(_:now:)``.
    package mutating func remove(_ network: String) {
        accounts[network]?.faceCount -= 1
        if accounts[network]?.faceCount == 0 { accounts[network] = nil }
    }

    package mutating func noteReceived(byteCount: Int, from network: String) {
        guard let earned = accounts[network]?.earned else { return }
        accounts[network]?.earned = min(earned + ratio * byteCount, Self.earnedLimit)
    }

    /// - Returns: false, with nothing changed, if so much may not be sent there now.
    package mutating func spend(byteCount: Int, on network: String, now: NIODeadline) -> Bool {
        guard var account = accounts[network] else { return false }
        if account.second + .seconds(1) <= now {
            account.second = now
            account.spent = 0
        }
        let beyond = max(byteCount - account.earned, 0)
        guard account.spent + beyond <= allowance else { return false }
        account.earned -= byteCount - beyond
        account.spent += beyond
        accounts[network] = account
        return true
    }
}
