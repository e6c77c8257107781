internal import CCNx
internal import Failures

/// Fetches under way, one for each id however many want it; and where the segments lie that came lately,
/// for those who looked for them just before.
struct Flights {
    struct Flight: Sendable {
        let task: Task<Result<LayeredStore.Fetched, Failure>, Never>
        let request: ObjectRequest
        /// That of the most urgent of those who wait for it.
        var urgency: FetchUrgency
    }

    private var underWay: [ObjectId: Flight] = [:]
    private var landed: [ObjectId: LayeredStore.ResidentSegment] = [:]
    private var landedInOrder: [ObjectId] = []
    private var oldest = 0

    /// More than come between a reader's look into the index and its wish to fetch.
    private static let landedLimit = 4096

    subscript(id: ObjectId) -> Flight? {
        get { underWay[id] }
        set { underWay[id] = newValue }
    }

    func landed(_ id: ObjectId) -> LayeredStore.ResidentSegment? { landed[id] }

    mutating func end(_ id: ObjectId, at resident: LayeredStore.ResidentSegment?) {
        underWay[id] = nil
        guard let resident, landed.updateValue(resident, forKey: id) == nil else { return }
        if landedInOrder.count < Self.landedLimit {
            landedInOrder.append(id)
        } else {
            landed[landedInOrder[oldest]] = nil
            landedInOrder[oldest] = id
            oldest = (oldest + 1) % Self.landedLimit
        }
    }
}
