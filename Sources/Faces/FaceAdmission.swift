/// Counts the neighbours that connected, and says whether one more may. No I/O, no clock.
package struct FaceAdmission: Sendable {
    private let settings: FaceSettings
    /// Of all transports.
    package private(set) var count = 0
    package private(set) var datagramCount = 0
    private var counts: [String: Int] = [:]
    /// By ``HostNetwork``: a machine may take any IPv6 address of its network, and a fleet may be in one.
    private var networkCounts: [String: Int] = [:]

    package init(_ settings: FaceSettings) { self.settings = settings }

    /// Whether neighbours over UDP that are silent make room for others.
    package var isCrowdedWithDatagrams: Bool { datagramCount >= settings.datagramFaceCount }

    /// Whether neighbours that are idle make room for others.
    package var isCrowded: Bool { count >= settings.faceCount }

    /// Of one network, so that the last quarter of all faces is left to others.
    private var networkLimit: Int { settings.faceCount - settings.faceCount / 4 }

    /// - Returns: false, with nothing counted, if there are too many.
    package mutating func admit(_ address: FaceAddress) -> Bool {
        guard count < settings.faceCount, !address.isDatagram || !isCrowdedWithDatagrams else {
            return false
        }
        if let host = address.host {
            let network = HostNetwork.key(of: host)
            guard counts[host, default: 0] < settings.faceCountPerAddress,
                networkCounts[network, default: 0] < networkLimit
            else { return false }
            counts[host, default: 0] += 1
            networkCounts[network, default: 0] += 1
        }
        count += 1
        if address.isDatagram { datagramCount += 1 }
        return true
    }

    /// One that was admitted is gone.
    package mutating func forget(_ address: FaceAddress) {
        count -= 1
        if address.isDatagram { datagramCount -= 1 }
        guard let host = address.host else { return }
        counts.removeOne(host)
        networkCounts.removeOne(HostNetwork.key(of: host))
    }

    /// Addresses that are remembered: no more than there are neighbours.
    package var addressCount: Int { counts.count }
}

extension [String: Int] {
    fileprivate mutating func removeOne(_ key: String) {
        guard let count = self[key] else { return }
        self[key] = count > 1 ? count - 1 : nil
    }
}
