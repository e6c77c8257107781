package import Disks
package import Store

/// What a node says of itself.
package struct NodeStatus: Sendable, Codable {
    /// 0 when no node runs and the command looked by itself.
    package var process: Int
    package var mountPoint: String?
    package var stateDirectory: String
    package var cacheDirectory: String
    package var templates: Int
    package var machines: Int
    package var published: ContentStore.Usage
    package var cache: ContentStore.Usage
    package var overlays: OverlayUsage
    package var store: StoreCounters.Values
    package var interestsSent: Int
    package var interestsReceived: Int
    package var pendingInterests: Int
    /// UDP: datagrams that were no packet.
    package var malformedDatagrams = 0
    /// UDP: packets from addresses that have no face and got none.
    package var datagramsTurnedAway = 0
    /// UDP: to neighbours who came, and could not be sent.
    package var datagramsUnsent = 0
    /// UDP: answers beyond what is sent to an address that may be forged.
    package var datagramsWithheld = 0
    /// Nil if neighbours are not looked for.
    package var discovery: DiscoveryReport?
    /// Requests of the kernel that wait for content.
    package var parkedRequests: Int
    package var faces: [FaceReport]
    package var sources: [SourceReport]
    package var catalogs: [CatalogReport]
    package var mirrors: [MirrorReport] = []
    /// Nil if nothing is kept of what passes through.
    package var transit: TransitReport?
    /// What stays on this node, by template, version and item.
    package var kept: [KeptContent] = []
    /// Why not all of it can stay; nil when it can.
    package var keptProblem: String?

    /// What passed through for others and was kept; counts are of this run.
    package struct TransitReport: Sendable, Codable {
        /// Bytes of segments on disk.
        package var segmentBytes = 0
        package var keptSegments = 0
        package var answeredSegments = 0
        /// Packets in memory now, and the bytes they take.
        package var packets = 0
        package var packetBytes = 0
        package var keptPackets = 0
        package var answeredPackets = 0
        /// Not kept, since more came than could be looked at, or the disk did not take it.
        package var droppedPackets = 0
        /// Objects whose bytes were not those of the id in their name.
        package var wrongObjects = 0

        package init() {}
    }

    /// Neighbours on the local links; counts are of this run.
    package struct DiscoveryReport: Sendable, Codable {
        package var links: [Link]
        /// Who announced itself lately.
        package var neighbours: Int
        package var announcementsSent: Int
        package var announcementsHeard: Int
        /// What was no announcement, or came from elsewhere than the link.
        package var refusedDatagrams: Int
        /// Announcements of neighbours that were too many.
        package var refusedNeighbours: Int
        /// More than are looked at.
        package var droppedDatagrams: Int

        /// An address of this machine with its network device.
        package struct Link: Sendable, Codable {
            package var address: String
            /// False if nothing that this node listens on is reached there.
            package var isAnnounced: Bool

            package init(address: String, isAnnounced: Bool) {
                self.address = address
                self.isAnnounced = isAnnounced
            }
        }

        package init(
            links: [Link],
            neighbours: Int,
            announcementsSent: Int,
            announcementsHeard: Int,
            refusedDatagrams: Int,
            refusedNeighbours: Int,
            droppedDatagrams: Int
        ) {
            self.links = links
            self.neighbours = neighbours
            self.announcementsSent = announcementsSent
            self.announcementsHeard = announcementsHeard
            self.refusedDatagrams = refusedDatagrams
            self.refusedNeighbours = refusedNeighbours
            self.droppedDatagrams = droppedDatagrams
        }
    }

    /// A neighbour that this node asks, and what came of it.
    package struct SourceReport: Sendable, Codable {
        package var address: String
        package var isPeer: Bool
        package var isUp: Bool
        package var interests = 0
        package var objects = 0
        package var bytes = 0
        /// Interests for what it does not have.
        package var misses = 0
        package var timeouts = 0
        /// Objects whose bytes were not those of their ids.
        package var wrongObjects = 0
        /// Smoothed; nil before the first answer.
        package var roundTripMilliseconds: Double?
        /// Until it is asked again, after silence or wrong bytes; nil while it is asked.
        package var benchedMilliseconds: Int?

        package init(address: String, isPeer: Bool, isUp: Bool) {
            self.address = address
            self.isPeer = isPeer
            self.isUp = isUp
        }
    }

    package struct FaceReport: Sendable, Codable {
        package var address: String
        package var isOutgoing: Bool

        package init(address: String, isOutgoing: Bool) {
            self.address = address
            self.isOutgoing = isOutgoing
        }
    }

    package struct CatalogReport: Sendable, Codable {
        package var namespace: String
        package var serial: Int
        /// Seconds since 1970.
        package var expires: Int
        package var isPublishedHere: Bool
        /// Why it cannot be brought up to date; nil when it is.
        package var problem: String?

        package init(
            namespace: String,
            serial: Int,
            expires: Int,
            isPublishedHere: Bool,
            problem: String?
        ) {
            self.namespace = namespace
            self.serial = serial
            self.expires = expires
            self.isPublishedHere = isPublishedHere
            self.problem = problem
        }
    }

    /// A namespace that this node is a mirror repository of.
    package struct MirrorReport: Sendable, Codable {
        package var namespace: String
        /// The repository that it is kept in step with.
        package var source: String
        /// Of the catalog that is here with all it names; nil before the first.
        package var serial: Int?
        /// How often the source is looked at; nil if it is not.
        package var intervalMilliseconds: Int?
        /// Seconds since 1970 of the last look that ended well; nil before the first since the node's start.
        package var lastInStep: Int?
        /// Why the last look failed; nil if it did not.
        package var problem: String?
        /// Bytes of data looked at of those of new versions, while they come.
        package var doneBytes: Int?
        package var totalBytes: Int?

        package init(namespace: String, source: String, serial: Int? = nil) {
            self.namespace = namespace
            self.source = source
            self.serial = serial
        }
    }

    package init(
        process: Int,
        mountPoint: String?,
        stateDirectory: String,
        cacheDirectory: String,
        templates: Int,
        machines: Int,
        published: ContentStore.Usage,
        cache: ContentStore.Usage,
        overlays: OverlayUsage,
        store: StoreCounters.Values,
        interestsSent: Int,
        interestsReceived: Int,
        pendingInterests: Int,
        parkedRequests: Int,
        faces: [FaceReport],
        sources: [SourceReport],
        catalogs: [CatalogReport]
    ) {
        self.process = process
        self.mountPoint = mountPoint
        self.stateDirectory = stateDirectory
        self.cacheDirectory = cacheDirectory
        self.templates = templates
        self.machines = machines
        self.published = published
        self.cache = cache
        self.overlays = overlays
        self.store = store
        self.interestsSent = interestsSent
        self.interestsReceived = interestsReceived
        self.pendingInterests = pendingInterests
        self.parkedRequests = parkedRequests
        self.faces = faces
        self.sources = sources
        self.catalogs = catalogs
    }
}
