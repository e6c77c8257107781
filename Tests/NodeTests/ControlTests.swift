import CCNx
import Control
import Failures
import Files
import NIOCore
import NIOPosix
import Publishing
import Signing
import Store
import TestSupport
import Testing

@testable import Node

/// A control socket in a folder of its own, whose requests `handler` answers.
private struct ControlScene {
    let folder: TemporaryFolder
    let path: String
    let client: ControlClient
    private let server: ControlServer
    private let serving: Task<Void, Never>

    init(_ handler: @escaping ControlServer.Handler) async throws {
        folder = try TemporaryFolder()
        path = "\(folder.path)/node.sock"
        client = ControlClient(path: path)
        let server = try await ControlServer(path: path, logger: quiet)
        self.server = server
        serving = Task { await server.serve(handler) }
    }

    /// Ends it, with whoever is still connected.
    func stop() async {
        await server.stop()
        await serving.value
    }

    /// A bare connection to the socket.
    func connect() async throws -> any Channel {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: path).get()
    }

    /// Sends bytes as they are, without reading any answer.
    func send(_ bytes: [UInt8]) async throws -> any Channel {
        let channel = try await connect()
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
        return channel
    }
}

struct ControlTests {
    @Test(.timeLimit(.minutes(1)))
    func answersARequest() async throws {
        let scene = try await ControlScene { (request, _) throws(Failure) in
            guard case .show(let template, let version) = request else { return .done }
            throw Failure(.notFound, "\(template) \(version ?? 0)")
        }
        let session = TestSession()
        guard case .done = try await scene.client.perform(.status, session: session) else {
            Issue.record("the answer is another one")
            return
        }
        let refused = await failure {
            try await scene.client.perform(.show(template: "x", version: 3), session: session)
        }
        #expect(refused?.message == "x 3")
        #expect(try FileTree.status(of: scene.path)?.mode == 0o600)
        await scene.stop()
        #expect(!FileTree.exists(scene.path))
        #expect(try await scene.client.perform(.status, session: session) == nil)
    }

