/// Where a segment lies: image file `image`, at byte `position * segmentSize` of it.
package struct SegmentPlace: Hashable, Sendable {
    package let image: Int
    package let position: Int

    package init(image: Int, position: Int) {
        self.image = image
        self.position = position
    }
}
