package import Failures
package import Management

/// The VMs of all nodes that repositories know of.
package struct NodeList: Sendable, Codable {
    /// By name.
    package var nodes: [Node]
    /// Repositories that could not be asked, or refused.
    package var problems: [Problem]

    package struct Node: Sendable, Codable {
        /// URI.
        package var name: String
        package var keyId: String
        package var machines: [Inventory.Machine]
        /// Seconds since it reported.
        package var ageSeconds: Int
        /// It has not reported for longer than a report is good.
        package var isLate: Bool

        package init(
            name: String,
            keyId: String,
            machines: [Inventory.Machine],
            ageSeconds: Int,
            isLate: Bool
        ) {
            self.name = name
            self.keyId = keyId
            self.machines = machines
            self.ageSeconds = ageSeconds
            self.isLate = isLate
        }
    }

    package struct Problem: Sendable, Codable {
        /// Its face address.
        package var repository: String
        package var failure: WireFailure

        package init(repository: String, failure: WireFailure) {
            self.repository = repository
            self.failure = failure
        }
    }

    package init(nodes: [Node], problems: [Problem] = []) {
        self.nodes = nodes
        self.problems = problems
    }
}

extension MachineSummary {
    /// As other nodes may see it: without directories of this machine.
    package var asReported: Inventory.Machine {
        Inventory.Machine(
            name: name,
            template: template,
            templateVersion: templateVersion,
            disks: disks.map { disk in
                Inventory.Disk(
                    name: disk.name,
                    size: disk.size,
                    writtenBytes: disk.writtenBytes,
                    problem: disk.problem
                )
            },
            snapshots: snapshots,
            isMoved: movedAs != nil
        )
    }
}
