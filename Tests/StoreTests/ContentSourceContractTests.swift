import CCNx
import Failures
import Store
import TestSupport
import Testing

/// What everything that answers for objects promises, whatever stands behind it.
@Suite struct ContentSourceContractTests {
    enum Source: CaseIterable, Sendable {
        case fake, published, cached, fetching, nested

        /// A source that has exactly `objects`.
        func make(_ objects: [[UInt8]]) async throws -> (
            source: any ContentSource, scene: StoreScene
        ) {
            switch self {
            case .fake:
                let scene = try StoreScene(FakeSource(objects))
                return (scene.source, scene)
            case .published:
                let scene = try StoreScene()
                let small = objects.map { (id: ObjectId(of: $0), bytes: $0) }
                try scene.store.published.insert(small, durably: true)
                return (scene.store, scene)
            case .cached:
                let scene = try StoreScene(FakeSource(objects))
                for bytes in objects {
                    _ = try await scene.store.object(StoreScene.request(ObjectId(of: bytes)))
                }
                return (scene.store, scene)
            case .fetching:
                let scene = try StoreScene(FakeSource(objects))
                return (scene.store, scene)
            case .nested:
                let scene = try StoreScene(FakeSource(objects))
                let above = LayeredStore(
                    published: try ContentStore(directory: "\(scene.directory)/published2"),
                    cache: try ContentStore(directory: "\(scene.directory)/cache2"),
                    source: scene.store,
                    logger: quiet
                )
                return (above, scene)
            }
        }
    }

    private static let objects: [[UInt8]] = {
        var random = SplitMix(seed: 5)
        return [[], [0], [1, 2, 3]] + [1, 1000, 4096, 32768].map { random.bytes($0) }
    }()

    @Test(arguments: Source.allCases)
    func givesTheBytesWhoseHashIsTheId(_ kind: Source) async throws {
        let (source, scene) = try await kind.make(Self.objects)
        for _ in 0..<2 {
            for bytes in Self.objects {
                let id = ObjectId(of: bytes)
                #expect(try await source.object(StoreScene.request(id)) == bytes)
            }
        }
        _ = scene
    }

    @Test(arguments: Source.allCases)
    func givesTheSameUnderAnyPrefix(_ kind: Source) async throws {
        let (source, scene) = try await kind.make(Self.objects)
        let id = ObjectId(of: Self.objects[4])
        for uri in ["ccnx:/a/b", "ccnx:/c/d"] {
            let request = ObjectRequest(id, under: try Name(uri: uri))
            #expect(try await source.object(request) == Self.objects[4])
        }
        _ = scene
    }

    @Test(arguments: Source.allCases)
    func saysThatNobodyHasWhatNobodyHas(_ kind: Source) async throws {
        let (source, scene) = try await kind.make(Self.objects)
        let absent = ObjectId(of: Array("absent".utf8))
        for _ in 0..<2 {
            let failure = await failure { try await source.object(StoreScene.request(absent)) }
            #expect(failure?.kind == .noSource)
            #expect(failure?.description.contains(absent.hex) == true)
        }
        _ = scene
    }

    @Test(arguments: Source.allCases)
    func answersManyAtOnce(_ kind: Source) async throws {
        let (source, scene) = try await kind.make(Self.objects)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for index in 0..<200 {
                let bytes = Self.objects[index % Self.objects.count]
                group.addTask {
                    try await source.object(StoreScene.request(ObjectId(of: bytes))) == bytes
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
        _ = scene
    }

    @Test func theEndOfTheStackHasNothingAndSaysHowToAddARoute() async throws {
        let request = StoreScene.request(ObjectId(of: [1]))
        let failure = await failure { try await NoSource().object(request) }
        #expect(failure?.kind == .noSource)
        #expect(failure?.firstHint?.contains("--route ccnx:/mycorp.com=") == true)
    }
}
