internal import Faces
internal import Node
internal import Settings

extension NodeConfiguration {
    /// Takes what the settings say, but for the homes; the rest stays.
    mutating func take(_ settings: NodeSettings) {
        if let limit = settings.cacheLimit { cacheLimit = limit }
        if let limit = settings.transitLimit { transitLimit = limit }
        if let place = settings.overlayPlace { overlayPlace = place }
        if let place = settings.mountPoint { mountPoint = place }
        if let flag = settings.isReadOnly { isReadOnly = flag }
        if let flag = settings.allowsOthers { allowsOthers = flag }
        if let addresses = settings.listenAddresses { listenAddresses = addresses }
        if let settings = settings.routes {
            routes = settings.map { route in
                Route(
                    prefix: route.prefix,
                    address: route.address,
                    cost: route.cost ?? Route.defaultCost
                )
            }
        }
        if let addresses = settings.peers { peers = addresses }
        if let settings = settings.trust {
            trust = settings.map { entry in
                Trust(prefix: entry.prefix, keyPath: entry.keyPath, rights: entry.rights)
            }
        }
        if let settings = settings.discovery { discovery = settings }
        if let settings = settings.mirrors {
            mirrors = settings.map { mirror in
                Mirror(
                    namespace: mirror.namespace,
                    source: mirror.source,
                    intervalMilliseconds: mirror.intervalMilliseconds
                        ?? Mirror.defaultIntervalMilliseconds
                )
            }
        }
        if let milliseconds = settings.catalogIntervalMilliseconds {
            catalogInterval = Double(milliseconds) / 1_000
        }
        if let flag = settings.acceptsPublishing { acceptsPublishing = flag }
        if let flag = settings.acceptsManagement { acceptsManagement = flag }
        if let name = settings.nodeName { nodeName = name }
        faces = settings.faces
        if let addresses = settings.compressedAddresses {
            faces.compressedAddresses = Set(addresses)
        }
        if let flag = settings.acceptsCompression { faces.acceptsCompression = flag }
    }
}
