/// Names one face of this node: a way to one neighbour, or to one part of this process that asks or
/// answers. An id is never used twice in the life of a process, not even for the same neighbour.
package struct FaceId: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: UInt64

    package init(_ number: UInt64) {
        self.number = number
    }

    package static func < (left: FaceId, right: FaceId) -> Bool { left.number < right.number }

    package var description: String { String(number) }
}

/// Whether what is at the other end runs on this machine
/// or elsewhere. Hop limits and names of local scope depend on it.
package enum FaceScope: Hashable, Sendable {
    case local, remote
}
