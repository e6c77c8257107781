internal import Faces
internal import Failures

/// How neighbours are found: `discover: all`, `discover: [eth0]`, or `discover: {devices: [eth0], port: 9696}`.
extension NodeSettings {
    private enum DiscoverKey: String, CaseIterable { case devices, port, interval }

    private static let ports = 1...65_535

    /// Devices alone, or a mapping.
    static func discovery(_ value: YAMLValue) throws(Failure) -> DiscoverySettings? {
        guard value.isMapping else {
            return try value.devices().map { DiscoverySettings(devices: $0) }
        }
        var found: (isNamed: Bool, devices: DiscoverySettings.Devices?) = (false, nil)
        var settings = DiscoverySettings(devices: .all)
        try value.visit(DiscoverKey.self) { (key, value) throws(Failure) in
            switch key {
            case .devices: found = (true, try value.devices())
            case .port: settings.port = try value.integer(in: ports)
            case .interval:
                settings.intervalMilliseconds = try value.milliseconds(
                    in: DiscoverySettings.intervals
                )
            }
        }
        guard found.isNamed else {
            throw value.missing("devices", hint: "write {devices: all}, or {devices: [eth0]}")
        }
        guard let devices = found.devices else { return nil }
        settings.devices = devices
        return settings
    }
}

extension YAMLValue {
    /// `all`, the name of one, or a list; nil for an empty one.
    fileprivate func devices() throws(Failure) -> DiscoverySettings.Devices? {
        guard isList else {
            return try reading { (text) throws(Failure) in try .init([text]) }
        }
        let names = try list { (item) throws(Failure) in try item.text() }
        do throws(Failure) {
            return names.isEmpty ? nil : try .init(names)
        } catch {
            throw refusal("\(name): \(error.message)", hint: error.hint)
        }
    }
}