    @Test(.timeLimit(.minutes(1)))
    func knowsThatNobodyListensAtASocketLeftBehind() async throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/node.sock"
        let client = ControlClient(path: path)
        #expect(try await client.perform(.status, session: TestSession()) == nil)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(unixDomainSocketPath: "\(path).bound").get()
        // Under another name it stays when its owner ends, as after a kill.
        try FileTree.rename("\(path).bound", to: path)
        try await channel.close()
        try #require(FileTree.exists(path))
        #expect(try await client.perform(.status, session: TestSession()) == nil)
        let server = try await ControlServer(path: path, logger: quiet)
        let serving = Task { await server.serve { (_, _) throws(Failure) in .done } }
        #expect(try await client.perform(.status, session: TestSession()) != nil)
        await server.stop()
        await serving.value
    }

    @Test(.timeLimit(.minutes(1)))
    func carriesProgressSignaturesAndBytes() async throws {
        let bytes = SparseImage.bytes(1, count: 2_500_000)
        let key = try TestNode.publisherKey.get()
        let object = ContentObject(
            name: try Name(uri: "ccnx:/mycorp.com/x"),
            payload: Array("to be signed".utf8)
        )
        let scene = try await ControlScene { (_, session) throws(Failure) in
            var read: [UInt8] = []
            while true {
                let piece = try await session.read(byteCount: 1 << 20)
                read += piece
                await session.report(.work(what: "bytes", done: read.count, total: bytes.count))
                if piece.count < 1 << 20 { break }
            }
            guard read == bytes else { throw Failure(.corrupt, "other bytes came") }
            let signed = try await session.sign(object, signatureTimeMilliseconds: 77)
            let packet = try PacketDecoder.decode(signed)
            try ValidationCheck.verify(packet, expecting: key.publicKey)
            guard packet.packet == .contentObject(object) else {
                throw Failure(.corrupt, "something else was signed")
            }
            return .done
        }
        let session = TestSession(bytes: bytes)
        #expect(try await scene.client.perform(.status, session: session) != nil)
        #expect(session.reportCount == 3)
        await scene.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func carriesAFailureWithItsCausesAndHint() async throws {
        let below = Failure(.timedOut, "nobody answered", hint: "is it running?")
        let sent = Failure(
            .noSource,
            "cannot be had",
            cause: Failure(.noSource, "segment 5 cannot be had", cause: below)
        )
        let scene = try await ControlScene { (_, _) throws(Failure) in throw sent }
        let come = await failure { try await scene.client.perform(.status, session: TestSession()) }
        #expect(come?.kind == .noSource)
        #expect(come.map { "\($0)" } == "\(sent)")
        #expect(come?.cause?.cause?.message == "nobody answered")
        #expect(come?.firstHint == "is it running?")
        await scene.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func carriesTheFailureOfTheCommand() async throws {
        let scene = try await ControlScene { (_, session) throws(Failure) in
            _ = try await session.read(byteCount: 10)
            return .done
        }
        let come = await failure {
            try await scene.client.perform(.status, session: FailingSession())
        }
        #expect(come?.kind == .io)
        #expect(come?.message == "standard input broke")
        await scene.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func carriesLargeAnswersWhole() async throws {
        // More than 5 MB of JSON.
        let runs = (0..<50_000).map { number in
            FileMap.Run(
                start: number * 4096,
                byteCount: 4096,
                kind: .object,
                uri: "ccnx:/mycorp.com/app1/linuxvm/@object/\(ObjectId(of: [UInt8(number % 256)]))"
            )
        }
        let answer = ControlResponse.fileMap(FileMap(path: "/disk0", size: 1 << 40, runs: runs))
        let scene = try await ControlScene { (_, _) throws(Failure) in answer }
        for _ in 0..<3 {
            let come = try await scene.client.perform(
                .fileMap(path: "/disk0"),
                session: TestSession()
            )
            guard case .fileMap(let map) = come else {
                Issue.record("the answer is another one")
                return
            }
            #expect(map.runs.map(\.uri) == runs.map(\.uri))
        }
        await scene.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func garbageHarmsNobody() async throws {
        let scene = try await ControlScene { (_, _) throws(Failure) in .done }
        let frames: [[UInt8]] = [
            Array("GET / HTTP/1.1\r\n\r\n".utf8), [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff, 1],
            [0, 0, 0, 3, 1, 0x7b, 0x7b], [0, 0, 0, 3, 9, 0, 0], [0, 0, 0, 2, 2, 0],
            [0, 0, 0, 1, 1], [0, 0, 1],
        ]
        for frame in frames {
            let channel = try await scene.send(frame)
            #expect(try await scene.client.perform(.status, session: TestSession()) != nil)
            try? await channel.close()
        }
        #expect(try await scene.client.perform(.status, session: TestSession()) != nil)
        await scene.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func endsThoughSomeoneStaysConnected() async throws {
        let scene = try await ControlScene { (_, _) throws(Failure) in .done }
        let idle = try await scene.connect()
        #expect(try await scene.client.perform(.status, session: TestSession()) != nil)
        await scene.stop()
        try? await idle.close()
    }

    @Test func refusesAPathThatIsTooLong() async throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/\(String(repeating: "x", count: 100))"
        let refused = await failure { try await ControlServer(path: path, logger: quiet) }
        #expect(refused?.kind == .unavailable)
        #expect(refused?.hint?.contains("too long") == true)
    }
}

/// What a command that dies in the middle leaves.
struct DyingCommandTests {
    @Test(.timeLimit(.minutes(1)))
    func nothingOfItsPublishIsVisible() async throws {
        let node = try TestNode()
        try await node.trustPublisher()
        let ended = Counter()
        let scene = try await ControlScene { (request, session) throws(Failure) in
            defer { ended.increment() }
            return try await node.perform(request, session: session)
        }
        let publication = try TestNode.publication(path: nil)
        let path = scene.path
        let started = Counter()
        let dying = Task {
            try await ControlClient(path: path).perform(
                .publish(publication),
                session: EndlessSession(started)
            )
        }
        while started.value < 3 { await Task.yield() }
        dying.cancel()
        _ = await dying.result
        while ended.value < 1 { await Task.yield() }

        let status = try await node.status()
        #expect(status.templates == 0)
        #expect(status.catalogs.isEmpty)
        // Nothing is locked: others go on.
        let bytes = SparseImage.bytes(5, count: 1 << 20)
        let report = try await scene.client.perform(
            .publish(publication),
            session: TestSession(bytes: bytes)
        )
        guard case .published(let published) = report else {
            Issue.record("publish answered something else")
            return
        }
        #expect(published.version == 1)
        guard case .freed = try await scene.client.perform(.reclaim, session: TestSession()) else {
            Issue.record("reclaim answered something else")
            return
        }
        await scene.stop()
        await node.exchange.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func publishesThroughTheSocket() async throws {
        let node = try TestNode()
        try await node.trustPublisher()
        let scene = try await ControlScene { (request, session) throws(Failure) in
            try await node.perform(request, session: session)
        }
        let bytes = SparseImage(size: 3 << 20, segments: [(0, 1), (600, 2)]).bytes
        let response = try await scene.client.perform(
            .publish(try TestNode.publication(path: nil)),
            session: TestSession(bytes: bytes)
        )
        guard case .published(let report) = response else {
            Issue.record("publish answered something else")
            return
        }
        #expect(report.disks.map(\.newSegments) == [2])
        let handle = try node.openDisk()
        #expect(try await node.read(handle, at: 0, byteCount: 4 << 20) == bytes)
        await scene.stop()
        await node.exchange.stop()
    }
}

/// Cannot read what it is asked for.
private struct FailingSession: ControlSession {
    func report(_ progress: ControlProgress) async {}

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        throw Failure(.notPermitted, "there is no key")
    }

    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        throw Failure(.io, "standard input broke")
    }
}

/// Gives bytes for as long as it is asked.
private struct EndlessSession: ControlSession {
    private let reads: Counter

    init(_ reads: Counter) { self.reads = reads }

    func report(_ progress: ControlProgress) async {}

    func sign(
        _ object: ContentObject,
        signatureTimeMilliseconds: UInt64
    ) async throws(Failure) -> [UInt8] {
        throw Failure(.notPermitted, "there is no key")
    }

    func read(byteCount: Int) async throws(Failure) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: reads.increment()), count: byteCount)
    }
}
