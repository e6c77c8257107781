package import CCNx
package import Failures
package import Signing
internal import Store
package import Templates

/// What a node says of its VMs, or one part of that; signed by the node's key.
package struct Inventory: Codable, Sendable, Equatable {
    package static let format = 1
    /// Seconds between two reports, if nothing changes.
    package static let interval = 30
    /// Seconds for which a report is good.
    package static let lifetime = 90
    /// Bytes of one part as it is signed.
    package static let partByteLimit = 48 << 10
    package static let partLimit = 64
    /// Seconds that serials may be ahead of the time.
    private static let serialLead = 86_400

    /// What a serial may be at most, of a report at this time in seconds since 1970: an answer that was forged
    /// must not lead a node to where it cannot count on.
    package static func highestSerial(now: Int) -> UInt64 {
        UInt64(clamping: now + serialLead) * 1_000
    }

    package var format: Int
    /// URI of the node's name.
    package var node: String
    /// Milliseconds since 1970 of the report, or more: each is higher than the one before.
    package var serial: UInt64
    /// Seconds since 1970.
    package var time: Int
    package var part: Int
    package var partCount: Int
    package var machines: [Machine]

    package struct Machine: Codable, Sendable, Equatable {
        package var name: String
        package var template: String?
        package var templateVersion: Int?
        package var disks: [Disk]
        package var snapshots: [String]
        /// It left for another node, and is read-only.
        package var isMoved: Bool

        package init(
            name: String,
            template: String?,
            templateVersion: Int?,
            disks: [Disk],
            snapshots: [String],
            isMoved: Bool
        ) {
            self.name = name
            self.template = template
            self.templateVersion = templateVersion
            self.disks = disks
            self.snapshots = snapshots
            self.isMoved = isMoved
        }
    }

    package struct Disk: Codable, Sendable, Equatable {
        package var name: String
        /// Bytes.
        package var size: Int
        /// Bytes, since the last snapshot.
        package var writtenBytes: Int
        /// Why it is out of service; nil when it is not.
        package var problem: String?

        package init(name: String, size: Int, writtenBytes: Int, problem: String?) {
            self.name = name
            self.size = size
            self.writtenBytes = writtenBytes
            self.problem = problem
        }
    }

    package init(
        node: Name,
        serial: UInt64,
        time: Int,
        part: Int,
        partCount: Int,
        machines: [Machine]
    ) {
        format = Self.format
        self.node = node.uri
        self.serial = serial
        self.time = time
        self.part = part
        self.partCount = partCount
        self.machines = machines
    }

    package static func name(of node: Name) -> Name {
        node.appending([.name("@inventory"), .chunk(0)])
    }
}

// MARK: - Parts

extension Inventory {
    /// The signed parts of a report.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Throws: `.tooLarge` if there are more VMs than fit into all parts.
    package static func signedParts(
        of machines: [Machine],
        node: Name,
        serial: UInt64,
        now: Int,
        with key: PrivateKey
    ) throws(Failure) -> [[UInt8]] {
        let groups = try groups(of: machines)
        guard groups.count <= partLimit else {
            throw Failure(
                .tooLarge,
                "the inventory of \(node) takes \(groups.count) packets, it may take \(partLimit)",
                hint: "fewer VMs, or fewer snapshots of them, fit"
            )
        }
        var parts: [[UInt8]] = []
        for (index, group) in groups.enumerated() {
            let inventory = Inventory(
                node: node,
                serial: serial,
                time: now,
                part: index,
                partCount: groups.count,
                machines: group
            )
            parts.append(
                try SignedJSON.sign(inventory, name: name(of: node), with: key, now: now)
            )
        }
        return parts
    }

    /// At least one, which may be empty.
    private static func groups(of machines: [Machine]) throws(Failure) -> [[Machine]] {
        // What a part has around its VMs: name, numbers, key and signature.
        let room = partByteLimit - (8 << 10)
        var groups: [[Machine]] = [[]]
        var byteCount = 0
        for machine in machines {
            let size = try JSONPayload.encoded(machine).count + 1
            guard size <= room else {
                throw Failure(
                    .tooLarge,
                    "what is to be said of VM \(machine.name) takes \(size) bytes, it may take \(room)",
                    hint: "fewer snapshots of it fit"
                )
            }
            if byteCount + size > room {
                groups.append([])
                byteCount = 0
            }
            groups[groups.count - 1].append(machine)
            byteCount += size
        }
        return groups
    }

    /// Reads a signed part and checks that its key may be that node.
    ///
    /// - Parameter now: seconds since 1970.
    package static func checked(
        _ signed: [UInt8],
        key expected: KeyId,
        trust: TrustPolicy,
        now: Int
    ) throws(Failure) -> (node: Name, part: Inventory) {
        guard signed.count <= partByteLimit else {
            throw Failure(.tooLarge, "a part of an inventory has \(signed.count) bytes")
        }
        let packet = try PacketDecoder.decode(signed)
        let part: Inventory = try SignedJSON.payload(of: packet, what: "inventory")
        guard part.format <= format else {
            throw Failure(.unsupported, "the inventory has format \(part.format)")
        }
        let node = try Name.nodeName(uri: part.node)
        guard case .contentObject(let object) = packet.packet, object.name == name(of: node),
            packet.validation?.keyId == expected
        else { throw Failure(.invalid, "the inventory is signed as something else") }
        guard let key = try trust.key(expected, with: .node, for: node) else {
            throw Failure(
                trust.knows(expected) ? .notPermitted : .untrusted,
                "key \(expected) may not be the node \(node)",
                hint: "if it should, there: ccnfs trust add \(node) PUBLIC-KEY-FILE --right node"
            )
        }
        try ValidationCheck.verify(packet, expecting: key)
        guard (1...partLimit).contains(part.partCount), (0..<part.partCount).contains(part.part),
            (1...highestSerial(now: now)).contains(part.serial)
        else { throw Failure(.invalid, "the inventory has numbers that cannot be") }
        let tolerance = ManagementRequest.clockTolerance
        guard (now - tolerance...now + tolerance).contains(part.time) else {
            throw Failure(
                .timedOut,
                "the inventory is of another time than this node's, by more than \(tolerance) s",
                hint: "are both clocks right?"
            )
        }
        return (node, part)
    }
}
