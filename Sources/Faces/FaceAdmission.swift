/// Counts the neighbours that connected, and says whether one more may. No I/O, no clock.
package struct FaceAdmission: Sendable {
    private let settings: FaceSettings
    /// Of all transports, and of each address.
    package private(set) var count = 0
    package private(set) var datagramCount = 0
    private var counts: [String: Int] = [:]

    package init(_ settings: FaceSettings) { self.settings = settings }

    /// Whether neighbours over UDP that are silent make room for others.
    package var isCrowdedWithDatagrams: Bool { datagramCount >= settings.datagramFaceCount }

    /// - Returns: false, with nothing counted, if there are too many.
    package mutating func admit(_ address: FaceAddress) -> Bool {
        let ofAddress = address.host.map { counts[$0, default: 0] } ?? 0
        guard count < settings.faceCount, ofAddress < settings.faceCountPerAddress,
            !address.isDatagram || !isCrowdedWithDatagrams
        else { return false }
        count += 1
        if address.isDatagram { datagramCount += 1 }
        if let host = address.host { counts[host] = ofAddress + 1 }
        return true
    }

    /// One that was admitted is gone.
    package mutating func forget(_ address: FaceAddress) {
        count -= 1
        if address.isDatagram { datagramCount -= 1 }
        guard let host = address.host, let ofAddress = counts[host] else { return }
        counts[host] = ofAddress > 1 ? ofAddress - 1 : nil
    }

    /// Addresses that are remembered: no more than there are neighbours.
    package var addressCount: Int { counts.count }
}
